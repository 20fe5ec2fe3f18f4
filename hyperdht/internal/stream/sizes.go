package stream

// Sizes reports how much is held in everything that grows with what peers do, and how much that may be at most. Streams
// have no bound here, which is -1: their creator bounds them.
func (t *Table) Sizes(tell func(what string, held, most int)) {
	tell("streams", len(t.streams), -1)
	sent := 0
	for _, s := range t.streams {
		sent += s.machine.SendMemory()
	}
	tell("bytes sent and not acknowledged", sent, -1)
	tell("streams with flushes", len(t.flushes), -1)
	tell("streams of unproven peers", len(t.account.streams), len(t.streams))
	tell("bytes held for unproven peers", t.account.total, maxConfinedTotal)
	tell("bytes held for one unproven peer", t.account.most(), MaxConfined)
	tell("hosts behind narrow paths", len(t.narrow), maxNarrow)
	tell("closed streams", len(t.linger.queue), maxLingering)
	tell("ids of closed streams", len(t.linger.byID), len(t.linger.queue))
}

// Faults calls report with a transition of a stream that no table of states lists, if there was one: a mistake of package udx.
func (t *Table) Faults(report func(what string)) {
	if t.faults.Last != "" {
		report(t.faults.Last)
	}
}
