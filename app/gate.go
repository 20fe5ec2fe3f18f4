package app

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Our choice: limits on connections to the registration service, which anybody who knows the scraper's key can reach.
// The numbers per address leave room for a site of hundreds of clients behind one NAT that come back together.
const (
	maxStrangers        = 512 // at once, connections that have shown no secret yet
	maxStrangersPerAddr = 128 // at once, from one address
	maxConnsPerAddr     = 512 // at once, from one address, whatever they have shown
	// refusalBurst wrong requests from one address are answered, and then one more per refusalEvery: keys cost
	// nothing, addresses do.
	refusalBurst = 60
	refusalEvery = 10 * time.Second
	// maxRefusing bounds the addresses that are remembered for it.
	maxRefusing = 4096
)

// gate counts the connections to the registration service, and says which one is too many.
type gate struct {
	open      int
	strangers int
	perKey    map[domain.PublicKey]int
	perAddr   map[netip.Addr]*addrCount
	refusals  map[netip.Addr]*bucket
	refusing  []netip.Addr // its keys, the longest known first
}

type addrCount struct{ open, strangers int }

func newGate() *gate {
	return &gate{perKey: map[domain.PublicKey]int{}, perAddr: map[netip.Addr]*addrCount{}, refusals: map[netip.Addr]*bucket{}}
}

// full names the limit that one more connection would break, if there is one.
func (g *gate) full(now host.Instant, key domain.PublicKey, addr netip.Addr) (limit string, full bool) {
	at := g.perAddr[addr]
	if at == nil {
		at = &addrCount{}
	}
	wrong := g.refusals[addr]
	switch {
	case wrong != nil && wrong.empty(now):
		return domain.LimitRefusals, true
	case g.perKey[key] >= maxAliasConnsPerKey:
		return domain.LimitKey, true
	case at.open >= maxConnsPerAddr || at.strangers >= maxStrangersPerAddr:
		return domain.LimitAddress, true
	case g.strangers >= maxStrangers:
		return domain.LimitUnauthenticated, true
	case g.open >= maxAliasConns:
		return domain.LimitTotal, true
	}
	return "", false
}

// enter counts a connection, a stranger's so far.
func (g *gate) enter(p domain.Peer) {
	g.open++
	g.strangers++
	g.perKey[p.Key]++
	at := g.perAddr[p.Addr.Addr()]
	if at == nil {
		at = &addrCount{}
		g.perAddr[p.Addr.Addr()] = at
	}
	at.open++
	at.strangers++
}

// known stops counting a connection as a stranger's.
func (g *gate) known(p domain.Peer) {
	g.strangers--
	g.perAddr[p.Addr.Addr()].strangers--
}

// leave takes a connection out of the count.
func (g *gate) leave(p domain.Peer, stranger bool) {
	if stranger {
		g.known(p)
	}
	g.open--
	if g.perKey[p.Key]--; g.perKey[p.Key] <= 0 {
		delete(g.perKey, p.Key)
	}
	at := g.perAddr[p.Addr.Addr()]
	if at.open--; at.open <= 0 {
		delete(g.perAddr, p.Addr.Addr())
	}
}

// refused counts a wrong request. Where too many addresses send them, the one known longest is forgotten.
func (g *gate) refused(now host.Instant, addr netip.Addr) {
	limit := g.refusals[addr]
	if limit == nil {
		if len(g.refusing) >= maxRefusing {
			delete(g.refusals, g.refusing[0])
			g.refusing = append(g.refusing[:0], g.refusing[1:]...)
		}
		limit = newBucket(now, refusalBurst, refusalEvery)
		g.refusals[addr] = limit
		g.refusing = append(g.refusing, addr)
	}
	limit.take(now)
}
