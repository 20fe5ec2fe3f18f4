package swarm

import (
	"github.com/dhtprom/dhtprom/ports/host"
)

// flush is a call of Swarm.Flush.
type flush struct {
	missing map[*peer]struct{} // peers whose dial it waits for; nil while topics are refreshed
	over    bool
	done    func(error) // nil if the call was cancelled
}

// Flush calls done when the running lookups and announcements of all topics have ended, and then each peer that was to be dialled at
// that moment has been connected, or its dial has failed, or there is no room for it. The argument is nil, or ErrSuspended or ErrClosed
// if the swarm is suspended or closed before; errors of lookups are in the status of the topics. While there is no network, an
// announcement does not end. cancel makes done not run, and ends the wait; it has no effect later.
func (s *Swarm) Flush(done func(error)) (cancel func()) {
	f := &flush{done: done}
	switch s.state {
	case suspending, suspended:
		s.endFlush(f, ErrSuspended)
		return f.cancel
	case closing, closed:
		s.endFlush(f, ErrClosed)
		return f.cancel
	}
	s.flushes = append(s.flushes, f)
	refreshed := host.NewJoin(func() { s.awaitDials(f) })
	begun := refreshed.Add()
	waits := make([]func(), 0, len(s.joined))
	for _, t := range s.joined {
		ended := refreshed.Add()
		waits = append(waits, t.flush(nil, func(error) { ended() }))
	}
	s.host.Defer(begun)
	return func() {
		f.cancel()
		s.flushes = without(s.flushes, f)
		for _, stop := range waits {
			stop()
		}
	}
}

func (f *flush) cancel() { f.over, f.done = true, nil }

// awaitDials begins the second part of a flush.
func (s *Swarm) awaitDials(f *flush) {
	if f.over {
		return
	}
	f.missing = make(map[*peer]struct{})
	for _, p := range s.peers {
		if p.in(peerDialling) || p.in(peerQueued) {
			f.missing[p] = struct{}{}
		}
	}
	if len(f.missing) == 0 {
		s.endFlush(f, nil)
		return
	}
	if s.counts.dialling == 0 {
		s.full()
	}
}

// settled records that a peer neither waits for a dial nor is dialled.
func (s *Swarm) settled(p *peer) {
	for _, f := range s.flushes {
		if _, waits := f.missing[p]; !waits {
			continue
		}
		if delete(f.missing, p); len(f.missing) == 0 {
			s.endFlush(f, nil)
		}
	}
}

// full ends the flushes that wait for dials, where no dial is under way: there is no room for those that are queued.
func (s *Swarm) full() {
	for _, f := range s.flushes {
		if f.missing != nil {
			s.endFlush(f, nil)
		}
	}
}

// endFlush ends a flush that is not over.
func (s *Swarm) endFlush(f *flush, err error) {
	s.flushes = without(s.flushes, f)
	f.over = true
	s.host.Defer(func() {
		if f.done != nil {
			f.done(err)
		}
	})
}

func (s *Swarm) endFlushes(err error) {
	for _, f := range s.flushes {
		s.endFlush(f, err)
	}
}
