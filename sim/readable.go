package sim

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// readable demands that no machine receives undecryptable data, unless the scenario tampers with datagrams. A connection
// that breaks over it comes back by itself, so nothing else would show it.
func (ch *checker) readable(m *machine, s hyperdht.Status) {
	if ch.tampers || m.streams.reported {
		return
	}
	opening, open := m.streams.broken(s.Peering.ConnectionsBroken)
	if opening = ch.unexplained(m, opening); ch.w.result.faulty {
		// A first message that is repeated finds that its server has forgotten it after ten seconds, and is answered with other keys.
		opening = 0
	}
	if opening > 0 || open > 0 || s.RPC.Dropped.Malformed > 0 {
		m.streams.reported = true
		ch.w.fail("readable", "%s cannot read %d encrypted streams, %d of them open ones, and %d DHT messages",
			m.name, opening+open, open, s.RPC.Dropped.Malformed)
	}
}

// unexplained returns how many streams of a machine, of those that broke before they were open, no start of another machine with servers
// explains. A first message that is repeated finds that its server has started again meanwhile, and is answered with other keys; the stream
// may have begun with the old ones, and does not open. Each start explains one such stream of each machine.
func (ch *checker) unexplained(m *machine, broken uint64) uint64 {
	since := ch.w.net.Now() - ch.w.audits.every - repeatedFor
	for _, server := range ch.w.machines {
		if server == m || server.isNode {
			continue
		}
		server.streams.starts = slices.DeleteFunc(server.streams.starts, func(at time.Duration) bool { return at < since })
		for _, at := range server.streams.starts {
			if start := (start{server.name, at}); broken > 0 && !slices.Contains(m.streams.explain, start) {
				m.streams.explain = append(m.streams.explain, start)
				broken--
			}
		}
	}
	m.streams.explain = slices.DeleteFunc(m.streams.explain, func(s start) bool { return s.at < since })
	return broken
}

// streamHealth is the record of a machine for the rule readable.
type streamHealth struct {
	reported bool            // a failure, once
	starts   []time.Duration // of the machine but the first, within repeatedFor
	explain  []start         // of others, which explain streams of this machine

	// Of the machine's node:

	begun    map[uint64]bool // attempts that have received data and are not open yet
	unopened uint64          // of them, those that have ended since the last audit
	before   uint64          // streams that were broken by then
}

// start is one of a machine.
type start struct {
	machine string
	at      time.Duration
}

// restart begins the record of the next node.
func (h *streamHealth) restart() { h.begun, h.unopened, h.before = nil, 0, 0 }

// observe reads a step of an attempt.
func (h *streamHealth) observe(e hyperdht.AttemptEvent) {
	switch e.Step {
	case hyperdht.AttemptFirstPacket:
		if h.begun == nil {
			h.begun = map[uint64]bool{}
		}
		h.begun[e.Attempt] = true
	case hyperdht.AttemptOpen:
		delete(h.begun, e.Attempt)
	case hyperdht.AttemptClosed:
		if h.begun[e.Attempt] {
			h.unopened++
			delete(h.begun, e.Attempt)
		}
	}
}

// broken returns how many streams have broken since the last audit before they were open, and how many open ones, of a count of both.
func (h *streamHealth) broken(count uint64) (opening, open uint64) {
	if count < h.before {
		h.before = 0 // the count of another node
	}
	count, h.before = count-h.before, count
	opening = min(h.unopened, count)
	h.unopened = 0
	return opening, count - opening
}

// observe reads the trace events of machines.
func (ch *checker) observe(h *simnet.Host, event host.Event) {
	e, ok := event.(hyperdht.AttemptEvent)
	if !ok {
		return
	}
	if m := ch.w.byName[h.Name()]; m != nil && m.host == h && !m.isNode {
		m.streams.observe(e)
		ch.guesses.observe(m, h, e, ch.w.net.Now())
	}
}
