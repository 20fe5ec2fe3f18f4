// Package vectors loads the golden vectors in spec/vectors. Only tests import it.
//
// The files were made by running the published JavaScript packages; spec/README.md says how. Each
// caller declares the part of a file it reads as a struct and gets it filled:
//
//	v := vectors.Load[struct {
//		Targets []struct{ Key, Target vectors.Hex }
//	}](t, "hashing")
package vectors

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// Load reads spec/vectors/<name>.json into a T. A missing or malformed file fails the test.
func Load[T any](t testing.TB, name string) T {
	t.Helper()
	path := filepath.Join(moduleRoot(t), "spec", "vectors", name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("vectors %s: %v", name, err)
	}
	return v
}

// moduleRoot is the nearest directory with a go.mod, upwards from the package under test.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find module root: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("find module root: no go.mod above the working directory")
		}
		dir = parent
	}
}

// Hex is a byte string that the vectors write in hex. JSON null stays nil, "" is empty and not nil.
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

// String is the hex form again, so that failures print what the file says.
func (h Hex) String() string { return hex.EncodeToString(h) }

// Key is h as 32 bytes. It fails the test when h has another length.
func (h Hex) Key(t testing.TB) [32]byte {
	t.Helper()
	if len(h) != 32 {
		t.Fatalf("vector %s is not 32 bytes long", h)
	}
	return [32]byte(h)
}

// Addr is an address that the vectors write as {"host", "port"}. JSON null leaves it invalid.
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
