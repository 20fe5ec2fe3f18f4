package app

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// registrar keeps one alias registered with one scraper: again each interval after a success, and with backoff after
// a failure.
type registrar struct {
	host      host.Host
	transport ports.ClientTransport
	request   ports.Registration // OnOpen and Hold apart
	hold      func(send func())  // calls send when a request may leave, in the same turn or later
	interval  time.Duration
	backoff   domain.Backoff
	onEvent   func(domain.Event)

	stopped bool
	timer   host.Timer // the attempt's bound, or the next attempt
	current *attempt   // under way

	// asked means that the scraper may know the alias: an attempt got as far as a connection, and was not refused.
	asked bool

	moved host.Instant // when the last repetition because of a move was or will be
	moves moves

	registered bool // the last attempt succeeded
	succeeded  uint64
	failed     uint64
	lastErr    error
}

// attempt is a registration under way.
type attempt struct {
	began  host.Instant
	open   bool // the scraper is connected
	sent   bool // the request may leave
	asked  bool // registrar.asked before it
	cancel func()
}

func (rg *registrar) attempt() {
	uid := newUID(rg.host)
	tell(rg.onEvent, domain.AliasAttempt{UID: uid, Scraper: rg.request.Scraper, Register: rg.request.Register})
	a := &attempt{began: rg.host.Now(), asked: rg.asked}
	rg.current = a
	finish := func(updated bool, err error) {
		if rg.current == a {
			if _, refused := errors.AsType[*domain.RemoteError](err); refused {
				rg.asked = a.asked // it did not make the scraper know anything
			}
			rg.abandon()
			rg.finish(uid, updated, err)
		}
	}
	expire := func(waiting string, after time.Duration) host.Timer {
		return rg.host.AfterFunc(after, func() {
			finish(false, &ports.ConnectionError{Err: &domain.TimeoutError{Waiting: waiting, After: after}})
		})
	}
	asked := func() {
		if a.open && a.sent {
			rg.asked = true
			rg.timer = expire("the answer to the registration", registerTimeout)
		}
	}
	r := rg.request
	r.OnOpen = func(domain.Peer) {
		if rg.current == a {
			a.open = true
			rg.timer.Stop()
			asked()
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
	r.OnShared = func() {
		tell(rg.onEvent, domain.IdentityShared{Alias: rg.request.Alias, Key: rg.request.Key})
	}
	rg.timer = expire("the connection to the scraper", connectTimeout)
	if cancel := rg.transport.RegisterAlias(r, finish); rg.current == a {
		a.cancel = cancel
	}
}

// abandon ends the attempt under way.
func (rg *registrar) abandon() {
	a := rg.current
	rg.current = nil
	rg.timer.Stop()
	if a.cancel != nil {
		a.cancel()
	}
}

// again repeats the registration soon, because this machine may have moved: the scraper's connection to it may lead
// nowhere, and one that could not be made before may be possible now. Clients that move together, as after a power
// cut, come back spread out; one that moves all the time does not register all the time (movedPause).
func (rg *registrar) again() {
	if rg.stopped || rg.timer == nil {
		return // not started
	}
	now := rg.host.Now()
	if rg.moved > now {
		return // about to
	}
	if a := rg.current; a != nil {
		if a.open || now.Sub(a.began) < staleAttempt {
			return // at it
		}
		rg.abandon() // it asks on the ways of before
	}
	wait := jitter(rg.host, movedSpread)
	wait += rg.moves.wait(now)
	rg.moved = now.Add(wait)
	rg.timer.Stop()
	rg.timer = rg.host.AfterFunc(wait, func() {
		rg.moves.count(rg.host.Now())
		rg.attempt()
	})
}

// renew registers now instead of at its time, because the scraper seems to have forgotten the alias. After a failure the
// next attempt comes soon anyway.
func (rg *registrar) renew() {
	if rg.registered && rg.current == nil && !rg.stopped {
		rg.timer.Stop()
		rg.attempt()
	}
}

// setSecret sets the secret of the next registrations, and of the goodbye. It reports whether it is another one.
func (rg *registrar) setSecret(secret domain.Secret) bool {
	if domain.Accepts([]domain.Secret{rg.request.Secret}, secret) {
		return false
	}
	rg.request.Secret = secret
	rg.again()
	return true
}

// drawEarlier is how much before its time a registration is renewed. Clients that once registered together, because
// the power or their scraper came back, would do so together for ever.
func (rg *registrar) drawEarlier() time.Duration {
	return jitter(rg.host, rg.interval/renewSpread)
}

func (rg *registrar) finish(uid domain.UID, updated bool, err error) {
	rg.registered, rg.lastErr = err == nil, err
	if err == nil {
		rg.succeeded++
		rg.backoff.Reset()
		rg.timer = rg.host.AfterFunc(rg.interval-rg.drawEarlier(), rg.attempt)
		tell(rg.onEvent, domain.RegisterAliasSuccess{
			UID: uid, Scraper: rg.request.Scraper, Alias: rg.request.Alias, Updated: updated,
		})
		return
	}
	rg.failed++
	wait, queued := waitAfter(err, &rg.backoff, rg.host)
	if !queued {
		wait = min(wait, rg.interval)
	}
	rg.timer = rg.host.AfterFunc(wait, rg.attempt)
	_, connection := errors.AsType[*ports.ConnectionError](err)
	tell(rg.onEvent, domain.RegisterAliasError{
		UID: uid, Scraper: rg.request.Scraper, Alias: rg.request.Alias, Err: err,
		ConnectionFailed: connection, RetryIn: wait,
	})
}

// stop ends the attempts. It says goodbye to the scraper if that may know the alias, and calls done when the scraper
// has heard it or after a while.
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
