package swarm

import (
	"github.com/dhtprom/dhtprom/ports/host"
)

// flush is a call of Flush whose topics are refreshed.
type flush struct {
	missing map[*peer]struct{} // peers whose dial it waits for
	done    func(error)
}

// Flush calls done when the running lookups and announcements of all topics have ended, and then each peer that was to be dialled at
// that moment has been connected, or its dial has failed, or there is no room for it. The argument is nil, or ErrSuspended or ErrClosed
// if the swarm is suspended or closed before; errors of lookups are in the status of the topics.
func (s *Swarm) Flush(done func(error)) {
	switch s.state {
	case suspending, suspended:
		s.host.Defer(func() { done(ErrSuspended) })
		return
	case closing, closed:
		s.host.Defer(func() { done(ErrClosed) })
		return
	}
	f := &flush{done: done}
	s.flushes = append(s.flushes, f)
	refreshed := host.NewJoin(func() { s.awaitDials(f) })
	begun := refreshed.Add()
	for _, t := range s.joined {
		ended := refreshed.Add()
		t.flush(func(error) { ended() })
	}
	s.host.Defer(begun)
}

// awaitDials begins the second part of a flush.
func (s *Swarm) awaitDials(f *flush) {
	if f.done == nil {
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

// endFlush ends a flush, once.
func (s *Swarm) endFlush(f *flush, err error) {
	s.flushes = without(s.flushes, f)
	if done := f.done; done != nil {
		f.done = nil
		s.host.Defer(func() { done(err) })
	}
}

func (s *Swarm) endFlushes(err error) {
	for _, f := range s.flushes {
		s.endFlush(f, err)
	}
}
