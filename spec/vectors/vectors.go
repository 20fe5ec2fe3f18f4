// Package vectors reads the golden vectors beside it. Only tests import it.
//
// The files are the output of the published JavaScript packages; spec/README.md describes how they are made. Each caller declares
// the part of a file that it reads as a struct:
//
//	v := vectors.Load[struct {
//		Targets []struct{ Key, Target vectors.Hex }
//	}](t, "hashing")
package vectors

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"testing"
)

//go:embed *.json
var files embed.FS

// Load decodes NAME.json into a T. A missing or malformed file fails the test.
func Load[T any](t testing.TB, name string) T {
	t.Helper()
	text, err := files.ReadFile(name + ".json")
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("vectors %s: %v", name, err)
	}
	return v
}

// Hex is a byte string in hexadecimal. JSON null decodes to nil, "" to an empty slice that is not nil.
type Hex []byte

// UnmarshalText decodes hex digits.
func (h *Hex) UnmarshalText(text []byte) error {
	b := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(b, text); err != nil {
		return err
	}
	*h = b
	return nil
}

// String returns the hexadecimal form, as in the file.
func (h Hex) String() string { return hex.EncodeToString(h) }

// Key returns h as 32 bytes. Any other length fails the test.
func (h Hex) Key(t testing.TB) [32]byte {
	t.Helper()
	if len(h) != 32 {
		t.Fatalf("vector %s is not 32 bytes long", h)
	}
	return [32]byte(h)
}

// Addr is an address in the form {"host", "port"}. JSON null decodes to the invalid address.
type Addr struct{ netip.AddrPort }

// UnmarshalJSON decodes {"host", "port"}, ignoring the family that some files add.
func (a *Addr) UnmarshalJSON(text []byte) error {
	var v *struct {
		Host netip.Addr
		Port uint16
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v != nil {
		a.AddrPort = netip.AddrPortFrom(v.Host, v.Port)
	}
	return nil
}

// AddrPorts strips the JSON form from a list. A nil list stays nil.
func AddrPorts(list []Addr) []netip.AddrPort {
	if list == nil {
		return nil
	}
	out := make([]netip.AddrPort, 0, len(list))
	for _, a := range list {
		out = append(out, a.AddrPort)
	}
	return out
}
