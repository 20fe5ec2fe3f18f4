package app

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Our choice: limits on connections to the registration service, which is open to any peer that knows the scraper's key.
const (
	// maxAliasConns bounds the connections in all, maxAliasConnsPerKey those of one key: a client has one, and a second one when
	// it reconnects before the first times out.
	maxAliasConns       = 1024
	maxAliasConnsPerKey = 8
	// keptStrangers and keptMembers are the connections reserved for each class. Strangers finish within seconds, JavaScript
	// members stay for two minutes.
	keptStrangers = 256
	keptMembers   = 768
	// maxMembers bounds the keys that are remembered for a valid secret: two runs of 10,000 clients.
	maxMembers = 20_000
	// refusalBurst wrong requests from one address may share connections, then each costs a connection of its own, with one more
	// for free per refusalEvery. Keys are free, addresses are not.
	refusalBurst = 60
	refusalEvery = 10 * time.Second
	// maxRefusing bounds the addresses that are remembered for wrong requests.
	maxRefusing = 4096
)

// The classes of connections to the registration service.
const (
	stranger = iota // no valid secret yet; counted by the address that its packets go to
	member          // its key has an alias or has sent a valid secret; counted by key
)

// gate holds the connections to the registration service, and closes one when there are too many: the oldest of the fullest
// address among strangers, of the fullest key among members. None is rejected in advance, so no address can be exhausted for the
// other clients behind it.
type gate struct {
	conns    *bound.Shares[*aliasConn]
	members  *bound.Recent[domain.PublicKey] // keys of connections that sent a valid secret; clients dial under keys of their own
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

// forget makes strangers of all members, to be members again after their next valid secret: it is not known which of them had a secret that
// was revoked. Keys that have an alias are known by that.
func (g *gate) forget() { g.members = bound.NewRecent[domain.PublicKey](maxMembers) }

// enter adds a connection. crowded is the one that must close for it, nil if there is room.
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

// join turns a stranger's connection into a member's; crowded as in enter.
func (g *gate) join(k *aliasConn) (crowded *aliasConn) {
	if evicted := g.conns.Move(k.held, bound.Under(member, k.peer.Key)); evicted != nil {
		return evicted.Value
	}
	return nil
}

// limitOf names the limit because of which one connection is closed for another.
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

// leave removes a connection.
func (g *gate) leave(k *aliasConn) { g.conns.Remove(k.held) }

// refused counts a wrong request. It reports whether its address has sent so many that the connection must close.
func (g *gate) refused(now host.Instant, addr netip.Addr) bool {
	return !g.refusals.Of(now, bound.Host(addr)).Take(now)
}
