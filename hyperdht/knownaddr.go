package hyperdht

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/dhtprom/dhtprom/ports/host"
)

// HostPort is an address by name: an IPv4 address or a host name, and a UDP port.
type HostPort struct {
	Host string
	Port uint16
}

// String returns the address as host:port.
func (h HostPort) String() string { return h.Host + ":" + strconv.Itoa(int(h.Port)) }

// knownAddrs is the part of a dial that sends message 1 to the server's known addresses. It needs no DHT node, and begins before this
// node has entered the network. The DHT is searched when all of them have failed, or after knownHeadStart.
type knownAddrs struct {
	addrs     []netip.AddrPort // that were tried
	pending   int              // lookups and handshakes under way
	headStart host.Timer       // nil once the search of the DHT may begin
}

// enter begins the dial: at known addresses at once, and otherwise once this node has entered the network, since before it does not
// know what NAT it has.
func (c *connector) enter() {
	switch {
	case !c.knows():
		c.p.rpc.WhenBootstrapped(func() {
			if !c.over() {
				c.greet(c.search)
			}
		})
	case !c.over():
		c.greet(c.tryKnown)
	}
}

// knows reports whether the dial has known addresses that its rule of paths permits.
func (c *connector) knows() bool { return len(c.opts.Addrs) > 0 && c.opts.Paths != RelayOnly }

// tryKnown sends message 1 to the known addresses.
func (c *connector) tryKnown() {
	k := &c.known
	k.headStart = c.p.host.AfterFunc(knownHeadStart, c.endHeadStart)
	k.pending++ // until all have begun
	for _, a := range c.opts.Addrs {
		if addr, err := netip.ParseAddr(a.Host); err == nil {
			c.tryKnownAddr(netip.AddrPortFrom(addr.Unmap(), a.Port))
			continue
		}
		k.pending++
		c.p.host.LookupHost(a.Host, func(addrs []netip.Addr, _ error) {
			for _, addr := range addrs {
				c.tryKnownAddr(netip.AddrPortFrom(addr.Unmap(), a.Port))
			}
			c.knownEnded()
		})
	}
	c.knownEnded()
}

func (c *connector) tryKnownAddr(addr netip.AddrPort) {
	k := &c.known
	if !c.in(dialFinding) || !addr.Addr().Is4() || addr.Port() == 0 || len(k.addrs) >= maxKnownAddrs || slices.Contains(k.addrs, addr) {
		return
	}
	k.addrs = append(k.addrs, addr)
	k.pending++
	c.attempt(addr, nil, c.knownEnded)
}

// knownEnded is called when a lookup or handshake has ended.
func (c *connector) knownEnded() {
	k := &c.known
	if k.pending--; k.pending > 0 || !c.in(dialFinding) {
		return
	}
	switch {
	case k.headStart != nil:
		c.endHeadStart()
	case c.begun:
		c.next()
	}
}

// endHeadStart begins to search the DHT, once this node has entered it.
func (c *connector) endHeadStart() {
	c.stopHeadStart()
	c.p.rpc.WhenBootstrapped(func() {
		if c.in(dialFinding) {
			c.search()
		}
	})
}

func (c *connector) stopHeadStart() {
	if t := c.known.headStart; t != nil {
		t.Stop()
		c.known.headStart = nil
	}
}
