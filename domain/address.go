package domain

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Address is a UDP address at which a peer can be dialled itself, without a lookup in the DHT.
type Address struct {
	Host string // an IPv4 address, or a name that is resolved at each dial
	Port uint16
}

const maxHostName = 253

var errAddress = errors.New("want HOST:PORT with an IPv4 address or a host name, like scraper.example.com:443")

// ParseAddress parses HOST:PORT.
func ParseAddress(text string) (Address, error) {
	host, port, ok := cutLast(text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || n == 0 || !validHost(host) {
		return Address{}, errAddress
	}
	return Address{Host: host, Port: uint16(n)}, nil
}

// validHost reports whether text is an IPv4 address or a host name.
func validHost(text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Is4() && !a.IsUnspecified()
	}
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	return len(text) <= maxHostName && !strings.ContainsFunc(text, bad) && strings.ContainsFunc(text, letter) &&
		!strings.HasPrefix(text, ".") && !strings.Contains(text, "..")
}

// String returns the address as HOST:PORT.
func (a Address) String() string { return a.Host + ":" + strconv.Itoa(int(a.Port)) }

// IsZero reports whether the address was never set.
func (a Address) IsZero() bool { return a == Address{} }

func (a Address) valid() bool { return a.Port != 0 && validHost(a.Host) }

// Reference names a peer by its key and, if it is known, an address of its own.
type Reference struct {
	Key  PublicKey
	Addr Address
}

// ParseReference parses KEY or KEY@HOST:PORT.
func ParseReference(text string) (r Reference, err error) {
	key, addr, found := strings.Cut(text, "@")
	if r.Key, err = ParsePublicKey(key); err != nil {
		return Reference{}, err
	}
	if found {
		if r.Addr, err = ParseAddress(addr); err != nil {
			return Reference{}, err
		}
	}
	return r, nil
}

// String returns the reference as ParseReference reads it.
func (r Reference) String() string {
	if r.Addr.IsZero() {
		return r.Key.String()
	}
	return r.Key.String() + "@" + r.Addr.String()
}
