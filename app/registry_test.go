package app_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// doorTransport hands the registration service to the test, which plays the network: many requests on one
// connection, or many connections.
type doorTransport struct {
	*portstest.Transport
	door ports.AliasListen
}

func (t *doorTransport) ListenAliases(l ports.AliasListen, ready func(error)) (ports.Listener, error) {
	t.door = l
	return t.Transport.ListenAliases(l, ready)
}

// caller is one connection to the registration service.
type caller struct {
	w        *world
	key      domain.PublicKey
	handlers ports.AliasHandlers
	ended    bool
}

func (c *caller) Peer() domain.Peer { return domain.Peer{Key: c.key} }

func (c *caller) Close(error) {
	if !c.ended {
		c.ended = true
		c.w.loop.Post(c.handlers.OnClose)
	}
}

func (t *doorTransport) call(w *world, key byte) *caller {
	c := &caller{w: w, key: pair(key).Public}
	w.loop.Turn(func() {
		if !t.door.Admit(c.key, domain.HandshakePayload{}, c.Peer().Addr) {
			c.ended = true
			return
		}
		c.handlers = t.door.OnOpen(c)
	})
	return c
}

func (c *caller) ask(r ports.Registration) (answer ports.AliasReply) {
	c.w.loop.Turn(func() {
		c.handlers.OnRegister(ports.AliasRequest{Secret: r.Secret, Register: r.Register}, func(a ports.AliasReply) { answer = a })
	})
	return answer
}

func newDoor(t *testing.T) (*world, *doorTransport) {
	w := newWorld(t)
	door := &doorTransport{Transport: portstest.NewTransport(w.net)}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport = door })
	return w, door
}

// Issue row 6.12: 230,200 refusals in three seconds on one connection, which stays open.
func TestConnectionClosesAfterAFewRefusals(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	wrong := registration("web", 2)
	wrong.Secret = domain.SecretFrom([32]byte{1})
	asked := 0
	for !c.ended && asked < 100 {
		asked++
		if a := c.ask(wrong); a.Success || a.Message != "Unauthorised" {
			t.Fatalf("answer %+v", a)
		}
	}
	if asked != 3 {
		t.Errorf("closed after %d refusals", asked)
	}
	if n := w.scraper.Stats().Rejected[domain.ReasonUnauthorised]; n != 3 {
		t.Errorf("%d counted", n)
	}
}

// Issue row 6.12: no rate limit.
func TestRequestsOnOneConnectionAreLimited(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	good, limited := 0, 0
	for !c.ended && good+limited < 1000 {
		switch a := c.ask(registration("web", 2)); {
		case a.Success:
			good++
		case a.Message == "Too many requests":
			limited++
		default:
			t.Fatalf("answer %+v", a)
		}
	}
	if good != 32 || limited != 3 {
		t.Errorf("%d answered, %d refused", good, limited)
	}
	patient := door.call(w, 51)
	for range 300 {
		w.loop.Advance(time.Second)
		if a := patient.ask(registration("web", 2)); !a.Success {
			t.Fatalf("one request a second: %+v", a)
		}
	}
}

// Issue row 6.12: no connection limit.
func TestConnectionsAreLimitedPerKeyAndInAll(t *testing.T) {
	w, door := newDoor(t)
	open := 0
	for range 20 {
		if !door.call(w, 50).ended {
			open++
		}
	}
	if open != 8 {
		t.Errorf("%d connections under one key", open)
	}
	for i := range 2000 {
		c := &caller{w: w, key: domain.PublicKey{1, byte(i), byte(i >> 8)}}
		w.loop.Turn(func() {
			if door.door.Admit(c.key, domain.HandshakePayload{}, c.Peer().Addr) {
				c.handlers = door.door.OnOpen(c)
				open++
			}
		})
	}
	if stats := w.scraper.Stats(); open != 1024 || stats.AliasConnections != 1024 || stats.ConnectionsDenied != 12+2000-1016 {
		t.Errorf("%d open, stats %+v", open, stats)
	}
	w.loop.Advance(time.Minute) // they never asked anything
	if n := w.scraper.Stats().AliasConnections; n != 0 {
		t.Errorf("%d are still open", n)
	}
	if door.call(w, 50).ended {
		t.Error("the door stays shut")
	}
}

// Issue row 6.12: no idle limit. JavaScript clients of version 2 pool their connection for up to two minutes, which
// must stay possible.
func TestIdleConnectionsAreClosedButPooledOnesLive(t *testing.T) {
	w, door := newDoor(t)
	silent, pooled := door.call(w, 50), door.call(w, 51)
	pooled.ask(registration("web", 2))
	w.loop.Advance(2 * time.Minute)
	if !silent.ended || pooled.ended {
		t.Errorf("after two minutes: silent ended %t, pooled ended %t", silent.ended, pooled.ended)
	}
	if a := pooled.ask(registration("web", 2)); !a.Success {
		t.Errorf("the second registration: %+v", a)
	}
	w.loop.Advance(4 * time.Minute)
	if !pooled.ended {
		t.Error("an idle connection lives for ever")
	}
	if opens, closes := len(of[domain.ConnectionOpen](w.events)), registerConns(w.events); closes != 2 || opens < 2 {
		t.Errorf("%d closes told", closes)
	}
}

func TestOverloadIsRefusedFast(t *testing.T) {
	w, _ := newDoor(t)
	w.disk.Hold = true
	refused := 0
	w.loop.Turn(func() {
		for range 5000 {
			w.scraper.PutAlias(registration("web", 2).Register, func(_ bool, err error) {
				if err != nil {
					refused++
				}
			})
		}
	})
	if refused != 5000-4096 {
		t.Errorf("%d refused", refused)
	}
	w.loop.Turn(w.disk.Release)
	if n := w.scraper.Stats().Registrations; n != 4096 {
		t.Errorf("%d done", n)
	}
}

func TestGoodbyeNeedsTheSecret(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	leave := func(r ports.Registration) (answer ports.AliasReply) {
		w.loop.Turn(func() {
			c.handlers.OnLeave(ports.AliasRequest{Secret: r.Secret, Register: r.Register}, func(a ports.AliasReply) { answer = a })
		})
		return answer
	}
	wrong := registration("web", 2)
	wrong.Secret = domain.SecretFrom([32]byte{1})
	if a := leave(wrong); a.Success || len(w.aliases()) != 1 {
		t.Errorf("with a wrong secret: %+v", a)
	}
	if a := leave(registration("never there", 2)); !a.Success || a.Updated {
		t.Errorf("of an unknown alias: %+v", a)
	}
	if a := leave(registration("web", 2)); !a.Success || !a.Updated || len(w.aliases()) != 0 {
		t.Errorf("with the right one: %+v", a)
	}
}
