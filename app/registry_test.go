package app_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// doorTransport passes the registration service to the test, which acts as the network: many requests on one connection, or many
// connections.
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
		c.handlers = t.door.OnOpen(c)
	})
	w.loop.Turn(func() {})
	return c
}

// crowd returns many different callers, from one address or each from its own network.
func (t *doorTransport) crowd(w *world, n int, oneAddr bool, each func(*caller)) (all callers) {
	for i := range n {
		addr := netip.AddrFrom4([4]byte{byte(20 + i>>8), byte(i), 7, 1})
		if oneAddr {
			addr = netip.AddrFrom4([4]byte{203, 0, 113, 1})
		}
		c := t.callFrom(w, domain.PublicKey{1, byte(i), byte(i >> 8)}, addr)
		if !c.ended && each != nil {
			each(c)
		}
		all = append(all, c)
	}
	return all
}

type callers []*caller

func (cs callers) open() (n int) {
	for _, c := range cs {
		if !c.ended {
			n++
		}
	}
	return n
}

func (c *caller) ask(r ports.Registration) ports.AliasReply { return c.askAs(r, false) }

// askAs registers with a proof of the key, or without.
func (c *caller) askAs(r ports.Registration, proven bool) (answer ports.AliasReply) {
	c.w.loop.Turn(func() {
		c.handlers.OnRegister(ports.AliasRequest{Secret: r.Secret, Register: r.Register, Proven: proven}, func(a ports.AliasReply) { answer = a })
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
	known := func(c *caller) { c.ask(registration("web", 2)) }
	for _, c := range []struct {
		name    string
		oneAddr bool
		each    func(*caller)
		limit   string
	}{
		{"strangers", false, nil, domain.LimitUnauthenticated},
		{"strangers at one address", true, nil, domain.LimitAddress},
		{"those with a secret", false, known, domain.LimitTotal},
		{"those with a secret at one address", true, known, domain.LimitAddress},
	} {
		w, door := newDoor(t)
		all := door.crowd(w, 1500, c.oneAddr, c.each)
		stats := w.scraper.Stats()
		if n := all.open(); n != 1024 || stats.AliasConnections != n || stats.ConnectionsDenied[c.limit] != 1500-1024 {
			t.Errorf("%s: %d open, stats %+v", c.name, n, stats)
		}
		if all[:400].open() != 0 || all[1000:].open() != 500 {
			t.Errorf("%s: of the oldest 400 %d are open, of the newest 500 %d", c.name, all[:400].open(), all[1000:].open())
		}
		w.loop.Advance(5 * time.Minute) // they send no more requests
		if n := w.scraper.Stats().AliasConnections; n != 0 {
			t.Errorf("%s: %d are still open", c.name, n)
		}
	}
	w, door := newDoor(t)
	var all callers
	for range 20 {
		all = append(all, door.call(w, 50))
	}
	if all.open() != 8 || all[12:].open() != 8 {
		t.Errorf("%d connections under one key, %d of them the newest", all.open(), all[12:].open())
	}
	if n := w.scraper.Stats().ConnectionsDenied[domain.LimitKey]; n != 12 {
		t.Errorf("%d counted", n)
	}
}

// After a power cut 5,000 clients behind one address come back at once. A limit per address shut 1,588 of them out.
func TestManyClientsBehindOneAddressRegister(t *testing.T) {
	w, door := newDoor(t)
	registered := 0
	all := door.crowd(w, 5000, true, func(c *caller) {
		r := registration("web", 2)
		r.Key = c.key
		r.Alias = domain.Alias(fmt.Sprintf("client-%x", c.key[1:3]))
		if c.ask(r).Success {
			registered++
		}
	})
	if registered != 5000 || all.open() != 1024 {
		t.Errorf("%d registered, %d are connected", registered, all.open())
	}
}

// Strangers that open connections and send nothing crowd out each other, whatever address they share with clients.
func TestStrangersDoNotCrowdOutClients(t *testing.T) {
	for _, oneAddr := range []bool{true, false} {
		w, door := newDoor(t)
		clients := callers{}
		for i := range byte(200) {
			c := door.callFrom(w, domain.PublicKey{2, i}, netip.AddrFrom4([4]byte{203, 0, 113, 1}))
			c.ask(registration("web", 2))
			clients = append(clients, c)
		}
		// A silent one, at an address of its own.
		slow := door.call(w, 50)
		strangers := door.crowd(w, 5000, oneAddr, nil)
		if clients.open() != 200 || strangers.open() > 1024-200 {
			t.Errorf("one address %t: %d of 200 clients are connected, %d strangers", oneAddr, clients.open(), strangers.open())
		}
		if oneAddr && (slow.ended || !slow.ask(registration("web", 2)).Success) {
			t.Error("a new client elsewhere is shut out")
		}
	}
}

// Clients dial under keys of their own, which are known once they have sent a valid secret.
func TestKeysThatHaveShownASecretAreKnown(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	if door.door.Known(c.key) {
		t.Error("a stranger is known")
	}
	c.ask(registration("web", 2))
	if !door.door.Known(c.key) || !door.door.Known(pair(2).Public) {
		t.Error("the key of a client, or of its alias, is not known")
	}
}

// Keys are free, so guessing is limited by address as well: each guess costs a connection of its own.
func TestAddressThatGuessesMayGuessOnceForEachConnection(t *testing.T) {
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
	if denied := w.scraper.Stats().ConnectionsDenied[domain.LimitRefusals]; asked != 60+480 || denied != 480 {
		t.Errorf("%d guesses, %d of them too many", asked, denied)
	}
	if c := door.call(w, 60); c.ended || !c.ask(registration("web", 2)).Success {
		t.Error("another client is rejected, too")
	}
	neighbour := door.callFrom(w, pair(61).Public, netip.AddrFrom4([4]byte{203, 0, 113, 1}))
	if neighbour.ended || !neighbour.ask(registration("web", 2)).Success {
		t.Error("a client behind the same address is shut out")
	}
	// Any number of addresses uses bounded memory.
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
		t.Error("an idle connection is never closed")
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

// A connection may hold what the protocol needs once its peer has sent a valid secret, or has a key of the table.
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
	if again := door.call(w, 50); !again.trusted || !door.door.Known(pair(50).Public) {
		t.Error("a key that has shown the secret is a stranger in its next connection")
	}
	known := door.callFrom(w, registration("web", 2).Register.Key, netip.MustParseAddr("192.0.2.77"))
	if !known.trusted {
		t.Error("a key of the table is not trusted")
	}
}
