package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// rejoin asks the bootstrap nodes repeatedly for as long as the endpoint runs.
//
// After an answer it waits for rejoinTicks, or for 2 ticks if that node was silent before. After silence it asks the next bootstrap
// node, in 2, 4, 8 and then silentTicks.
//
// The reference implementation asks bootstrap nodes only while its table gives fewer than 20 nodes for a lookup. A network
// whose bootstrap node was off, or one that fell in two, then stays in parts for good: each part is large enough for
// itself, and what restarts knows the bootstrap node alone.
type rejoin struct {
	ticks   int // until the next question
	silent  int // questions in a row that had no answer
	next    int // bootstrap node to ask
	state   rejoinState
	looking bool // a lookup because of an answer is under way
	met     bool // a bootstrap node has answered a lookup beside others
	unmet   bool // entered by known nodes alone: the first answer leads to a lookup
}

// schedule sets the time of the next question, a quarter earlier or later so that nodes that were started together
// do not ask together. Draw returns a number below its argument.
func (r *rejoin) schedule(ticks int, draw func(n int) int) {
	r.ticks = ticks - ticks/4 + draw(ticks/2+1)
}

func (e *Endpoint) becomeRejoin(next rejoinState) {
	rejoinTable.Become(&e.rejoin.state, next, &e.faults)
}

// rejoinTick is called with each tick.
func (e *Endpoint) rejoinTick() {
	r := &e.rejoin
	if r.ticks--; r.ticks > 0 || r.state == rejoinAsking {
		return
	}
	r.schedule(rejoinTicks, e.random)
	if len(e.cfg.Bootstrap) == 0 {
		// The nodes that enter by this one ask it by themselves, so it looks for those that are gone at half the pace.
		r.schedule(2*rejoinTicks, e.random)
		e.askFormer()
		return
	}
	if r.silent > 0 {
		e.askFormer()
	}
	if r.silent == 0 {
		r.next = e.random(len(e.cfg.Bootstrap))
	}
	b := e.cfg.Bootstrap[r.next%len(e.cfg.Bootstrap)]
	r.next++
	e.becomeRejoin(rejoinAsking)
	if b.Addr.IsValid() {
		e.askBootstrap(b)
	} else {
		e.findBootstrap(b)
	}
}

// findBootstrap looks the name of a bootstrap node up and asks it.
func (e *Endpoint) findBootstrap(b Bootstrap) {
	found := false
	e.lookup(b, func(addr netip.AddrPort) {
		found = true
		e.askBootstrap(BootstrapAddr(addr))
	}, func() {
		if !found {
			e.becomeRejoin(rejoinWaiting)
			e.bootstrapSilent()
		}
	})
}

// askBootstrap asks a bootstrap node for the nodes near us. If it does not answer, its name, if known, may lead to another address.
func (e *Endpoint) askBootstrap(b Bootstrap) {
	addr := netip.AddrPortFrom(b.Addr, b.Port)
	target := id.Target(e.nodes.table.Self())
	e.Request(RequestOptions{To: addr, Internal: true, Command: wire.CmdFindNode, Target: &target}, func(r Reply, err error) {
		if err == ErrTimeout && b.Name != "" {
			e.findBootstrap(b)
			return
		}
		e.becomeRejoin(rejoinWaiting)
		switch err {
		case nil:
			e.bootstrapAnswered(&r)
		case ErrTimeout, ErrSelf: // the rest is nothing that the node did
			e.bootstrapSilent()
		}
	})
}

// bootstrapGone reports whether a bootstrap node was silent when it was last asked, though others answer. Lookups leave it alone
// then: they would wait for it, and it is asked here.
func (e *Endpoint) bootstrapGone() bool {
	return e.rejoin.silent > 0 && e.nodes.list.Len() >= enoughToEnter
}

func (e *Endpoint) bootstrapSilent() {
	r := &e.rejoin
	wait := min(2<<min(r.silent, 8), silentTicks)
	if !e.network.online {
		wait = 2
	}
	r.schedule(wait, e.random)
	r.silent++
}

func (e *Endpoint) bootstrapAnswered(reply *Reply) {
	r := &e.rejoin
	if r.silent > 0 {
		// It may have restarted and know only the first of those that ask it: once more, soon.
		r.schedule(2, e.random)
		e.standing.retry() // there may have been no node to learn the own address from
	}
	look := r.silent > 0 || r.unmet
	r.silent, r.unmet = 0, false
	// The larger a network is, the fewer of its nodes need to look whether there is another part of it. A look takes some
	// eighty requests; drawn by the table's size alone they were a quarter of all datagrams in a DHT of 2,000 nodes.
	known := e.nodes.table.Len()
	if look || e.nodes.news(reply.Closer) || e.random(max(known*known, 1)) < 4*kad.K*kad.K {
		e.lookAround(reply)
	}
}

// lookAround looks our own id up, beginning with a node and those that it has named: without the table, which may know
// one part of the network only.
func (e *Endpoint) lookAround(reply *Reply) {
	if len(reply.Closer) == 0 || e.rejoin.looking {
		return
	}
	e.rejoin.looking = true
	self := id.Target(e.nodes.table.Self())
	before := e.Closest(self, e.nodes.table.Len())
	var q *Query
	q = e.FindNode(self, QueryConfig{
		Nodes: append(slices.Clone(reply.Closer), reply.From), Apart: true, Concurrency: backgroundConcurrency,
		Discard: true, OnDone: func(error) {
			e.rejoin.looking = false
			e.compare(q.Closest(), before)
		},
	})
}

// compare checks whether the nodes that a lookup found nearest to us were known before it. Where most of them were not, two
// parts of the network have met, and this node was in the smaller one.
func (e *Endpoint) compare(nearest []Reply, before []netip.AddrPort) {
	unknown := 0
	for _, r := range nearest {
		if !slices.Contains(before, r.From) {
			unknown++
		}
	}
	if 2*unknown <= len(nearest) || !e.running() {
		return
	}
	e.tell(Event{Kind: EventJoined})
}

// askFormer asks some nodes that once were in the table whether they are there again. Two parts find each other by it
// where no bootstrap node is left; while one answers, former nodes are not asked.
func (e *Endpoint) askFormer() {
	p := &e.nodes
	count := 1
	if p.list.Len() < fewNodes {
		count = fewFormer
	}
	target := id.Target(e.nodes.table.Self())
	for range min(count, len(p.former)) {
		i := e.random(len(p.former))
		addr := p.former[i]
		p.former = slices.Delete(p.former, i, i+1)
		e.Request(RequestOptions{To: addr, Internal: true, Command: wire.CmdFindNode, Target: &target, Retries: NoRetry}, func(reply Reply, err error) {
			if err != nil && !e.Closed() {
				p.gone(addr)
			} else if err == nil && p.news(reply.Closer) {
				e.lookAround(&reply)
			}
		})
	}
}
