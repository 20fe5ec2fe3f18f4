package app

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Our choice: limits on connections to the registration service, which anybody who knows the scraper's key can reach.
const (
	// maxAliasConns bounds the connections in all, maxAliasConnsPerKey those of one key: a client has one, and a second
	// one when it comes back before the first is found dead.
	maxAliasConns       = 1024
	maxAliasConnsPerKey = 8
	// keptStrangers and keptMembers are what neither takes of it from the other. Strangers are done within seconds,
	// members of the JavaScript kind stay for two minutes.
	keptStrangers = 256
	keptMembers   = 768
	// maxMembers bounds the keys that are remembered for having shown a secret: two lives of each client of a full table.
	maxMembers = 2 * domain.MaxEntries
	// refusalBurst wrong requests from one address cost as many connections as they like, then each costs one of its
	// own, with one more for free per refusalEvery. Keys cost nothing, addresses do.
	refusalBurst = 60
	refusalEvery = 10 * time.Second
	// maxRefusing bounds the addresses that are remembered for it.
	maxRefusing = 4096
)

// The classes of connections to the registration service.
const (
	stranger = iota // has shown no secret; counted by the address that its packets go to
	member          // has a key that has an alias or has shown a secret; counted by key
)

// gate holds the connections to the registration service, and closes one when there is one too many: the oldest of the
// fullest address among strangers, of the fullest key among members. None is rejected beforehand, so no address can be
// used up for the others behind it.
type gate struct {
	conns    *bound.Shares[*aliasConn]
	members  *bound.Recent[domain.PublicKey] // that connections have shown a secret under; clients dial under keys of their own
	refusals *bound.Rates[netip.Prefix]
}

func newGate() *gate {
	return &gate{
		conns: bound.NewShares[*aliasConn](maxAliasConns,
			bound.Class{Kept: keptStrangers, PerKey: maxAliasConnsPerKey}, bound.Class{Kept: keptMembers, PerKey: maxAliasConnsPerKey}),
		members:  bound.NewRecent[domain.PublicKey](maxMembers),
		refusals: bound.NewRates[netip.Prefix](maxRefusing, bound.Pace{Burst: refusalBurst, Every: refusalEvery}),
	}
}

// enter holds a connection. crowded is the one that has to close for it, nil if there is room.
func (g *gate) enter(k *aliasConn, known bool) (crowded *aliasConn) {
	place := bound.At(stranger, k.peer.Addr.Addr(), k.peer.Key)
	if known {
		place = bound.Under(member, k.peer.Key)
	}
	var evicted *bound.Item[*aliasConn]
	k.held, evicted = g.conns.Add(k, place)
	if evicted == nil {
		return nil
	}
	return evicted.Value
}

// join makes a connection a member's; crowded as in enter.
func (g *gate) join(k *aliasConn) (crowded *aliasConn) {
	if evicted := g.conns.Move(k.held, bound.Under(member, k.peer.Key)); evicted != nil {
		return evicted.Value
	}
	return nil
}

// limitOf names the limit at which a connection has to go for another one.
func limitOf(gone, comes *aliasConn) string {
	switch {
	case gone.peer.Key == comes.peer.Key:
		return domain.LimitKey
	case gone.peer.Addr.Addr() == comes.peer.Addr.Addr():
		return domain.LimitAddress
	case !gone.known:
		return domain.LimitUnauthenticated
	}
	return domain.LimitTotal
}

// leave stops holding a connection.
func (g *gate) leave(k *aliasConn) { g.conns.Remove(k.held) }

// refused counts a wrong request. It reports whether its address has sent so many that the connection is to close.
func (g *gate) refused(now host.Instant, addr netip.Addr) bool {
	return !g.refusals.Of(now, bound.Host(addr)).Take(now)
}
