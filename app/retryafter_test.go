package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// busyFor is the failure of a dial whose turn comes after d.
func busyFor(d time.Duration) error {
	return &ports.ConnectionError{Err: errors.New("busy"), Busy: true, RetryAfter: d}
}

// A session dials again at the time that it was given, also for a client that was connected a moment ago, and also the tenth
// time.
func TestSessionDialsAgainAtItsTurn(t *testing.T) {
	w := newWorld(t)
	transport := &pendingTransport{}
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: transport, Keys: pair(1), Client: pair(2).Public})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	w.loop.Turn(func() { transport.dials[0].OnOpen(domain.Peer{}) })
	w.loop.Turn(func() { transport.dials[0].OnClose(nil) })
	w.loop.Advance(20 * time.Second)
	for _, told := range []time.Duration{250 * time.Millisecond, time.Second, 90 * time.Second, 2 * time.Minute, time.Second, time.Minute, 50 * time.Second} {
		dials := len(transport.dials)
		w.loop.Turn(func() { transport.dials[dials-1].OnClose(busyFor(told)) })
		w.loop.Advance(told - time.Millisecond)
		if len(transport.dials) != dials {
			t.Fatalf("dials before the %v that the error gave", told)
		}
		w.loop.Advance(time.Second)
		if len(transport.dials) != dials+1 {
			t.Fatalf("%d dials a second after the %v that the error gave", len(transport.dials)-dials, told)
		}
	}
	w.loop.Turn(s.Close)
}

// busyTransport has registrations fail with an error.
type busyTransport struct {
	ports.ClientTransport
	err   error
	asked int
}

func (b *busyTransport) RegisterAlias(r ports.Registration, done func(bool, error)) func() {
	b.asked++
	if b.err == nil {
		return b.ClientTransport.RegisterAlias(r, done)
	}
	err := b.err
	r.Hold(func() {}) // as every registration does
	done(false, err)
	return func() {}
}

// A client registers again at the time that it was given, also where that is later than the renewal.
func TestClientRegistersAgainAtItsTurn(t *testing.T) {
	const told = 100 * time.Second
	w := newWorld(t)
	w.startScraper(nil)
	transport := &busyTransport{err: busyFor(told)}
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		transport.ClientTransport = cfg.Transport
		cfg.Transport, cfg.RegisterInterval = transport, time.Minute
	})
	for i := range 3 {
		if transport.asked != i+1 {
			t.Fatalf("%d attempts, want %d", transport.asked, i+1)
		}
		w.loop.Advance(told - 50*time.Millisecond)
		if transport.asked != i+1 {
			t.Fatalf("attempt %d comes before the time that the error gave", i+2)
		}
		w.loop.Advance(600 * time.Millisecond)
	}
	transport.err = nil
	w.loop.Advance(told + time.Second)
	if !c.Status().Registered {
		t.Error("it never registers")
	}
	for _, e := range of[domain.RegisterAliasError](c.events) {
		if e.RetryIn < told || e.RetryIn > told+500*time.Millisecond {
			t.Errorf("tries again in %v, told %v", e.RetryIn, told)
		}
	}
}
