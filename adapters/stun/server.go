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

// None, in place of servers, disables STUN.
const None = "none"

// DefaultServers returns public servers of different operators, so that no single operator determines the result.
func DefaultServers() []string {
	return []string{
		"stun.cloudflare.com:3478",
		"stun.l.google.com:19302",
		"stun.sipgate.net:3478",
	}
}

// Servers returns the servers for the values of a flag. The default is DefaultServers, or none on a private DHT, which
// contacts no public servers unless configured to. The single value None means no server.
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

// server is a STUN server and its last results.
type server struct {
	text string
	name string // empty for a server given by address
	port uint16

	addr       netip.AddrPort // invalid until the name was resolved
	looking    bool
	waiting    []lookup // probes that wait for the first address
	resolved   bool     // lookedUp is set
	lookedUp   host.Instant
	failure    error // of the last lookup
	alternate  netip.AddrPort
	seen       netip.AddrPort
	answeredAt host.Instant
	rtt        time.Duration
	unanswered int // requests in a row
}

// lookup is a probe that waits for a server's address.
type lookup struct {
	probe *probe
	ended func() // of the probe's join
}

// ServerStatus describes a server.
type ServerStatus struct {
	// Server is its name as configured, Addr its address, invalid while unknown, and Alternate its alternate address, if any.
	Server          string
	Addr, Alternate netip.AddrPort
	// Seen is the node's address in the last answer, for any of its sockets, received at AnsweredAt after RTT. AnsweredAt
	// is zero if the server has never answered.
	Seen       netip.AddrPort
	AnsweredAt host.Instant
	RTT        time.Duration
	// Unanswered is the number of successive requests without an answer.
	Unanswered int
	// Err is the error of the last lookup of its name.
	Err error
}

// parseServer parses host:port, or a host for the default port.
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
		return bad("want host:port")
	case strings.ContainsAny(name, " \t\r\n/\\@?#"):
		return bad("want host:port")
	case name == None:
		return bad("cannot be combined with other servers")
	}
	s := &server{text: text, name: name, port: uint16(port)}
	if ip, err := netip.ParseAddr(name); err == nil {
		s.name, s.addr = "", netip.AddrPortFrom(ip.Unmap(), uint16(port))
		if !isUsable(s.addr) {
			return bad("want a unicast IPv4 address")
		}
	}
	return s, nil
}

var errNoAddress = errors.New("stun: the name has no IPv4 address")

// resolve looks the name up if due, and reports whether an address is known or a lookup is in progress.
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
