// Package lease grants and renews a lease of a key-value store, for stores, which differ in how requests are sent.
//
//	granting ── granted ──→ held ── not found ──→ lost
//	  │ ↺ failed             │ ↺ renewed, failed
//	  └────── Close ─────────┴──→ closed
//
// A lease is renewed each third of its time-to-live. A request without an answer is repeated soon, beside the first one, since a member of
// the store that lost its leader may hold it; and a failed one for as long as the store does not report that the lease does not exist: a
// store without a majority keeps its leases.
package lease

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// ErrNotFound is the error of a renewal if the store does not have the lease.
var ErrNotFound = errors.New("the store does not have the lease")

const (
	// renewals is the number of renewals in a time-to-live.
	renewals = 3
	// repetitions is the number of requests in a time-to-live while there is no answer, and patience that of their timeouts.
	repetitions = 10
	patience    = 5
)

// Requests sends requests for a lease to a store. Each calls done in a later turn, within seconds.
type Requests interface {
	// Grant creates a lease. The store may grant a longer time-to-live.
	Grant(ttl time.Duration, done func(id kv.LeaseID, granted time.Duration, err error))
	// Renew lets a lease begin again. It fails after the timeout. Several may be under way.
	Renew(id kv.LeaseID, timeout time.Duration, done func(granted time.Duration, err error))
	// Revoke removes a lease with its keys. That the lease does not exist is no error.
	Revoke(id kv.LeaseID, done func(error))
}

// Lease implements kv.Lease.
type Lease struct {
	host  host.Host
	store Requests
	on    kv.LeaseHandlers

	ttl      time.Duration
	id       kv.LeaseID
	until    host.Instant
	timer    host.Timer // for the next request
	granting bool       // a request is under way
	ended    bool       // no handler is called any more
	closed   []func()   // callers of Close that wait for the grant
}

// New requests a lease.
func New(h host.Host, store Requests, ttl time.Duration, on kv.LeaseHandlers) *Lease {
	l := &Lease{host: h, store: store, on: on, ttl: ttl}
	l.grant()
	return l
}

// ID implements kv.Lease.
func (l *Lease) ID() kv.LeaseID { return l.id }

// Until implements kv.Lease.
func (l *Lease) Until() host.Instant { return l.until }

// Stop ends the lease without a request to the store, where it expires. No handler is called any more.
func (l *Lease) Stop() {
	l.ended, l.granting = true, false
	l.stopTimer()
	for _, done := range l.closed {
		l.host.Post(done)
	}
	l.closed = nil
}

// Ended reports whether the lease is lost, closed or stopped.
func (l *Lease) Ended() bool { return l.ended }

// Close implements kv.Lease.
func (l *Lease) Close(done func()) {
	again := l.ended
	l.ended = true
	l.stopTimer()
	switch {
	case l.granting:
		l.closed = append(l.closed, done)
	case l.id == 0 || again:
		l.host.Post(done)
	default:
		l.store.Revoke(l.id, func(error) { done() })
	}
}

func (l *Lease) grant() {
	l.granting = true
	sent := l.host.Now()
	l.store.Grant(l.ttl, func(id kv.LeaseID, granted time.Duration, err error) {
		l.granting = false
		switch {
		case l.ended && err == nil:
			l.store.Revoke(id, func(error) { l.release() })
		case l.ended:
			l.release()
		case err != nil:
			l.after(l.ttl/repetitions, l.grant)
		default:
			l.id = id
			l.hold(sent, granted)
			l.on.OnGranted()
		}
	})
}

// release calls those that wait for the end of a lease that was closed before it was granted.
func (l *Lease) release() {
	waiting := l.closed
	l.closed = nil
	for _, done := range waiting {
		done()
	}
}

// hold notes what a request that was sent at an instant obtained.
func (l *Lease) hold(sent host.Instant, granted time.Duration) {
	l.ttl = granted
	l.until = sent.Add(granted)
	l.after(sent.Add(granted/renewals).Sub(l.host.Now()), l.renew)
}

func (l *Lease) renew() {
	sent := l.host.Now()
	l.after(l.ttl/repetitions, l.renew)
	l.store.Renew(l.id, l.ttl/patience, func(granted time.Duration, err error) {
		switch {
		case l.ended:
		case errors.Is(err, ErrNotFound):
			l.Stop()
			l.on.OnLost()
		case err == nil && sent.Add(granted).After(l.until):
			l.hold(sent, granted)
			l.on.OnRenewed()
		}
	})
}

// after arms the timer of the next request.
func (l *Lease) after(d time.Duration, f func()) {
	l.stopTimer()
	l.timer = l.host.AfterFunc(d, f)
}

func (l *Lease) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
	}
}
