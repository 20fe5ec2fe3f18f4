package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// announcer keeps a server's record on the three DHT nodes nearest to its target, and the NAT mapping
// towards them open (hyperdht lib/announcer.js).
//
// A cycle finds the nearest nodes and announces to three of them. Then it pings those: 100 rounds, three seconds apart; 5, 10, 20 and so
// on while the lookup finds fewer nodes than a bucket holds. A cycle follows, earlier if a relay is lost or the network has changed. Where
// no node takes the record, one follows a second later, or when the network is back. The first cycles of shared keys follow earlier, until
// two in a row find what their predecessors have announced (recordChecks).
type announcer struct {
	machine[announcerState]
	p    *peering
	keys id.KeyPair
	succession
	target id.Target

	// relays and relayAddrs are sent to clients in handshakes; those of the latest cycle that reached a node.
	relays     []wire.RelayInfo
	relayAddrs []netip.AddrPort
	socket     host.Socket // that the relays saw

	// generations are the nodes of the last cycles, the newest last: a client may still come in through a
	// relay of an earlier cycle.
	generations [3][]netip.AddrPort
	closest     []netip.AddrPort

	group   *rpc.CallGroup
	query   *rpc.Query
	pause   host.Timer // between two rounds of pings
	epoch   int        // counts suspensions, so that callbacks from before one are recognised
	refresh bool       // a cycle is due as soon as the running pings allow
	cyclePace

	record    heldRecord
	announced func(error) // runs once; nil afterwards
	takeBack  withdrawal
}

// cyclePace determines the time of the next cycle.
type cyclePace struct {
	small  int // cycles that found few nodes, since the network was last seen to change: a record at fewer nodes shows that, too
	rounds int // of pings until the next cycle
	checks recordChecks
}

type announcerState uint8

const (
	announcerIdle announcerState = iota
	announcerCycling
	announcerPinging
	announcerWaiting
	announcerOffline
	announcerSuspended
	announcerStopped
)

var announcerTable = &table[announcerState]{Name: "announcer", States: []rule[announcerState]{
	announcerIdle: {
		Name: "idle", Why: "starts, or is suspended, in the turn in which its server does",
		Next: []announcerState{announcerCycling, announcerSuspended, announcerStopped},
	},
	announcerCycling: {
		Name: "cycling", Why: "the lookup and the requests end after their last repetition",
		Next: []announcerState{announcerPinging, announcerWaiting, announcerOffline, announcerSuspended, announcerStopped},
	},
	announcerPinging: {
		Name: "pinging", Why: "pings end, and so many rounds are sent",
		Next: []announcerState{announcerCycling, announcerWaiting, announcerSuspended, announcerStopped},
	},
	announcerWaiting: {
		Name: "waiting", Limit: announceRetry,
		Next: []announcerState{announcerCycling, announcerWaiting, announcerSuspended, announcerStopped},
	},
	announcerOffline: {
		Name: "offline", Why: "the endpoint reports when nodes answer again",
		Next: []announcerState{announcerWaiting, announcerSuspended, announcerStopped},
	},
	announcerSuspended: {
		Name: "suspended", Why: "the application resumes it",
		Next: []announcerState{announcerCycling, announcerStopped},
	},
	announcerStopped: {Name: "stopped"},
}}

// succession is the relation to servers of other nodes under the same keys.
type succession struct {
	seeks bool // announces to all near nodes that have a record
	keeps bool // never takes the record back
}

func newAnnouncer(p *peering, cfg ListenOptions, announced func(error)) *announcer {
	a := &announcer{p: p, keys: cfg.Keys, succession: succession{seeks: cfg.SharedKeys || cfg.TakeOver, keeps: cfg.SharedKeys}, target: cfg.Keys.Public.Target(), group: p.rpc.NewCallGroup(), announced: announced}
	a.begin(p.account, announcerTable, announcerIdle, func(announcerState) { a.cycle() })
	return a
}

// start runs the first cycle. announced runs when a DHT node has taken the record, or after the first cycle where the node
// has no bootstrap nodes: a network of its own, which others enter by this node.
func (a *announcer) start() { a.cycle() }

// status is the state of the record now.
func (a *announcer) status() Announcement { return a.record.status(a.p.host.Now()) }

// answeredBy records the number of nodes that hold the record and have answered.
func (a *announcer) answeredBy(nodes int) {
	a.record.answered(nodes, a.p.host.Now())
	if nodes > 0 {
		a.tell(nil)
	}
}

// tell runs announced at the end of the turn, once.
func (a *announcer) tell(err error) {
	if f := a.announced; f != nil {
		a.announced = nil
		a.p.host.Defer(func() { f(err) })
	}
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

// refreshSoon makes the next cycle start as soon as the running pings allow. It does not begin with the nodes of the last one:
// they may be in another part of the network, or an attacker's.
func (a *announcer) refreshSoon() {
	a.refresh, a.small, a.closest, a.checks = true, 0, nil, recordChecks{}
	if a.in(announcerWaiting) || a.in(announcerPinging) && a.pause != nil {
		a.stopPause()
		a.becomeFor(announcerWaiting, 0)
	}
}

// online wakes an announcer that waits for the network.
func (a *announcer) online() {
	if a.in(announcerOffline) {
		a.small = 0
		a.becomeFor(announcerWaiting, 0)
	}
}

// suspend unannounces the record and calls done. A suspended or stopped announcer has none.
func (a *announcer) suspend(done func()) {
	if a.in(announcerSuspended, announcerStopped) {
		a.whenTakenBack(done)
		return
	}
	a.become(announcerSuspended)
	a.halt(done)
}

func (a *announcer) resume() {
	if a.in(announcerSuspended) {
		a.cycle()
	}
}

// stop ends the announcer, unannounces the record at all nodes that may hold it and then calls done.
func (a *announcer) stop(done func()) {
	if a.in(announcerStopped) {
		a.whenTakenBack(done)
		return
	}
	a.become(announcerStopped)
	a.halt(done)
	a.tell(ErrClosed)
}

// halt cancels the running cycle or wait and unannounces the record at all nodes that may hold it.
func (a *announcer) halt(done func()) {
	a.stopPause()
	if a.query != nil {
		a.query.Destroy()
		a.query = nil
	}
	a.group.Cancel()
	a.group = a.p.rpc.NewCallGroup()
	a.epoch++
	holding := a.generations[2]
	if len(holding) < announceRelays { // a cycle was under way
		for _, addr := range a.generations[1] {
			if !slices.Contains(holding, addr) {
				holding = append(slices.Clip(holding), addr)
			}
		}
	}
	a.generations, a.relays, a.relayAddrs = [3][]netip.AddrPort{}, nil, nil
	a.record = heldRecord{}
	a.takeBack.begin()
	a.whenTakenBack(done)
	a.unannounceAll(holding, a.takeBack.end)
}

// whenTakenBack calls f once no unannounce request is under way: at the end of the turn if none is now.
func (a *announcer) whenTakenBack(f func()) {
	if !a.takeBack.wait(f) {
		a.p.host.Defer(f)
	}
}

// cycle finds the nearest nodes and announces to three of them.
func (a *announcer) cycle() {
	a.become(announcerCycling)
	a.refresh = false
	a.generations[0], a.generations[1], a.generations[2] = a.generations[1], a.generations[2], nil

	epoch := a.epoch
	a.query = a.p.rpc.Query(rpc.QueryConfig{
		Target: a.target, Command: wire.CmdFindPeer, Nodes: a.closest, Group: a.group,
		OnDone: func(error) {
			// A failed query has announced nowhere; the next cycle tries again.
			if epoch == a.epoch {
				replies := a.query.Closest()
				a.query = nil
				a.commit(replies)
			}
		},
	})
}

func (a *announcer) commit(replies []rpc.Reply) {
	var relays []wire.RelayInfo
	var relayAddrs []netip.AddrPort
	if addr, ok := a.p.rpc.RemoteAddr(); ok && !a.p.rpc.Firewalled() {
		relayAddrs = append(relayAddrs, addr)
	}
	a.socket = a.p.rpc.Socket()
	epoch := a.epoch
	found := holdRecord(replies, a.generations[1])
	requests := host.NewJoin(func() {
		if epoch != a.epoch {
			return
		}
		failed := len(relays) == 0
		if failed {
			a.keep()
		} else {
			if len(relays) < len(a.relays) { // a part of the network is away, maybe for a moment
				a.small = 0
			}
			a.relays, a.relayAddrs = relays, relayAddrs
		}
		a.answeredBy(len(relays))
		a.rounds = announcePings
		if len(replies) < kad.K {
			a.rounds = min(youngPings<<a.small, announcePings)
			a.small = min(a.small+1, maxYoung)
		}
		checking := a.seeks && !a.checks.passed(found)
		if checking {
			a.rounds = min(a.rounds, a.checks.wait())
		}
		if a.closest = a.closest[:0]; !a.refresh && !checking { // a check begins as the lookup of any other node
			for _, r := range replies {
				a.closest = append(a.closest, r.From)
			}
		}
		a.finish(failed)
	})
	begun := requests.Add()
	for i, r := range replies {
		if i >= announceRelays && (!a.seeks || r.Value == nil) {
			continue // a node with a record of shared keys gets this one
		}
		if r.Token == nil {
			continue
		}
		ended := requests.Add()
		a.generations[2] = append(a.generations[2], r.From)
		a.p.rpc.Request(rpc.RequestOptions{
			To: r.From, Command: wire.CmdAnnounce, Target: &a.target, Token: r.Token, Follows: true, Group: a.group,
			Value: a.signed(wire.SignAnnounce, r),
		}, func(answer rpc.Reply, err error) {
			if err == nil && answer.Error == 0 {
				if i >= announceRelays {
					ended() // neither named to callers nor pinged
					return
				}
				if len(relayAddrs) < announceRelays {
					relayAddrs = append(relayAddrs, r.From)
				}
				relays = append(relays, wire.RelayInfo{RelayAddr: r.From, PeerAddr: r.To})
			} else if epoch == a.epoch {
				a.generations[2] = slices.DeleteFunc(a.generations[2], func(x netip.AddrPort) bool { return x == r.From })
			}
			ended()
		})
	}
	a.p.host.Defer(begun)
}

// keep restores the relays of the previous cycle after one that reached none: their records are still valid, and a
// network outage of a minute must not cost the server its record.
func (a *announcer) keep() {
	a.generations[0], a.generations[1], a.generations[2] = nil, a.generations[0], a.generations[1]
}

// signed returns our record signed for the node that sent r, with the token from that reply.
func (a *announcer) signed(sign signFunc, r rpc.Reply) []byte {
	peer := wire.Peer{PublicKey: a.keys.Public}
	sig := sign(a.keys, wire.Grant{Target: a.target, Node: r.ID, Token: *r.Token}, peer, nil)
	return wire.Announce{Peer: &peer, Signature: &sig}.Append(nil)
}

type signFunc func(keys id.KeyPair, g wire.Grant, peer wire.Peer, refresh *[32]byte) [64]byte

// finish unannounces the record at nodes that are no longer among the nearest and goes on to pings.
func (a *announcer) finish(failed bool) {
	var gone []netip.AddrPort
	for _, addr := range a.generations[1] {
		if !failed && !slices.Contains(a.generations[2], addr) {
			gone = append(gone, addr)
		}
	}
	epoch := a.epoch
	a.unannounceAll(gone, func() {
		if epoch != a.epoch {
			return
		}
		if failed && a.p.rpc.Alone() {
			a.tell(nil)
		}
		switch {
		case !failed:
			a.become(announcerPinging)
			a.ping(0)
		case a.p.rpc.Online():
			a.become(announcerWaiting)
		default:
			a.become(announcerOffline)
		}
	})
}

func (a *announcer) stopPause() {
	if a.pause != nil {
		a.pause.Stop()
		a.pause = nil
	}
}

// ping keeps the mappings to the relays open and notices when they die.
func (a *announcer) ping(round int) {
	a.pause = nil
	if round >= a.rounds || a.refresh {
		a.cycle()
		return
	}
	nodes, epoch := a.generations[2], a.epoch
	nodes = nodes[:min(len(nodes), announceRelays)] // the nearest
	answered := 0
	pings := host.NewJoin(func() {
		if epoch != a.epoch {
			return
		}
		a.answeredBy(answered)
		if answered < min(len(nodes), announceRelays) {
			a.refresh = true
		}
		if a.refresh {
			a.cycle()
			return
		}
		a.pause = a.p.host.AfterFunc(announcePause, func() { a.ping(round + 1) })
	})
	for _, node := range nodes {
		ended := pings.Add()
		a.p.rpc.Ping(node, nil, a.group, func(r rpc.Reply, err error) {
			if err == nil && epoch == a.epoch {
				answered++
				a.checkMapping(r)
			}
			ended()
		})
	}
}

// checkMapping notices that a relay sees us at another address than the one we announced with: our NAT has
// dropped the mapping, or we have moved, and the relay forwards to a dead address. The reference implementation notices
// with its next cycle, up to five minutes later.
func (a *announcer) checkMapping(r rpc.Reply) {
	for _, relay := range a.relays {
		if relay.RelayAddr == r.From && relay.PeerAddr != r.To {
			a.refresh = true
			if a.socket != a.p.rpc.Socket() {
				return // the node has turned out to be open, and asks from its other socket now: connections go on
			}
			a.p.stats.MappingsChanged++
			if a.p.cfg.OnMoved != nil {
				a.p.host.Defer(a.p.cfg.OnMoved)
			}
		}
	}
}

// unannounceAll unannounces the record at nodes. It does not use the announcer's group of calls, because it also
// runs while that one is cancelled.
func (a *announcer) unannounceAll(nodes []netip.AddrPort, done func()) {
	if a.keeps {
		nodes = nil // the records may be those of another server
	}
	join := host.NewJoin(done)
	ended := join.Add()
	for _, node := range nodes {
		a.unannounce(node, join.Add())
	}
	a.p.host.Defer(ended)
}

func (a *announcer) unannounce(node netip.AddrPort, done func()) {
	a.p.rpc.Request(rpc.RequestOptions{To: node, Command: wire.CmdFindPeer, Target: &a.target}, func(r rpc.Reply, err error) {
		if err != nil || r.Token == nil || !r.HasID || r.Value == nil {
			done()
			return
		}
		a.p.rpc.Request(rpc.RequestOptions{
			To: node, Command: wire.CmdUnannounce, Target: &a.target, Token: r.Token, Follows: true,
			Value: a.signed(wire.SignUnannounce, r),
		}, func(rpc.Reply, error) { done() })
	})
}
