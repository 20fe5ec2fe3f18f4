package app

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// registrar keeps one alias, or one set, registered with one scraper: again after each interval, and with backoff after a failure.
type registrar struct {
	host      host.Host
	transport ports.ClientTransport
	request   ports.Registration // without OnOpen, OnSent and Hold; OnElsewhere is called after a success
	hold      func(send func())  // calls send when a request may be sent, in the same turn or later
	interval  time.Duration
	backoff   domain.Backoff
	onEvent   func(domain.Event)

	stopped bool
	timer   host.Timer // the attempt's timeout, or the next attempt
	current *attempt   // in progress

	// asked means that the scraper may know the alias: a request was sent, and was not rejected. The connection opens a round trip later.
	asked bool

	moved host.Instant // time of the last repetition because of a move, past or future
	moves moves

	set setState // of a set

	registered bool         // the last attempt succeeded
	last       host.Instant // of success; 0 for none
	next       host.Instant // when the next attempt is due
	succeeded  uint64
	failed     uint64
	lastErr    error
}

// setState is a registrar's state for a set.
type setState struct {
	older    bool                    // the scraper does not know sets
	onOlder  func(older bool)        // called when that changes
	rejected map[domain.Alias]string // the targets that the scraper does not have, with the reasons
	outdated bool                    // the set is to be registered again: it has changed since the attempt in progress began, or the last one
	held     bool                    // the next attempt may use the scraper's connection: no more than the set has changed
}

// setOlder records whether the scraper does not know sets.
func (s *setState) setOlder(older bool) {
	if s.older != older {
		s.older = older
		s.onOlder(older)
	}
}

// attempt is a registration in progress.
type attempt struct {
	began  host.Instant
	open   bool // the scraper is connected
	sent   bool // the request may be sent
	asked  bool // registrar.asked before it
	cancel func()
	// hurry gives the scraper less time to answer, once: this machine has moved, and the connection may be dead. It is nil until the request is sent,
	// once it was called, and for a set.
	hurry func()
}

func (rg *registrar) attempt() {
	uid := newUID(rg.host)
	tell(rg.onEvent, domain.AliasAttempt{UID: uid, Scraper: rg.request.Scraper, Register: rg.request.Register, Targets: rg.size()})
	a := &attempt{began: rg.host.Now(), asked: rg.asked}
	rg.current = a
	r := rg.request
	var rejected []domain.RejectedTarget
	elsewhere := false
	finish := func(updated bool, err error) {
		if rg.current == a {
			if _, refused := errors.AsType[*domain.RemoteError](err); refused {
				rg.asked = a.asked // the scraper has rejected it
			}
			if err == nil && r.Set != nil {
				rg.took(r.Set.Targets, rejected)
			}
			rg.abandon()
			rg.finish(uid, updated, rejected, err)
			if elsewhere && err == nil {
				rg.request.OnElsewhere()
			}
		}
	}
	expire := func(waiting string, after time.Duration) host.Timer {
		return rg.host.AfterFunc(after, func() {
			finish(false, &ports.ConnectionError{Err: &domain.TimeoutError{Waiting: waiting, After: after}})
		})
	}
	const answer = "the answer to the registration"
	asked := func() {
		if !a.open || !a.sent {
			return
		}
		rg.timer = expire(answer, rg.patience())
		if r.Set != nil { // which takes long over a slow uplink
			return
		}
		due := rg.host.Now().Add(rg.patience())
		a.hurry = func() {
			a.hurry = nil
			rg.timer.Stop()
			rg.timer = expire(answer, min(movedPatience, due.Sub(rg.host.Now())))
		}
	}
	if r.Set != nil {
		set := *r.Set
		set.Held, set.OnRejected = rg.set.held, func(t []domain.RejectedTarget) { rejected = t }
		r.Set, rg.set.held, rg.set.outdated = &set, false, false
	}
	r.OnOpen = func(domain.Peer) {
		if rg.current == a {
			a.open = true
			rg.timer.Stop()
			asked()
		}
	}
	r.OnSent = func() {
		if rg.current == a {
			rg.asked = true
		}
	}
	r.Hold = func(send func()) {
		rg.hold(func() {
			if rg.current == a {
				a.sent = true
				send()
				asked()
			}
		})
	}
	r.OnElsewhere = func() { elsewhere = true }
	r.OnShared = func() {
		tell(rg.onEvent, domain.IdentityShared{Alias: rg.request.Alias, Key: rg.request.Key})
	}
	rg.timer = expire("the connection to the scraper", connectTimeout)
	if cancel := rg.transport.RegisterAlias(r, finish); rg.current == a {
		a.cancel = cancel
	}
}

// abandon cancels the attempt in progress.
func (rg *registrar) abandon() {
	a := rg.current
	rg.current = nil
	rg.timer.Stop()
	if a.cancel != nil {
		a.cancel()
	}
}

// again repeats the registration soon, because this machine may have moved: the scraper's connection to it may be dead, and one
// that failed before may be possible now. Clients that move together, as after a power cut, are spread; one that moves all the
// time does not register all the time (movedPause).
func (rg *registrar) again() {
	if rg.stopped || rg.timer == nil {
		return // not started
	}
	now := rg.host.Now()
	if rg.moved > now {
		return // due soon
	}
	if a := rg.current; a != nil {
		if a.open {
			if a.hurry != nil {
				a.hurry()
			}
			return
		}
		if now.Sub(a.began) < staleAttempt {
			return // in progress
		}
		rg.abandon() // it uses the old paths
	}
	wait := jitter(rg.host, movedSpread)
	wait += rg.moves.wait(now)
	rg.moved = now.Add(wait)
	rg.next = rg.moved
	rg.timer.Stop()
	rg.timer = rg.host.AfterFunc(wait, func() {
		rg.moves.count(rg.host.Now())
		rg.attempt()
	})
}

// renew registers now instead of at its time, because the scraper seems to have lost the alias. After a failure the next attempt
// is due soon anyway.
func (rg *registrar) renew() {
	if rg.registered && rg.current == nil && !rg.stopped {
		rg.timer.Stop()
		rg.attempt()
	}
}

// setTargets replaces the set, and registers what has changed soon.
func (rg *registrar) setTargets(set domain.TargetSet) {
	next := *rg.request.Set
	next.Targets = set
	rg.request.Set = &next
	rg.set.outdated = true
	if rg.stopped || rg.timer == nil || rg.current != nil || rg.set.older || !rg.registered || rg.set.held {
		return // it is not started, or an attempt ends or is due
	}
	rg.timer.Stop()
	rg.set.held = true
	rg.later(changePause)
}

// took records the set that the scraper has.
func (rg *registrar) took(set domain.TargetSet, rejected []domain.RejectedTarget) {
	next := *rg.request.Set
	next.Base = set
	rg.request.Set = &next
	rg.set.rejected = map[domain.Alias]string{}
	for _, t := range rejected {
		rg.set.rejected[t.Alias] = t.Reason
	}
}

// patience bounds the wait for the answer of a connected scraper.
func (rg *registrar) patience() time.Duration {
	if rg.request.Set != nil {
		return setTimeout
	}
	return registerTimeout
}

// size is the number of targets of a set.
func (rg *registrar) size() int {
	if rg.request.Set == nil {
		return 0
	}
	return rg.request.Set.Targets.Len()
}

// registeredSize is the number of targets of the set that the scraper has. The present one may have changed since it was sent.
func (rg *registrar) registeredSize() int {
	if rg.request.Set == nil {
		return 0
	}
	return rg.request.Set.Base.Len()
}

// setSecret sets the secret of later registrations, and of the goodbye. It reports whether it changed.
func (rg *registrar) setSecret(secret domain.Secret) bool {
	if domain.Accepts([]domain.Secret{rg.request.Secret}, secret) {
		return false
	}
	rg.request.Secret = secret
	rg.again()
	return true
}

// drawEarlier returns how long before the interval's end a registration is renewed. Without it, clients that once registered
// together, because power or their scraper came back, would do so together indefinitely.
func (rg *registrar) drawEarlier() time.Duration {
	return jitter(rg.host, rg.interval/renewSpread)
}

// later begins the next attempt after a while.
func (rg *registrar) later(wait time.Duration) {
	rg.next = rg.host.Now().Add(wait)
	rg.timer = rg.host.AfterFunc(wait, rg.attempt)
}

// times returns the times since the last registration and until the next attempt, 0 for none.
func (rg *registrar) times() (ago, in time.Duration) {
	now := rg.host.Now()
	if rg.last != 0 {
		ago = now.Sub(rg.last)
	}
	if rg.current == nil {
		in = max(rg.next.Sub(now), 0)
	}
	return ago, in
}

func (rg *registrar) finish(uid domain.UID, updated bool, rejected []domain.RejectedTarget, err error) {
	if remote, ok := errors.AsType[*domain.RemoteError](err); ok && remote.Unknown && rg.request.Set != nil {
		rg.registered, rg.lastErr = false, nil
		rg.later(rg.interval - rg.drawEarlier()) // it may be updated
		const older = true
		rg.set.setOlder(older)
		return
	}
	rg.registered, rg.lastErr = err == nil, err
	if err == nil {
		rg.succeeded++
		rg.last = rg.host.Now()
		rg.backoff.Reset()
		wait := rg.interval - rg.drawEarlier()
		if rg.set.outdated {
			wait, rg.set.held = changePause, true
		}
		rg.later(wait)
		tell(rg.onEvent, domain.RegisterAliasSuccess{
			UID: uid, Scraper: rg.request.Scraper, Alias: rg.request.Alias, Targets: rg.registeredSize(), Rejected: rejected, Updated: updated,
		})
		const older = false
		rg.set.setOlder(older)
		return
	}
	rg.failed++
	wait, queued := waitAfter(err, &rg.backoff, rg.host)
	if !queued {
		wait = min(wait, rg.interval)
	}
	rg.later(wait)
	_, connection := errors.AsType[*ports.ConnectionError](err)
	tell(rg.onEvent, domain.RegisterAliasError{
		UID: uid, Scraper: rg.request.Scraper, Alias: rg.request.Alias, Err: err,
		ConnectionFailed: connection, RetryIn: wait,
	})
}

// stop ends the attempts. It says goodbye to the scraper if that may know the alias, and calls done when the scraper has answered
// or after a while.
func (rg *registrar) stop(done func()) {
	rg.stopped = true
	if rg.timer != nil {
		rg.timer.Stop()
	}
	if rg.current != nil {
		rg.abandon()
	}
	if !rg.asked {
		rg.host.Post(done)
		return
	}
	failed := func(err error) {
		tell(rg.onEvent, domain.LeaveAliasError{Scraper: rg.request.Scraper, Alias: rg.request.Alias, Err: err})
	}
	var cancel func()
	timer := rg.host.AfterFunc(leaveTimeout, func() {
		cancel()
		failed(&domain.TimeoutError{Waiting: "the answer to the goodbye", After: leaveTimeout})
		done()
	})
	cancel = rg.transport.LeaveAlias(rg.request, func(err error) {
		timer.Stop()
		if remote, refused := errors.AsType[*domain.RemoteError](err); err != nil && !(refused && remote.Unknown) {
			failed(err)
		}
		done()
	})
}
