package simkv

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/kv/lease"
)

const (
	// patience bounds a call, as in adapters/etcd/client.
	patience = 5 * time.Second
	// retryAfter is the time after which a request that was certainly not carried out is sent again.
	retryAfter = 250 * time.Millisecond
)

// Store is a connection of a host.
type Store struct {
	cluster *Cluster
	host    *simnet.Host
	random  *rand.Rand // of delays

	up      bool
	line    int      // counts connections; what was under way on an earlier one is lost
	held    []func() // messages on a line that is cut, in order
	calls   []*call  // that have not ended
	watches []*watch
	leases  []*lease.Lease
	closed  bool
}

// Connect opens a connection of a host. It ends with the host's boot.
func (c *Cluster) Connect(h *simnet.Host) *Store {
	c.connected++
	s := &Store{
		cluster: c, host: h, up: !c.cut[h.Name()],
		random: rand.New(rand.NewPCG(c.net.Seed(), labelled(fmt.Sprintf("simkv/%s/%d", h.Name(), c.connected)))),
	}
	c.stores = append(slices.DeleteFunc(c.stores, func(old *Store) bool { return old.host.Down() }), s)
	return s
}

// call is a request from the call to its end.
type call struct {
	serve func() (answer func()) // at the store; the answer runs on the host
	fail  func(error)
	reads bool // and can be repeated
	timer host.Timer
	sent  bool // it may be carried out, or have been
	ended bool
}

// Commit implements kv.Store.
func (s *Store) Commit(t kv.Txn, done func(kv.Result, error)) {
	t = kv.Txn{If: slices.Clone(t.If), Then: slices.Clone(t.Then)}
	for i := range t.Then {
		t.Then[i].Value = slices.Clone(t.Then[i].Value)
	}
	s.start(patience, &call{
		serve: func() func() {
			result, err := s.cluster.apply(t)
			return func() { done(result, err) }
		},
		fail: func(err error) { done(kv.Result{}, err) },
	})
}

// List implements kv.Store.
func (s *Store) List(prefix string, done func(kv.List, error)) {
	s.start(patience, &call{
		reads: true,
		serve: func() func() {
			list := kv.List{Items: s.cluster.Items(prefix), Revision: s.cluster.revision}
			return func() { done(list, nil) }
		},
		fail: func(err error) { done(kv.List{}, err) },
	})
}

// Lease implements kv.Store.
func (s *Store) Lease(ttl time.Duration, on kv.LeaseHandlers) kv.Lease {
	l := lease.New(s.host, requests{s}, ttl, on)
	if s.closed {
		l.Stop()
	}
	s.leases = append(slices.DeleteFunc(s.leases, (*lease.Lease).Ended), l)
	return l
}

// Close implements kv.Store.
func (s *Store) Close(done func()) {
	s.closed = true
	for _, l := range s.leases {
		l.Stop()
	}
	for _, w := range s.watches {
		w.cancelled = true
	}
	for _, c := range s.calls {
		s.host.Post(func() { s.end(c, func() { c.fail(kv.ErrClosed) }) })
	}
	s.watches, s.leases = nil, nil
	s.cluster.stores = slices.DeleteFunc(s.cluster.stores, func(other *Store) bool { return other == s })
	s.host.Post(done)
}

// start sends a request and limits the time that it takes.
func (s *Store) start(limit time.Duration, c *call) {
	if s.closed {
		s.host.Post(func() { c.fail(kv.ErrClosed) })
		return
	}
	s.calls = append(s.calls, c)
	c.timer = s.host.AfterFunc(limit, func() { s.end(c, func() { c.fail(c.failure()) }) })
	s.send(c)
}

// failure is the error of a request without an answer.
func (c *call) failure() error {
	if c.sent && !c.reads {
		return fmt.Errorf("%w: no answer", kv.ErrUncertain)
	}
	return kv.ErrUnavailable
}

// end ends a call, once.
func (s *Store) end(c *call, f func()) {
	if c.ended {
		return
	}
	c.ended = true
	c.timer.Stop()
	s.calls = slices.DeleteFunc(s.calls, func(other *call) bool { return other == c })
	f()
}

// send sends a request, now or when there is a connection.
func (s *Store) send(c *call) {
	if c.ended || s.closed {
		return
	}
	if !s.up {
		s.host.AfterFunc(retryAfter, func() { s.send(c) })
		return
	}
	c.sent = true
	s.carry(s.delay(), func() { s.arrive(c) })
}

// arrive handles a request at the store.
func (s *Store) arrive(c *call) {
	cl := s.cluster
	cl.stats.Requests++
	switch {
	case cl.hit(cl.cfg.LoseRequest):
	case !cl.down:
		s.serve(c)
	case !c.reads && cl.net.Now() < cl.since+leaderTimeout:
		cl.stalled = append(cl.stalled, func() { s.serve(c) })
	default:
		s.carry(s.delay(), func() {
			s.host.Post(func() {
				c.sent = false
				s.host.AfterFunc(retryAfter, func() { s.send(c) })
			})
		})
	}
}

// serve carries out a request and answers.
func (s *Store) serve(c *call) {
	answer := c.serve()
	if s.cluster.hit(s.cluster.cfg.LoseAnswer) {
		return
	}
	s.carry(s.delay(), func() { s.host.Post(func() { s.end(c, answer) }) })
}

// requests sends those of leases.
type requests struct{ s *Store }

// Grant implements lease.Requests.
func (r requests) Grant(ttl time.Duration, done func(kv.LeaseID, time.Duration, error)) {
	r.s.start(patience, &call{
		serve: func() func() {
			g := r.s.cluster.grant(ttl)
			return func() { done(g.id, g.ttl, nil) }
		},
		fail: func(err error) { done(0, 0, err) },
	})
}

// Renew implements lease.Requests.
func (r requests) Renew(id kv.LeaseID, timeout time.Duration, done func(time.Duration, error)) {
	r.s.start(timeout, &call{
		reads: true,
		serve: func() func() {
			ttl := r.s.cluster.renew(id)
			return func() {
				if ttl == 0 {
					done(0, lease.ErrNotFound)
					return
				}
				done(ttl, nil)
			}
		},
		fail: func(err error) { done(0, err) },
	})
}

// Revoke implements lease.Requests.
func (r requests) Revoke(id kv.LeaseID, done func(error)) {
	r.s.start(patience, &call{
		reads: true,
		serve: func() func() {
			r.s.cluster.revoke(id)
			return func() { done(nil) }
		},
		fail: done,
	})
}

var _ kv.Store = (*Store)(nil)
