package simkv

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// watch is a watch of a connection.
type watch struct {
	s      *Store
	prefix string
	on     kv.WatchHandlers

	next      int64         // the first revision that was not reported
	follows   bool          // the store sends reports
	stream    int           // counts registrations; reports of an earlier one are dropped
	last      time.Duration // when the last report arrives
	status    bool
	known     bool // status was reported
	cancelled bool
}

// Watch implements kv.Store.
func (s *Store) Watch(prefix string, after int64, on kv.WatchHandlers) (cancel func()) {
	w := &watch{s: s, prefix: prefix, on: on, next: after + 1, cancelled: s.closed}
	if !s.closed {
		s.watches = append(s.watches, w)
		w.begin()
	}
	return func() {
		w.cancelled, w.follows = true, false
		s.watches = slices.DeleteFunc(s.watches, func(other *watch) bool { return other == w })
	}
}

// begin requests reports from the store.
func (w *watch) begin() {
	if !w.s.up {
		w.report(func() { w.connected(w.follows) })
		return
	}
	w.stream++
	stream := w.stream
	w.s.carry(w.s.delay(), func() {
		if w.stream == stream && !w.cancelled {
			w.register()
		}
	})
}

// register begins the reports, at the store.
func (w *watch) register() {
	c := w.s.cluster
	switch {
	case c.down:
		w.send(0, func() { w.connected(w.follows) })
	case w.next < c.compacted:
		w.send(0, w.lose)
	default:
		w.follows = true
		w.send(0, func() { w.connected(w.follows) })
		i, _ := slices.BinarySearchFunc(c.log, w.next, func(change kv.Change, at int64) int { return cmp.Compare(change.Modified, at) })
		w.take(c.log[i:])
	}
}

// take sends the changes that the watch is for.
func (w *watch) take(all []kv.Change) {
	var changes []kv.Change
	for _, change := range all {
		if strings.HasPrefix(change.Key, w.prefix) && change.Modified >= w.next {
			changes = append(changes, change)
		}
	}
	if len(changes) == 0 {
		return
	}
	w.send(w.s.draw(w.s.cluster.cfg.Lag), func() {
		last := changes[len(changes)-1].Modified
		w.next = last + 1
		for i := range changes {
			changes[i].Value = slices.Clone(changes[i].Value)
		}
		w.on.OnChanges(changes, last)
	})
}

// send delivers a report, after those before it.
func (w *watch) send(lag time.Duration, f func()) {
	now := w.s.cluster.net.Now()
	w.last = max(w.last, now+w.s.delay()+lag)
	stream := w.stream
	w.s.carry(w.last-now, func() {
		if w.stream == stream {
			w.report(f)
		}
	})
}

// report runs f on the host.
func (w *watch) report(f func()) {
	w.s.host.Post(func() {
		if !w.cancelled {
			f()
		}
	})
}

func (w *watch) connected(ok bool) {
	if w.known && w.status == ok {
		return
	}
	w.known, w.status = true, ok
	if w.on.OnConnected != nil {
		w.on.OnConnected(ok)
	}
}

// lose ends the watch.
func (w *watch) lose() {
	w.cancelled = true
	w.s.watches = slices.DeleteFunc(w.s.watches, func(other *watch) bool { return other == w })
	if w.on.OnLost != nil {
		w.on.OnLost()
	}
}

// report shows new changes to the watches that follow.
func (s *Store) report(changes []kv.Change) {
	for _, w := range s.watches {
		if w.follows {
			w.take(changes)
		}
	}
}

// follow begins the reports of all watches again.
func (s *Store) follow() {
	for _, w := range s.watches {
		s.after(s.cluster.drawn(reconnectWithin), func() {
			if s.up && !w.follows && !w.cancelled {
				w.begin()
			}
		})
	}
}

// unfollow ends the reports of all watches, which notice it.
func (s *Store) unfollow() {
	for _, w := range s.watches {
		w.follows = false
		w.stream++
		w.report(func() { w.connected(w.follows) })
	}
}
