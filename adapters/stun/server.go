package stun

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// None is what switches STUN off where servers are named.
const None = "none"

// DefaultServers are public servers of different operators, so that no one of them decides what we think our
// address is.
func DefaultServers() []string {
	return []string{
		"stun.cloudflare.com:3478",
		"stun.l.google.com:19302",
		"stun.sipgate.net:3478",
	}
}

// Servers are those that the values of a flag stand for. Without values they are the default ones, or none where
// the DHT is a private one: a private network does not talk to others unless it is told to. None, alone,
// stands for no server.
func Servers(values []string, privateDHT bool) ([]string, error) {
	switch {
	case len(values) == 0 && privateDHT, len(values) == 1 && values[0] == None:
		return nil, nil
	case len(values) == 0:
		return DefaultServers(), nil
	}
	if err := CheckServers(values); err != nil {
		return nil, err
	}
	return values, nil
}

// CheckServers validates the values of a flag: servers, or None alone.
func CheckServers(values []string) error {
	switch {
	case len(values) == 1 && values[0] == None:
		return nil
	case len(values) > maxServers:
		return fmt.Errorf("stun: %d servers, want %d at most", len(values), maxServers)
	}
	for _, v := range values {
		if _, err := parseServer(v); err != nil {
			return err
		}
	}
	return nil
}

// server is one that is asked.
type server struct {
	text string
	name string // empty for one given by address
	port uint16

	addr       netip.AddrPort // invalid until the name was resolved
	looking    bool
	waiting    []lookup // for the first address
	resolved   bool     // lookedUp is set
	lookedUp   host.Instant
	failure    error // of the last lookup
	alternate  netip.AddrPort
	seen       netip.AddrPort
	answeredAt host.Instant
	rtt        time.Duration
	unanswered int // probes in a row
}

// lookup is a probe that waits for a server's address.
type lookup struct {
	probe *probe
	ended func() // of the probe's join
}

// ServerStatus is what is known of a server.
type ServerStatus struct {
	// Server is its name as configured, Addr its address, invalid while unknown, and Alternate the other address
	// it answers at, if it has one.
	Server          string
	Addr, Alternate netip.AddrPort
	// Seen is our address in its last answer, for whichever socket it was asked, at AnsweredAt after RTT. AnsweredAt
	// is zero if it never answered.
	Seen       netip.AddrPort
	AnsweredAt host.Instant
	RTT        time.Duration
	// Unanswered is how many requests in a row it did not answer.
	Unanswered int
	// Err is why its name could not be resolved the last time.
	Err error
}

// parseServer reads host:port, or a host alone for the port of STUN.
func parseServer(text string) (*server, error) {
	bad := func(why string) (*server, error) { return nil, fmt.Errorf("stun: server %.64q: %s", text, why) }
	name, portText, hasPort := strings.Cut(text, ":")
	port := uint64(defaultPort)
	if hasPort {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
			return bad("want host:port")
		}
	}
	switch {
	case name == "" || len(name) > maxName:
		return bad("it has no host")
	case strings.ContainsAny(name, " \t\r\n/\\@?#"):
		return bad("want host:port")
	case name == None:
		return bad("it stands alone")
	}
	s := &server{text: text, name: name, port: uint16(port)}
	if ip, err := netip.ParseAddr(name); err == nil {
		s.name, s.addr = "", netip.AddrPortFrom(ip.Unmap(), uint16(port))
		if !isUsable(s.addr) {
			return bad("want an IPv4 address of one machine")
		}
	}
	return s, nil
}

var errNoAddress = errors.New("stun: the name has no IPv4 address")

// resolve looks the name up if that is due, and reports whether an address is there, or will come.
func (c *Client) resolve(s *server) (soon bool) {
	age := resolveAge
	if s.failure != nil || s.unanswered > 0 {
		age = resolvePause
	}
	due := s.name != "" && !s.looking && (!s.resolved || c.h.Now().Sub(s.lookedUp) >= age)
	if due {
		s.looking, s.resolved, s.lookedUp = true, true, c.h.Now()
		c.h.LookupHost(s.name, func(addrs []netip.Addr, err error) { c.lookedUp(s, addrs, err) })
	}
	return s.addr.IsValid() || s.looking
}

func (c *Client) lookedUp(s *server, addrs []netip.Addr, err error) {
	s.looking = false
	if err == nil {
		err = errNoAddress
	}
	for _, a := range addrs {
		if addr := netip.AddrPortFrom(a.Unmap(), s.port); isUsable(addr) {
			if addr != s.addr {
				s.addr, s.alternate = addr, netip.AddrPort{}
			}
			err = nil
			break
		}
	}
	s.failure = err
	waiting := s.waiting
	s.waiting = nil
	for _, l := range waiting {
		l.probe.ask(s, s.addr, mainAddr)
		l.ended()
	}
}
