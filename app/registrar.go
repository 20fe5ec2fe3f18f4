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

func (g *registrar) attempt() {
	uid := newUID(g.host)
	tell(g.onEvent, domain.AliasAttempt{UID: uid, Scraper: g.request.Scraper, Register: g.request.Register})
	a := &attempt{began: g.host.Now(), asked: g.asked}
	g.current = a
	finish := func(updated bool, err error) {
		if g.current == a {
			if _, refused := errors.AsType[*domain.RemoteError](err); refused {
				g.asked = a.asked // it did not make the scraper know anything
			}
			g.abandon()
			g.finish(uid, updated, err)
		}
	}
	expire := func(waiting string, after time.Duration) host.Timer {
		return g.host.AfterFunc(after, func() {
			finish(false, &ports.ConnectionError{Err: &domain.TimeoutError{Waiting: waiting, After: after}})
		})
	}
	asked := func() {
		if a.open && a.sent {
			g.asked = true
			g.timer = expire("the answer to the registration", registerTimeout)
		}
	}
	r := g.request
	r.OnOpen = func(domain.Peer) {
		if g.current == a {
			a.open = true
			g.timer.Stop()
			asked()
		}
	}
	r.Hold = func(send func()) {
		g.hold(func() {
			if g.current == a {
				a.sent = true
				send()
				asked()
			}
		})
	}
	r.OnShared = func() {
		tell(g.onEvent, domain.IdentityShared{Alias: g.request.Alias, Key: g.request.Key})
	}
	g.timer = expire("the connection to the scraper", connectTimeout)
	if cancel := g.transport.RegisterAlias(r, finish); g.current == a {
		a.cancel = cancel
	}
}

// abandon ends the attempt under way.
func (g *registrar) abandon() {
	a := g.current
	g.current = nil
	g.timer.Stop()
	if a.cancel != nil {
		a.cancel()
	}
}

// again repeats the registration soon, because this machine may have moved: the scraper's connection to it may lead
// nowhere, and one that could not be made before may be possible now. Clients that move together, as after a power
// cut, come back spread out; one that moves all the time does not register all the time (movedPause).
func (g *registrar) again() {
	if g.stopped || g.timer == nil {
		return // not started
	}
	now := g.host.Now()
	if g.moved > now {
		return // about to
	}
	if a := g.current; a != nil {
		if a.open || now.Sub(a.began) < staleAttempt {
			return // at it
		}
		g.abandon() // it asks on the ways of before
	}
	wait := jitter(g.host, movedSpread)
	wait += g.moves.wait(now)
	g.moved = now.Add(wait)
	g.timer.Stop()
	g.timer = g.host.AfterFunc(wait, func() {
		g.moves.count(g.host.Now())
		g.attempt()
	})
}

// renew registers now instead of at its time, because the scraper seems to have forgotten the alias. After a failure the
// next attempt comes soon anyway.
func (g *registrar) renew() {
	if g.registered && g.current == nil && !g.stopped {
		g.timer.Stop()
		g.attempt()
	}
}

// setSecret sets the secret of the next registrations, and of the goodbye. It reports whether it is another one.
func (g *registrar) setSecret(secret domain.Secret) bool {
	if domain.Accepts([]domain.Secret{g.request.Secret}, secret) {
		return false
	}
	g.request.Secret = secret
	g.again()
	return true
}

// drawEarlier is how much before its time a registration is renewed. Clients that once registered together, because
// the power or their scraper came back, would do so together for ever.
func (g *registrar) drawEarlier() time.Duration {
	return jitter(g.host, g.interval/renewSpread)
}

func (g *registrar) finish(uid domain.UID, updated bool, err error) {
	g.registered, g.lastErr = err == nil, err
	if err == nil {
		g.succeeded++
		g.backoff.Reset()
		g.timer = g.host.AfterFunc(g.interval-g.drawEarlier(), g.attempt)
		tell(g.onEvent, domain.RegisterAliasSuccess{
			UID: uid, Scraper: g.request.Scraper, Alias: g.request.Alias, Updated: updated,
		})
		return
	}
	g.failed++
	wait, queued := waitAfter(err, &g.backoff, g.host)
	if !queued {
		wait = min(wait, g.interval)
	}
	g.timer = g.host.AfterFunc(wait, g.attempt)
	_, connection := errors.AsType[*ports.ConnectionError](err)
	tell(g.onEvent, domain.RegisterAliasError{
		UID: uid, Scraper: g.request.Scraper, Alias: g.request.Alias, Err: err,
		ConnectionFailed: connection, RetryIn: wait,
	})
}

// stop ends the attempts. It says goodbye to the scraper if that may know the alias, and calls done when the scraper
// has heard it or after a while.
func (g *registrar) stop(done func()) {
	g.stopped = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.current != nil {
		g.abandon()
	}
	if !g.asked {
		g.host.Post(done)
		return
	}
	failed := func(err error) {
		tell(g.onEvent, domain.LeaveAliasError{Scraper: g.request.Scraper, Alias: g.request.Alias, Err: err})
	}
	var cancel func()
	timer := g.host.AfterFunc(leaveTimeout, func() {
		cancel()
		failed(&domain.TimeoutError{Waiting: "the answer to the goodbye", After: leaveTimeout})
		done()
	})
	cancel = g.transport.LeaveAlias(g.request, func(err error) {
		timer.Stop()
		if remote, refused := errors.AsType[*domain.RemoteError](err); err != nil && !(refused && remote.Unknown) {
			failed(err)
		}
		done()
	})
}
