package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sizer calls tell with the size of each part and its bound; -1 stands for no bound of its own.
type sizer func(tell func(what string, held, most int))

// kept lists contents that stay for a while, used or not: learned facts about the network, and contents stored for others.
// They age, or are evicted where there is no room, and are checked against their bounds alone.
var kept = []string{
	"routes", "relays of keys", "keys with stranding relays", "nodes in the table", "nodes", "former nodes", "own addresses", "nodes without an id", "round trips", "closed streams",
	"ids of closed streams", "announced servers", "records of topics", "bumps", "refreshes", "mutable values",
	"immutable values", "addresses with refusals", "keys that have shown a secret",
	// Their streams are counted; the bytes held at a moment differ by kilobytes.
	"bytes held for unproven peers", "bytes held for one unproven peer", "bytes of answers that one scraper has not read",
	"bytes sent and not acknowledged", "hosts whose requests are counted",
}

// remains lists what a scraper still holds when it is closed, its table, and a client, the counts of its requests.
var remains = []string{"aliases", "keys of aliases", "sets", "targets of sets", "scrape histories", "pins", "targets that one scraper has requested"}

// sizes reports everything that the software on a machine holds, or held when it was closed.
func (m *machine) sizes(tell func(what string, held, most int)) {
	for _, size := range m.sizers {
		size(tell)
	}
}

// peers bounds the number of peers of a machine now, by its events about connections and not by what it holds. Some more
// are being opened or closed. An attacker has no such events, and dials as often as the scenario wants.
func (ch *checker) peers(m *machine) int {
	switch {
	case m.isNode:
		return 0
	case m.isAttacker:
		return spareConnections + max(holdsOf(m, "connections"), 0)
	case m.isRelay:
		return spareConnections + connectionsPerClient*(len(ch.w.clients)+len(ch.w.scrapers))
	}
	now := ch.w.net.Now()
	closing := ch.closing[m.name]
	for len(closing) > 0 && now-closing[0] > closingTime {
		closing = closing[1:]
	}
	ch.closing[m.name] = closing
	n := ch.open[m.name] + len(closing) + spareConnections + m.spare
	for _, s := range ch.w.scrapers {
		if s.machine == m {
			for _, c := range ch.w.clients {
				if c.with(s.keys.Public) != nil {
					n += connectionsPerClient
				}
			}
		}
	}
	return n
}

// bounded demands that a machine holds no more of anything than its bound.
func (ch *checker) bounded(m *machine, peers int) {
	if m.isAttacker {
		return
	}
	over := func(what string, held, most int) {
		if held > most && !ch.over[m.name+what] {
			ch.over[m.name+what] = true
			ch.w.fail("bounds", "%s holds %d %s, %d are the most", m.name, held, what, most)
		}
	}
	m.sizes(func(what string, held, most int) {
		switch {
		case most >= 0:
			over(what, held, most)
		case what == "sockets for punching":
			over(what, held, m.host.Sockets())
		case what == "bytes sent and not acknowledged", what == "answers being collected": // bounded at the senders
		case what == "streams":
			over(what, held, streamsPerConnection*peers)
		default:
			over(what, held, peers)
		}
	})
}

// emptied demands that a closed machine holds nothing that it should have released.
func (ch *checker) emptied(m *machine) {
	m.sizes(func(what string, held, _ int) {
		if held > 0 && !slices.Contains(kept, what) && !slices.Contains(remains, what) {
			ch.w.fail("leftovers", "%s is closed and still holds %d %s", m.name, held, what)
		}
	})
}

// census is a count of what machines hold, by machine and kind.
type census map[string]int

// count takes a census of the machines that are up.
func (w *World) count(all []*machine) census {
	c := census{}
	for _, m := range all {
		if m.up() {
			m.sizes(func(what string, held, _ int) {
				if !slices.Contains(kept, what) {
					c[m.name+" holds %d "+what] += held
				}
			})
			c[m.name+" has %d sockets"] = m.host.Sockets()
			c[m.name+" has timers for %d peers"] = m.host.Timers() / timersEach
		}
	}
	return c
}

// mustShrink demands that machines hold no more than at a census, apart from what is in progress at any moment. If one holds
// more, it is counted again: a lookup under way has ten requests in flight, and ends; what leaks stays.
func (w *World) mustShrink(all []*machine, before census) {
	now := w.count(all)
	more := now.more(before, slices.Sorted(maps.Keys(now)))
	for range recounts {
		if len(more) == 0 {
			return
		}
		w.run(recountAfter)
		now = w.count(all)
		more = now.more(before, more)
	}
	for _, what := range more {
		w.fail("bounds", "%s, and %d before all that", fmt.Sprintf(what, now[what]), before[what])
	}
}

// more returns those of the counts that exceed an earlier census.
func (c census) more(before census, of []string) []string {
	return slices.DeleteFunc(of, func(what string) bool {
		was, known := before[what]
		return !known || c[what] <= was+max(underWay, was/10)
	})
}

// holdsOf returns one size of a machine; -1 if there is none of that name.
func holdsOf(m *machine, what string) int {
	n := -1
	m.sizes(func(name string, held, _ int) {
		if name == what {
			n = held
		}
	})
	return n
}

// forget removes the recorded connections of a machine.
func (ch *checker) forget(m *machine) {
	delete(ch.open, m.name)
	delete(ch.closing, m.name)
	for what := range ch.over {
		if strings.HasPrefix(what, m.name) {
			delete(ch.over, what)
		}
	}
}
