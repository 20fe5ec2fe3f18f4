package simnet

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Sleep suspends the machine, as closing a laptop's lid does: no turn starts, and arriving datagrams are lost. Its clocks
// keep running, the steady one too, as CLOCK_BOOTTIME does: after an hour of sleep, code that takes its peers to have been
// silent only for the time that it was awake itself is wrong. (CLOCK_MONOTONIC, which stops meanwhile on Linux, would hide
// that.)
func (h *Host) Sleep() {
	if h.dead || h.Asleep() {
		return
	}
	p := h.processor()
	p.asleep = true
	p.resume.disarm()
	h.lane.mark(markSleep, h.m.salt)
	h.lane.note(h.m.name, "sleep")
}

// Wake ends Sleep. Everything that fell due meanwhile runs at once, each in its own turn, in the order in which it was due.
func (h *Host) Wake() {
	if h.dead || !h.Asleep() {
		return
	}
	h.cpu.asleep = false
	h.lane.mark(markWake, h.m.salt)
	h.lane.note(h.m.name, "wake")
	h.cpu.arm()
}

// Asleep reports whether the machine is suspended.
func (h *Host) Asleep() bool { return h.cpu != nil && h.cpu.asleep }

// SetTurnCost makes the machine slow: after each turn it is busy for d, and what arrives meanwhile waits: timers without
// limit, datagrams in a receive buffer of 208 KiB, which drops what does not fit. Sends leave at once. 0 removes the cost.
// The setting outlives restarts.
func (h *Host) SetTurnCost(d time.Duration) { h.m.setTurnCost(d) }

func (m *machine) setTurnCost(d time.Duration) {
	m.turnCost = max(d, 0)
	if m.host != nil && d > 0 {
		m.host.processor()
	}
}

// processor is the state of a machine that cannot handle everything at its instant, because it is slow or asleep. Other
// machines have none.
type processor struct {
	h      *Host
	asleep bool
	busy   host.Instant // until when
	queue  []waiting    // in the order in which it fell due
	first  int          // of the queue
	bytes  int          // of datagrams in the queue
	resume event        // armed while something waits
}

// waiting is a datagram, or a timer or closure, which is still pending if its seq has not changed.
type waiting struct {
	e   *event
	seq uint64
}

func (h *Host) processor() *processor {
	if h.cpu == nil {
		h.cpu = &processor{h: h, resume: event{lane: h.lane, host: h}}
	}
	return h.cpu
}

// idle reports whether a turn may start now.
func (p *processor) idle() bool {
	return !p.asleep && p.first == len(p.queue) && p.h.lane.now >= p.busy
}

func (p *processor) turned() { p.busy = p.h.lane.now.Add(p.h.m.turnCost) }

// arrive handles a datagram or queues it.
func (p *processor) arrive(d *datagram) {
	l := p.h.lane
	switch {
	case p.idle():
		p.h.receive(d)
		p.turned()
	case p.asleep:
		l.drop(d, DropAsleep)
	case p.bytes+d.ipSize() > receiveBuffer:
		l.drop(d, DropBacklog)
	default:
		p.bytes += d.ipSize()
		p.push(waiting{&d.event, 0})
	}
}

// due handles a timer or a closure or queues it.
func (p *processor) due(e *event) {
	switch {
	case e == &p.resume:
		p.next()
	case p.idle():
		p.h.fire(e)
		p.turned()
	default:
		// It has fallen due and is still pending: its owner may stop it.
		e.armed = true
		p.h.lane.live++
		if e.timer {
			p.h.timers++
		}
		p.push(waiting{e, e.seq})
	}
}

func (p *processor) push(w waiting) {
	p.queue = append(p.queue, w)
	p.arm()
}

// arm schedules the handling of the queue for when the machine is free.
func (p *processor) arm() {
	if p.first < len(p.queue) && !p.asleep && !p.resume.armed {
		p.h.lane.arm(&p.resume, max(p.busy, p.h.lane.now))
	}
}

// next handles the first queue entry that is still pending.
func (p *processor) next() {
	for p.first < len(p.queue) {
		w := p.queue[p.first]
		p.queue[p.first] = waiting{}
		if p.first++; p.first == len(p.queue) {
			p.queue, p.first = p.queue[:0], 0
		}
		if d := w.e.dg; d != nil {
			p.bytes -= d.ipSize()
			p.h.receive(d)
		} else if w.e.armed && w.e.seq == w.seq {
			w.e.disarm()
			p.h.fire(w.e)
		} else {
			continue
		}
		p.turned()
		break
	}
	if !p.h.dead {
		p.arm()
	}
}

// drop discards the queue.
func (p *processor) drop() {
	p.resume.disarm()
	for _, w := range p.queue[p.first:] {
		if w.e.dg != nil {
			p.h.lane.drop(w.e.dg, DropDown)
		} else if w.e.armed && w.e.seq == w.seq {
			w.e.disarm()
		}
	}
	p.queue, p.first, p.bytes = nil, 0, 0
}
