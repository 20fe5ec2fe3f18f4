package app_test

import (
	"net/netip"
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
	addr     netip.Addr
	handlers ports.AliasHandlers
	trusted  bool
	ended    bool
}

func (c *caller) Peer() domain.Peer {
	return domain.Peer{Key: c.key, Addr: netip.AddrPortFrom(c.addr, 4000)}
}

func (c *caller) Trust() { c.trusted = true }

func (c *caller) Close(error) {
	if !c.ended {
		c.ended = true
		c.w.loop.Post(c.handlers.OnClose)
	}
}

func (t *doorTransport) call(w *world, key byte) *caller {
	return t.callFrom(w, pair(key).Public, netip.AddrFrom4([4]byte{192, 0, 2, key}))
}

func (t *doorTransport) callFrom(w *world, key domain.PublicKey, addr netip.Addr) *caller {
	c := &caller{w: w, key: key, addr: addr}
	w.loop.Turn(func() {
		if !t.door.Admit(c.key, domain.HandshakePayload{}, c.Peer().Addr) {
			c.ended = true
			return
		}
		c.handlers = t.door.OnOpen(c)
	})
	w.loop.Turn(func() {})
	return c
}

// crowd is many different callers, from one address or from one each.
func (t *doorTransport) crowd(w *world, n int, oneAddr bool, each func(*caller)) (open int) {
	for i := range n {
		addr := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		if oneAddr {
			addr = netip.AddrFrom4([4]byte{203, 0, 113, 1})
		}
		c := t.callFrom(w, domain.PublicKey{1, byte(i), byte(i >> 8)}, addr)
		if !c.ended && each != nil {
			each(c)
		}
		if !c.ended {
			open++
		}
	}
	return open
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
func TestConnectionsAreLimitedPerKeyAddressAndInAll(t *testing.T) {
	known := func(c *caller) { c.ask(registration("web", 2)) }
	for _, c := range []struct {
		name    string
		oneAddr bool
		each    func(*caller)
		open    int
		limit   string
	}{
		{"strangers", false, nil, 512, domain.LimitUnauthenticated},
		{"strangers at one address", true, nil, 128, domain.LimitAddress},
		{"those with a secret", false, known, 1024, domain.LimitTotal},
		{"those with a secret at one address", true, known, 512, domain.LimitAddress},
	} {
		w, door := newDoor(t)
		open := door.crowd(w, 1500, c.oneAddr, c.each)
		stats := w.scraper.Stats()
		if open != c.open || stats.AliasConnections != c.open || stats.ConnectionsDenied[c.limit] != uint64(1500-c.open) {
			t.Errorf("%s: %d open, stats %+v", c.name, open, stats)
		}
		w.loop.Advance(5 * time.Minute) // they never ask again
		if n := w.scraper.Stats().AliasConnections; n != 0 {
			t.Errorf("%s: %d are still open", c.name, n)
		}
		if door.crowd(w, 1, c.oneAddr, nil) != 1 {
			t.Errorf("%s: the door stays shut", c.name)
		}
	}
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
	if n := w.scraper.Stats().ConnectionsDenied[domain.LimitKey]; n != 12 {
		t.Errorf("%d counted", n)
	}
}

// Handshakes that were admitted in one go are counted only when they open.
func TestConnectionsAdmittedTogetherAreLimitedToo(t *testing.T) {
	w, door := newDoor(t)
	var callers []*caller
	w.loop.Turn(func() {
		for range 20 {
			c := &caller{w: w, key: pair(50).Public, addr: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
			if door.door.Admit(c.key, domain.HandshakePayload{}, c.Peer().Addr) {
				callers = append(callers, c)
			}
		}
		for _, c := range callers {
			c.handlers = door.door.OnOpen(c)
		}
	})
	w.loop.Advance(time.Millisecond)
	if n := w.scraper.Stats().AliasConnections; len(callers) != 20 || n != 8 {
		t.Errorf("%d of %d stay open", n, len(callers))
	}
}

// Keys cost nothing, so guessing is limited by address as well.
func TestAddressThatGuessesIsShutOutForAWhile(t *testing.T) {
	w, door := newDoor(t)
	wrong := registration("web", 2)
	wrong.Secret = domain.SecretFrom([32]byte{1})
	asked := 0
	guess := func(c *caller) {
		for !c.ended {
			asked++
			c.ask(wrong)
			w.loop.Turn(func() {})
		}
	}
	door.crowd(w, 500, true, guess)
	if denied := w.scraper.Stats().ConnectionsDenied[domain.LimitRefusals]; asked != 60 || denied != 480 {
		t.Errorf("%d guesses, %d denied", asked, denied)
	}
	if c := door.call(w, 60); c.ended || !c.ask(registration("web", 2)).Success {
		t.Error("somebody else is shut out, too")
	}
	if door.crowd(w, 1, true, nil) != 0 {
		t.Error("the guesser is let in")
	}
	w.loop.Advance(10 * time.Second)
	if door.crowd(w, 1, true, nil) != 1 {
		t.Error("the address is shut out for ever")
	}
	// Addresses without end do not take memory without end.
	before := asked
	door.crowd(w, 4200, false, guess)
	if asked != before+12600 {
		t.Errorf("%d guesses", asked-before)
	}
	refusals := w.scraper.Refusals()
	if len(refusals) != 32 || refusals[31].Reason != domain.ReasonUnauthorised || refusals[31].Count != 3 || refusals[31].Alias != "web" {
		t.Errorf("%d refusals kept, the last %+v", len(refusals), refusals[len(refusals)-1])
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

// A connection may hold what the protocol needs once its peer has shown a secret, or is a key of the table.
func TestConnectionIsTrustedAfterASecretOrWithAKeyOfTheTable(t *testing.T) {
	w, door := newDoor(t)
	stranger, wrong := door.call(w, 50), registration("web", 2)
	wrong.Secret = domain.SecretFrom([32]byte{1})
	stranger.ask(wrong)
	if stranger.trusted {
		t.Error("trusted with a wrong secret")
	}
	stranger.ask(registration("web", 2))
	if !stranger.trusted {
		t.Error("not trusted with the right secret")
	}
	w.loop.Advance(time.Second)
	known := door.callFrom(w, registration("web", 2).Register.Key, netip.MustParseAddr("192.0.2.77"))
	if !known.trusted {
		t.Error("a key of the table is not trusted")
	}
}
