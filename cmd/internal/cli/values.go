package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"filippo.io/edwards25519"
	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/domain"
)

// checked is a flag whose errors name it, unlike kingpin's own.
type checked struct {
	flag string
	set  func(string) error
	text string
	list bool
}

func (c *checked) Set(s string) error {
	if err := c.set(s); err != nil {
		return fmt.Errorf("--%s: %w", c.flag, err)
	}
	c.text = s
	return nil
}

func (c *checked) String() string { return c.text }

// IsCumulative makes a flag repeatable.
func (c *checked) IsCumulative() bool { return c.list }

// Value returns a value for the flag called name, parsed by parse.
func Value[T any](name string, into *T, parse func(string) (T, error)) kingpin.Value {
	return &checked{flag: name, set: func(s string) error {
		v, err := parse(s)
		if err == nil {
			*into = v
		}
		return err
	}}
}

// List returns a repeatable value; commas separate, too, for the environment.
func List[T any](name string, into *[]T, parse func(string) (T, error)) kingpin.Value {
	return &checked{flag: name, list: true, set: func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			v, err := parse(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			*into = append(*into, v)
		}
		return nil
	}}
}

// Duration parses 90s, 1h30m or 1d, of at least low.
func Duration(low time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			var days model.Duration
			days, err = model.ParseDuration(s)
			d = time.Duration(days)
		}
		if err != nil {
			return 0, fmt.Errorf("want a duration like 30s, 1h or 1d, got %q", s)
		}
		if d < low {
			return 0, fmt.Errorf("want at least %s, got %s", low, s)
		}
		return d, nil
	}
}

// ListenAddr parses an IPv4 address and port to bind: 0.0.0.0:0, 127.0.0.1:49737, :49737.
func ListenAddr(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "0.0.0.0" + s
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || !a.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("want an IPv4 address and a port like 0.0.0.0:49737, got %q", s)
	}
	return a, nil
}

// OffloadHelp is the help of --dht.udp-offload.
const OffloadHelp = "Messages of many datagrams between program and kernel (Linux): auto, or off for a network card or driver that damages them, which shows as loss on fast transfers."

// Offload parses the value of --dht.udp-offload and reports whether it is off.
func Offload(s string) (off bool, err error) {
	switch s {
	case "auto":
		return false, nil
	case "off":
		return true, nil
	}
	return false, fmt.Errorf("want auto or off, got %q", s)
}

// Key parses a public key.
func Key(s string) (domain.PublicKey, error) {
	k, err := domain.ParsePublicKey(s)
	if err != nil {
		// The text is not quoted: it may have been meant as a secret.
		return k, errors.New("want a public key as 64 hex digits or 52 z32 characters")
	}
	return k, CheckKey(k)
}

// Reference parses a public key, or KEY@HOST:PORT with an address at which the peer is dialled first.
func Reference(s string) (domain.Reference, error) {
	text, addr, found := strings.Cut(s, "@")
	k, err := Key(text)
	if err != nil || !found {
		return domain.Reference{Key: k}, err
	}
	a, err := PublicAddress(addr)
	return domain.Reference{Key: k, Addr: a}, err
}

// PublicAddress parses HOST:PORT of a node that can be reached from everywhere.
func PublicAddress(s string) (domain.Address, error) {
	a, err := domain.ParseAddress(s)
	if err != nil {
		return a, fmt.Errorf("%w, got %q", err, s)
	}
	return a, nil
}

// PublicAddressHelp is the help of --dht.public-address.
const PublicAddressHelp = "Address at which clients reach this node's UDP port from everywhere, as HOST:PORT with an IPv4 address or a host name, whatever other DHT nodes see. The port may be forwarded, and then differs from that of --dht.listen-address. With it in their invite, clients need no DHT node, and one open UDP port. Default: unknown."

// PortMappingHelp is the help of --dht.port-mapping.
const PortMappingHelp = "When to ask the router by PCP or NAT-PMP to let in datagrams for the DHT node's port: auto (if its NAT has random ports, hole punches fail or the NAT cannot be classified), always (behind any NAT), or never."

// PortMapping parses auto, always or never.
func PortMapping(s string) (dhtprom.PortMapping, error) {
	switch s {
	case "auto":
		return dhtprom.MapAuto, nil
	case "always":
		return dhtprom.MapAlways, nil
	case "never":
		return dhtprom.MapNever, nil
	}
	return 0, fmt.Errorf("want auto, always or never, got %q", s)
}

// CheckKey rejects 32 bytes that are not a valid public key, as half of all typing errors yield. No peer has such a key.
func CheckKey(k domain.PublicKey) error {
	p, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil || new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errors.New("has the length of a public key but is not a valid one: check its characters")
	}
	return nil
}

// STUNServer parses a STUN server: host:port, or none.
func STUNServer(s string) (string, error) {
	if err := stun.CheckServers([]string{s}); err != nil {
		return "", fmt.Errorf("want HOST, HOST:PORT or none, got %q", s)
	}
	return s, nil
}

// ServerURL parses the URL of an HTTP server, or unix:PATH.
func ServerURL(s string) (*url.URL, error) {
	if path, is := unix.Path(s); is && path != "" {
		return &url.URL{Scheme: "unix", Path: path}, nil
	}
	return HTTPURL(s)
}

// HTTPURL parses the URL of an HTTP server.
func HTTPURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("want a URL like http://host:30000/path, got %q", s)
	}
	return u, nil
}

// Text accepts anything but the empty string.
func Text(s string) (string, error) {
	if s == "" {
		return "", errors.New("want a value, got nothing")
	}
	return s, nil
}

// IPv4 parses an IPv4 address.
func IPv4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("want the IPv4 address at which other machines reach this one, got %q", s)
	}
	return a, nil
}

// Int parses a whole number.
func Int(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("want a number from %d to %d, got %q", low, high, s)
		}
		return n, nil
	}
}

// Bootstrap parses a bootstrap node: host:port, address@host:port, or a port alone for a node on this machine.
func Bootstrap(s string) (string, error) {
	wrong := fmt.Errorf("want HOST:PORT, or a port alone for a node on this machine, got %q", s)
	if port, err := strconv.ParseUint(s, 10, 16); err == nil && port > 0 {
		return "127.0.0.1:" + s, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", wrong
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", wrong
	}
	if host == "" {
		host = "127.0.0.1"
	}
	suggested, name, both := strings.Cut(host, "@")
	if !both {
		suggested, name = "", host
	}
	if both {
		if a, err := netip.ParseAddr(suggested); err != nil || !a.Is4() {
			return "", wrong
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && !a.Is4() {
		return "", errors.New("HyperDHT is IPv4 only, got " + strconv.Quote(s))
	}
	if name == "" || len(name) > 253 || strings.ContainsAny(name, " /\\@?#") {
		return "", wrong
	}
	return net.JoinHostPort(host, port), nil
}

// WebAddr checks an address to serve HTTP on: that of TCPAddr, or unix:PATH.
func WebAddr(s string) (string, error) {
	if path, is := unix.Path(s); is {
		if path == "" || strings.ContainsRune(path, 0) {
			return "", fmt.Errorf("want unix:PATH, got %q", s)
		}
		return s, nil
	}
	return TCPAddr(s)
}

// TCPAddr checks an address to serve HTTP on: host:port, :port, or vsock://:port.
func TCPAddr(s string) (string, error) {
	if strings.HasPrefix(s, "vsock://") {
		return s, nil
	}
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", fmt.Errorf("want HOST:PORT or :PORT, got %q", s)
	}
	return s, nil
}

// Checked turns a check into a parser.
func Checked(check func(string) error) func(string) (string, error) {
	return func(s string) (string, error) { return s, check(s) }
}
