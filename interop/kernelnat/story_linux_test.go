// Package kernelnat compares the simulator's NATs with Linux's: the same story runs on simulated machines and in network
// namespaces, with nftables as the NAT, and must produce the same transcript.
//
// Compared are mapping, filtering, ports, hairpin and hops; the lifetime of sessions and their refresh, with the kernel's
// timeouts set to seconds; the state after a router forgets its sessions or gets another address; and the size of the
// table. That of the kernel (nf_conntrack_max) is one for all namespaces and cannot be set in one of them, so a rule that
// counts sessions (nftables' ct count) stands in for it. Linux has no NAT whose sessions outlive its address, whose ports
// count up, that only outbound datagrams refresh or that evicts the oldest session, so those axes have no counterpart.
//
// It needs root, ip and nft. Without them it is skipped, except in CI. All networks exist inside namespaces that are
// created for one test and removed after it.
package kernelnat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// kind is a kind of router in both worlds.
type kind struct {
	name string
	nat  simnet.NAT
	// forward filters packets through the router, after inside hosts were let out; post translates packets that leave by
	// the uplink. Both are nftables statements, or empty.
	forward, post string
}

// place is a machine on a segment.
type place struct{ name, addr, segment string }

// joint is a router between two segments. A simulated one has its address on the uplink only where it translates,
// and none on the LAN.
type joint struct {
	name, uplink, addr, lan, lanAddr string
	kind                             kind
}

// topology is a world to be built twice. Segments are named by their prefix.
type topology struct {
	places []place
	joints []joint
}

// world is an environment that a story runs in.
type world interface {
	// send sends from a machine's port and returns the receiver and the source address it saw, or false if there was none
	// within patience.
	send(from end, to netip.AddrPort, ttl int, patience time.Duration) (arrival, bool)
	// until waits until a time since the first call of it.
	until(d time.Duration)
	// forget makes a router forget its sessions.
	forget(router string)
	// renumber gives a router another address on its uplink instead of the old one.
	renumber(router string, from, to netip.Prefix)
}

// end is a socket of a machine.
type end struct {
	machine string
	port    uint16
}

func (e end) String() string { return fmt.Sprintf("%s:%d", e.machine, e.port) }

type arrival struct {
	at   end
	from netip.AddrPort
}

// story runs steps in a world and records their results. Public ports are named by the order in which they are first seen,
// unless they are the port of the sender.
type story struct {
	world
	topology
	seen  map[end]netip.AddrPort // the last source that an end received from
	ports map[uint16]string
	text  strings.Builder
	told  int
	// expected is the transcript of another world. Datagrams that arrived there may take long here, on a busy machine;
	// others are not waited for as long.
	expected []string
}

func newStory(w world, t topology, expected string) *story {
	return &story{
		world: w, topology: t, seen: map[end]netip.AddrPort{}, ports: map[uint16]string{}, expected: strings.Split(expected, "\n"),
	}
}

func parse(s string) end {
	var e end
	name, port, _ := strings.Cut(s, ":")
	e.machine = name
	if _, err := fmt.Sscan(port, &e.port); err != nil {
		panic(err)
	}
	return e
}

// addr returns the own address of a machine or the public one of a router.
func (s *story) addr(name string) netip.Addr {
	for _, p := range s.places {
		if p.name == name {
			return netip.MustParseAddr(p.addr)
		}
	}
	for _, j := range s.joints {
		if j.name == name {
			return netip.MustParseAddr(j.addr)
		}
	}
	panic("nobody is named " + name)
}

func (s *story) name(a netip.Addr) string {
	for _, p := range s.places {
		if s.addr(p.name) == a {
			return p.name
		}
	}
	for _, j := range s.joints {
		if s.addr(j.name) == a {
			return j.name
		}
	}
	return a.String()
}

// say sends from one end to another, by their names: "a:5000", "x:1".
func (s *story) say(from, to string) { s.sayTTL(from, to, 64) }

func (s *story) sayTTL(from, to string, ttl int) {
	t := parse(to)
	s.tell(parse(from), netip.AddrPortFrom(s.addr(t.machine), t.port), to, ttl)
}

// answer sends to the last source that an end received from.
func (s *story) answer(from string) { s.sayToPeerOf(from, from) }

// sayToPeerOf sends to the last source that another end received from: so strangers learn a public address.
func (s *story) sayToPeerOf(from, other string) {
	s.tell(parse(from), s.seen[parse(other)], "whom "+other+" heard", 64)
}

// after continues at a time since the first call of it.
func (s *story) after(d time.Duration) {
	fmt.Fprintf(&s.text, "after %v:\n", d)
	s.told++
	s.until(d)
}

// reboot makes a router forget its sessions.
func (s *story) reboot(router string) {
	fmt.Fprintf(&s.text, "%s forgets\n", router)
	s.told++
	s.forget(router)
}

// move gives a router another public address.
func (s *story) move(router, addr string) {
	fmt.Fprintf(&s.text, "%s moves\n", router)
	s.told++
	s.joints = slices.Clone(s.joints)
	for i := range s.joints {
		if j := &s.joints[i]; j.name == router {
			bits := netip.MustParsePrefix(j.uplink).Bits()
			s.renumber(router, netip.PrefixFrom(netip.MustParseAddr(j.addr), bits), netip.PrefixFrom(netip.MustParseAddr(addr), bits))
			j.addr = addr
		}
	}
}

func (s *story) patience() time.Duration {
	if s.told <= len(s.expected) && strings.Contains(s.expected[s.told-1], "hears") {
		return patience
	}
	return silence
}

func (s *story) tell(from end, to netip.AddrPort, toName string, ttl int) {
	s.told++
	fmt.Fprintf(&s.text, "%v > %s", from, toName)
	if ttl != 64 {
		fmt.Fprintf(&s.text, " (ttl %d)", ttl)
	}
	if !to.IsValid() {
		s.text.WriteString(": nobody\n")
		return
	}
	got, ok := s.send(from, to, ttl, s.patience())
	if !ok {
		s.text.WriteString(": lost\n")
		return
	}
	s.seen[got.at] = got.from
	port := "same port"
	if got.from.Port() != from.port {
		if s.ports[got.from.Port()] == "" {
			s.ports[got.from.Port()] = fmt.Sprint("port ", string(rune('A'+len(s.ports))))
		}
		port = s.ports[got.from.Port()]
	}
	fmt.Fprintf(&s.text, ": %v hears %s, %s\n", got.at, s.name(got.from.Addr()), port)
}

// silence bounds the wait for a real datagram that should not arrive, patience for one that should; on one idle machine it
// takes microseconds.
const (
	silence  = 300 * time.Millisecond
	patience = 10 * time.Second
)
