package peering

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// announcer keeps a server's record on the three DHT nodes nearest to its target, and the NAT mapping
// towards them open (hyperdht lib/announcer.js).
//
//	        ┌── suspend ──▶ suspended ── resume ─┐
//	        │                                    ▼
//	cycle ──┴─▶ pinging (100 × 3 s) ── done, relays lost or network change ──▶ cycle
//	            (5, 10, 20 … × 3 s while the lookup finds fewer nodes than a bucket holds)
//	        └─ offline ─▶ waiting ── network back ─▶ cycle
//	any ── stop ──▶ unannouncing ──▶ stopped
type announcer struct {
	p      *Peering
	keys   id.KeyPair
	target id.Target

	// relays and relayAddrs are what handshakes tell clients; those of the latest finished cycle.
	relays     []wire.RelayInfo
	relayAddrs []netip.AddrPort

	// generations are the nodes of the last cycles, the newest last: a client may still come in through a
	// relay of an earlier cycle.
	generations [3][]netip.AddrPort
	closest     []netip.AddrPort

	session   *rpc.Session
	query     *rpc.Query
	timer     host.Timer
	cycling   bool
	refresh   bool
	small     int // cycles that found few nodes, since the network was last seen to change
	rounds    int // of pings until the next cycle
	suspended bool
	stopped   bool
	offline   bool // waits for the network to come back
	onCycle   func()
}

func newAnnouncer(p *Peering, keys id.KeyPair) *announcer {
	return &announcer{p: p, keys: keys, target: keys.Public.Target(), session: p.rpc.NewSession()}
}

// start runs the first cycle and calls done when it has ended, whatever came of it.
func (a *announcer) start(done func()) {
	a.onCycle = done
	a.cycle()
}

// isRelay reports whether the server announced to the node at addr in one of the last three cycles.
func (a *announcer) isRelay(addr netip.AddrPort) bool {
	for _, g := range a.generations {
		if slices.Contains(g, addr) {
			return true
		}
	}
	return false
}

// refreshSoon makes the next cycle start as soon as the running pings allow.
func (a *announcer) refreshSoon() {
	a.refresh, a.small = true, 0
	if !a.cycling && !a.suspended && !a.stopped && a.timer != nil {
		a.wait(0)
	}
}

// online wakes an announcer that waits for the network.
func (a *announcer) online() {
	if a.offline {
		a.offline, a.small = false, 0
		a.wait(0)
	}
}

func (a *announcer) suspend(done func()) {
	if a.suspended || a.stopped {
		a.p.host.Defer(done)
		return
	}
	a.suspended = true
	a.halt()
	a.unannounceAll(slices.Clone(a.generations[2]), done)
}

func (a *announcer) resume() {
	if !a.suspended || a.stopped {
		return
	}
	a.suspended = false
	a.session = a.p.rpc.NewSession()
	a.cycle()
}

// stop ends everything and takes the record back from the current relays before it calls done.
func (a *announcer) stop(done func()) {
	if a.stopped {
		a.p.host.Defer(done)
		return
	}
	a.stopped = true
	a.halt()
	a.unannounceAll(slices.Clone(a.generations[2]), done)
}

// halt cancels the running cycle or wait.
func (a *announcer) halt() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if a.query != nil {
		a.query.Destroy()
		a.query = nil
	}
	a.cycling = false
	a.offline = false
	a.session.Cancel()
	if f := a.onCycle; f != nil {
		a.onCycle = nil
		a.p.host.Defer(f)
	}
}

func (a *announcer) running() bool { return !a.stopped && !a.suspended }

// cycle finds the nearest nodes and announces to three of them.
func (a *announcer) cycle() {
	a.timer = nil
	a.cycling = true
	a.refresh = false
	a.generations[0], a.generations[1], a.generations[2] = a.generations[1], a.generations[2], nil

	q := a.p.rpc.Query(rpc.QueryConfig{
		Target: a.target, Command: wire.CmdFindPeer, Nodes: a.closest, Session: a.session,
		OnDone: func(error) {
			// A failed query has announced nowhere; the next cycle tries again.
			if a.running() && a.query != nil {
				replies := a.query.Closest()
				a.query = nil
				a.commit(replies)
			}
		},
	})
	a.query = q
}

func (a *announcer) commit(replies []rpc.Reply) {
	var relays []wire.RelayInfo
	var relayAddrs []netip.AddrPort
	if addr, ok := a.p.rpc.RemoteAddr(); ok && !a.p.rpc.Firewalled() {
		relayAddrs = append(relayAddrs, addr)
	}
	pending := 1
	settle := func() {
		if pending--; pending > 0 || !a.running() {
			return
		}
		failed := len(relays) == 0
		if failed {
			a.keep()
		} else {
			a.relays, a.relayAddrs = relays, relayAddrs
		}
		a.rounds = announcePings
		if len(replies) < kad.K {
			a.rounds = min(youngPings<<a.small, announcePings)
			a.small = min(a.small+1, maxYoung)
		}
		a.closest = a.closest[:0]
		for _, r := range replies {
			a.closest = append(a.closest, r.From)
		}
		a.finish(failed)
	}
	for _, r := range replies[:min(len(replies), announceRelays)] {
		if r.Token == nil {
			continue
		}
		pending++
		a.generations[2] = append(a.generations[2], r.From)
		a.p.rpc.Request(rpc.Outgoing{
			To: r.From, Command: wire.CmdAnnounce, Target: &a.target, Token: r.Token, Session: a.session,
			Value: a.signed(wire.SignAnnounce, r),
		}, func(answer rpc.Reply, err error) {
			if err == nil && answer.Error == 0 {
				if len(relayAddrs) < announceRelays {
					relayAddrs = append(relayAddrs, r.From)
				}
				relays = append(relays, wire.RelayInfo{RelayAddr: r.From, PeerAddr: r.To})
			} else if a.running() {
				a.generations[2] = slices.DeleteFunc(a.generations[2], func(x netip.AddrPort) bool { return x == r.From })
			}
			settle()
		})
	}
	a.p.host.Defer(settle)
}

// keep brings the relays of the cycle before back, after one that reached none: what they hold is still true, and a
// network that is away for a minute must not cost the server its record.
func (a *announcer) keep() {
	a.generations[0], a.generations[1], a.generations[2] = nil, a.generations[0], a.generations[1]
}

// signed is our record signed for the node that sent r, with the token it gave.
func (a *announcer) signed(sign signFunc, r rpc.Reply) []byte {
	peer := wire.Peer{PublicKey: a.keys.Public}
	sig := sign(a.keys, wire.Grant{Target: a.target, Node: r.ID, Token: *r.Token}, peer, nil)
	return wire.Announce{Peer: &peer, Signature: &sig}.Append(nil)
}

type signFunc func(keys id.KeyPair, g wire.Grant, peer wire.Peer, refresh *[32]byte) [64]byte

// finish takes the record back from the nodes that are not among the nearest any more and goes on to pings.
func (a *announcer) finish(failed bool) {
	var gone []netip.AddrPort
	for _, addr := range a.generations[1] {
		if !failed && !slices.Contains(a.generations[2], addr) {
			gone = append(gone, addr)
		}
	}
	a.unannounceAll(gone, func() {
		if !a.running() {
			return
		}
		a.cycling = false
		if f := a.onCycle; f != nil {
			a.onCycle = nil
			f()
		}
		switch {
		case !a.p.rpc.Online():
			a.offline = true
		case failed:
			a.wait(announceRetry)
		default:
			a.ping(0)
		}
	})
}

// wait starts a cycle after d.
func (a *announcer) wait(d time.Duration) {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = a.p.host.AfterFunc(d, func() {
		if a.running() {
			a.cycle()
		}
	})
}

// ping keeps the mappings to the relays open and notices when they die.
func (a *announcer) ping(round int) {
	if round >= a.rounds || a.refresh {
		a.cycle()
		return
	}
	nodes := a.generations[2]
	answered, pending := 0, len(nodes)
	for _, node := range nodes {
		a.p.rpc.Ping(node, nil, a.session, func(r rpc.Reply, err error) {
			if err == nil {
				answered++
				a.checkMapping(r)
			}
			if pending--; pending > 0 || !a.running() || a.cycling {
				return
			}
			if answered < min(len(nodes), announceRelays) {
				a.refresh = true
			}
			if a.refresh {
				a.cycle()
				return
			}
			a.timer = a.p.host.AfterFunc(announcePause, func() { a.ping(round + 1) })
		})
	}
}

// checkMapping notices that a relay sees us at another address than the one we announced with: our NAT has
// forgotten us, or we have moved, and the relay forwards to where nobody is. The original finds out with its
// next cycle, up to five minutes later.
func (a *announcer) checkMapping(r rpc.Reply) {
	for _, relay := range a.relays {
		if relay.RelayAddr == r.From && relay.PeerAddr != r.To {
			a.refresh = true
			a.p.stats.MappingsChanged++
			if a.p.cfg.OnMoved != nil {
				a.p.host.Defer(a.p.cfg.OnMoved)
			}
		}
	}
}

// unannounceAll takes the record back from nodes. It does not use the announcer's session, because it also
// runs while that one is cancelled.
func (a *announcer) unannounceAll(nodes []netip.AddrPort, done func()) {
	pending := 1
	settle := func() {
		if pending--; pending == 0 {
			done()
		}
	}
	for _, node := range nodes {
		pending++
		a.unannounce(node, settle)
	}
	a.p.host.Defer(settle)
}

func (a *announcer) unannounce(node netip.AddrPort, done func()) {
	a.p.rpc.Request(rpc.Outgoing{To: node, Command: wire.CmdFindPeer, Target: &a.target}, func(r rpc.Reply, err error) {
		if err != nil || r.Token == nil || !r.HasID || r.Value == nil {
			done()
			return
		}
		a.p.rpc.Request(rpc.Outgoing{
			To: node, Command: wire.CmdUnannounce, Target: &a.target, Token: r.Token,
			Value: a.signed(wire.SignUnannounce, r),
		}, func(rpc.Reply, error) { done() })
	})
}
