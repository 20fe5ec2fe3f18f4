package dht

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports"
)

// bothWorld is a client that registers under its metrics server's key.
func bothWorld(t *testing.T, admit bool) (w *world, scraper *link) {
	w = newWorld(t)
	scraper = newLink(w.loop, w.scraper)
	if _, err := serveAliases(scraper, Config{MaxName: 100}, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	r := w.registration()
	r.OnOpen = nil
	register(newLink(w.loop, w.client), methodAlias, r, &metricsOffer{
		alike: true,
		admit: func(p domain.Peer) bool {
			w.call("admit %s", p.Key.Short())
			return admit
		},
		onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.want("alias open " + clientKey.Short() + "; register a h; registered true <nil>")
	return w, scraper
}

func TestMetricsRunOnTheRegistrationsConnection(t *testing.T) {
	w, scraper := bothWorld(t, true)
	if !scraper.attachable() {
		t.Fatal("no session can be tried")
	}
	s := openSession(scraper, w.dial())
	requestOf(s, w.gotMetrics)
	if len(w.calls) != 0 {
		t.Errorf("called inside the call: %s", w.take())
	}
	w.want("admit " + scraperKey.Short() + "; metrics open " + scraperKey.Short() + "; session open " + clientKey.Short() + " lan" +
		"; session ready; alias close; metrics true \"up 1\\n\" \"\"")
	if scraper.attachable() {
		t.Error("a second session could be tried")
	}
	if !s.scrapes.Opened() {
		t.Error("the scrape went by the method metrics")
	}
	w.loop.Advance(time.Hour)
	w.wantOpen()
	s.Close(nil)
	w.run()
	if got := w.take(); !strings.Contains(got, "session close <nil>") || !strings.Contains(got, "metrics close") {
		t.Errorf("called %s", got)
	}
	w.wantClosed()
}

func TestRegistrationsConnectionEndsWithoutAMetricsRequest(t *testing.T) {
	w, scraper := bothWorld(t, true)
	w.loop.Advance(metricsLinger - time.Millisecond)
	w.wantOpen()
	w.loop.Advance(time.Millisecond)
	w.want("alias close")
	w.wantClosed()
	if scraper.attachable() {
		t.Error("a session could be tried on a closed link")
	}
}

func TestUnwelcomeScraperGetsNoMetricsOnTheRegistration(t *testing.T) {
	w, scraper := bothWorld(t, false)
	openSession(scraper, w.dial())
	w.run()
	if got := w.take(); !strings.Contains(got, "admit "+scraperKey.Short()+"; session close "+errNotAccepted.Error()) {
		t.Errorf("called %s", got)
	}
	if scraper.attachable() {
		t.Error("another session could be tried")
	}
}

func TestMetricsChannelBeforeTheAnswerKeepsTheConnection(t *testing.T) {
	w := newWorld(t)
	scraper := newLink(w.loop, w.scraper)
	var answer func(ports.AliasReply)
	conn, err := serveAliases(scraper, Config{MaxName: 100}, w.aliasHandlers(func(_ ports.AliasRequest, reply func(ports.AliasReply)) { answer = reply }))
	if err != nil {
		t.Fatal(err)
	}
	register(newLink(w.loop, w.client), methodAlias, w.registration(), &metricsOffer{
		alike: true, admit: func(domain.Peer) bool { return true }, onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.take()
	s := openSession(scraper, w.dial())
	w.run()
	w.take()
	answer(ports.AliasReply{Success: true})
	w.want("registered false <nil>; alias close")
	w.wantOpen()
	// The idle time of the alias connection does not end the session.
	conn.Close(nil)
	requestOf(s, w.gotMetrics)
	w.want(`metrics true "up 1\n" ""`)
	w.wantOpen()
}

func TestAliasConnectionWithoutChannelIsNotKeptForever(t *testing.T) {
	w := newWorld(t)
	if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	rpc, err := muxrpc.New(mux.New(w.client), muxrpc.Options{Protocol: protocolAlias})
	if err != nil {
		t.Fatal(err)
	}
	w.client.onOpen = func() {}
	w.open()
	w.take()
	rpc.Destroy(nil)
	w.run()
	w.loop.Advance(aliasLinger - 1)
	w.wantOpen()
	w.loop.Advance(1)
	w.want("alias close")
	w.wantClosed()
}

// offering is a client that registers keyPair 3's metrics server from another key, and the scraper's resulting state.
func offering(t *testing.T, signer id.KeyPair, cfg Config, change ...func(*aliasServer)) (w *world, scraper *link, proven *bool) {
	w = newWorld(t)
	scraper = newLink(w.loop, w.scraper)
	proven = new(bool)
	handlers := w.aliasHandlers(func(req ports.AliasRequest, reply func(ports.AliasReply)) {
		*proven = req.Proven
		reply(ports.AliasReply{Success: true, Updated: true})
	})
	server, err := serveAliases(scraper, cfg, handlers)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(server)
	}
	r := w.registration()
	r.OnOpen = nil
	r.Key = domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public)
	register(newLink(w.loop, w.client), methodAlias, r, &metricsOffer{
		keys:   signer,
		admit:  func(domain.Peer) bool { return true },
		onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.run()
	return w, scraper, proven
}

func TestOffersOfClientsOfAnotherMemberAreDeclined(t *testing.T) {
	keys := id.KeyPairFromSeed(id.Seed{3})
	var asked domain.PublicKey
	w, scraper, proven := offering(t, keys, Config{MaxName: 100}, func(s *aliasServer) {
		s.holds = func(client domain.PublicKey) bool {
			asked = client
			return false
		}
	})
	if !*proven || asked != domain.PublicKey(keys.Public) || scraper.offers(asked) {
		t.Errorf("proven %v, asked for %s, offers %v", *proven, asked.Short(), scraper.offers(asked))
	}
	w.loop.Advance(time.Hour)
	w.wantClosed()
}

func TestProvenClientIsScrapedOnItsRegistration(t *testing.T) {
	keys := id.KeyPairFromSeed(id.Seed{3})
	w, scraper, proven := offering(t, keys, Config{MaxName: 100})
	if !*proven || !scraper.offers(domain.PublicKey(keys.Public)) || !scraper.attachable() {
		t.Fatalf("proven %v, offers %v, attachable %v", *proven, scraper.offers(domain.PublicKey(keys.Public)), scraper.attachable())
	}
	w.take()
	d := w.dial()
	d.Client = domain.PublicKey(keys.Public)
	s := openSession(scraper, d)
	requestOf(s, w.gotMetrics)
	w.run()
	got := w.take()
	if !strings.Contains(got, `metrics true "up 1\n" ""`) {
		t.Errorf("called %s", got)
	}
	if want := "session open " + keys.Public.Short(); !strings.Contains(got, want) {
		t.Errorf("called %s, want %s: the proven key decides what is scraped", got, want)
	}
	w.loop.Advance(time.Hour)
	w.wantOpen()
}

// The reference implementation registers, hangs up and serves nothing on that connection, whatever key it uses: a session on
// it would break immediately, and scrapes with it.
func TestRegistrationUnderTheClientsKeyIsNoOffer(t *testing.T) {
	w := newWorld(t)
	scraper := newLink(w.loop, w.scraper)
	if _, err := serveAliases(scraper, Config{MaxName: 100}, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	r := w.registration()
	r.Key = domain.PublicKey(clientKey)
	register(newLink(w.loop, w.client), methodAlias, r, nil, w.registered)
	w.open()
	w.run()
	if !strings.Contains(w.take(), "registered true") || scraper.offers(r.Key) {
		t.Error("a connection was taken for an offer of metrics")
	}
}

func TestForgedProofIsNoOffer(t *testing.T) {
	w, scraper, proven := offering(t, id.KeyPairFromSeed(id.Seed{4}), Config{MaxName: 100})
	if *proven || scraper.offers(domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public)) {
		t.Error("a stranger's signature was taken for a proof")
	}
	w.wantClosed() // the scraper has not accepted, so the client hangs up at once
}

func TestProofForAnotherConnectionIsWorthless(t *testing.T) {
	keys := id.KeyPairFromSeed(id.Seed{3})
	o := SignOffer(keys, [64]byte{1})
	if !o.Proves(domain.PublicKey(keys.Public), [64]byte{1}) {
		t.Error("a good proof is refused")
	}
	if o.Proves(domain.PublicKey(keys.Public), [64]byte{2}) || o.Proves(domain.PublicKey(keys.Public), [64]byte{}) {
		t.Error("a proof made for another connection is taken")
	}
}

func TestScraperThatDialsItselfTakesNoOffers(t *testing.T) {
	w, scraper, proven := offering(t, id.KeyPairFromSeed(id.Seed{3}), Config{MaxName: 100, OwnConnections: true})
	if !*proven {
		t.Error("the proof does not count")
	}
	if scraper.offers(domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public)) {
		t.Error("the offer was taken")
	}
	w.wantClosed()
}

func FuzzParseOffer(f *testing.F) {
	f.Add(SignOffer(id.KeyPairFromSeed(id.Seed{3}), [64]byte{1}).Append(nil))
	named := SignOffer(id.KeyPairFromSeed(id.Seed{3}), [64]byte{1})
	named.Instance = domain.Instance{1}
	f.Add(named.Append(nil))
	f.Add([]byte{})
	f.Add([]byte{1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var o *Offer
		cost.Parsing.Check(t, len(b), func() { o = ParseOffer(b) })
		if o == nil {
			return
		}
		again := ParseOffer(o.Append(nil))
		if again == nil || *again != *o {
			t.Fatalf("%x read again as %v", o.Append(nil), again)
		}
	})
}

func TestOfferSurvivesTheWireAndNothingElseIsOne(t *testing.T) {
	m := AliasRequest{Secret: domain.SecretFrom([32]byte{1}), Register: domain.Register{Alias: "a", Hostname: "h", Service: "s"}}
	bare := m.Append(nil)
	for _, instance := range []domain.Instance{{}, {1, 2, 3}} {
		o := SignOffer(id.KeyPairFromSeed(id.Seed{3}), [64]byte{1})
		o.Instance = instance
		m.Offer = &o
		checkOffer(t, m, bare)
	}
	for tail := range 8 {
		r := AliasReply{Major: majorVersion, Minor: minorVersion, Success: true, Updated: true, Accepted: tail&1 != 0, Shared: tail&2 != 0, Elsewhere: tail&4 != 0}
		if got, err := ParseAliasReply(r.Append(nil)); err != nil || got != r || len(r.Append(nil)) != r.Size() {
			t.Errorf("reply %+v, %v", got, err)
		}
	}
}

func checkOffer(t *testing.T, m AliasRequest, bare []byte) {
	t.Helper()
	full := m.Append(nil)
	if len(full) != m.Size() || !bytes.HasPrefix(full, bare) {
		t.Fatalf("%d bytes, Size says %d", len(full), m.Size())
	}
	for n := len(bare); n <= len(full)+2; n++ {
		b := append(append([]byte(nil), full...), 7, 7)[:n]
		got, err := ParseAliasRequest(b)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if whole := n >= len(full); (got.Offer != nil) != whole || whole && *got.Offer != *m.Offer {
			t.Errorf("%d of %d bytes: offer %v", n, len(full), got.Offer)
		}
	}
}

func TestRequestsNameTheProcessThatSendsThem(t *testing.T) {
	keys, other := id.KeyPairFromSeed(id.Seed{1}), id.KeyPairFromSeed(id.Seed{8}).Public
	for _, c := range []struct {
		name     string
		dial     id.PublicKey
		instance domain.Instance // sent, behind the proof
		want     domain.Instance
	}{
		{"named", other, domain.Instance{5}, domain.Instance{5}},
		{"an older client, which dials under a key of each process", other, domain.Instance{}, domain.Instance(other[:16])},
		{"an older client under its own key", keys.Public, domain.Instance{}, domain.Instance{}},
	} {
		w := newWorld(t)
		w.scraper.key = c.dial
		var got []domain.Instance
		handler := func(r ports.AliasRequest, reply func(ports.AliasReply)) {
			got = append(got, r.Instance)
			reply(ports.AliasReply{Success: true})
		}
		if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, func(ports.Conn) ports.AliasHandlers {
			return ports.AliasHandlers{OnRegister: handler, OnLeave: handler}
		}); err != nil {
			t.Fatal(err)
		}
		r := w.registration()
		r.Instance = c.instance
		register(newLink(w.loop, w.client), methodLeave, r, &metricsOffer{keys: keys}, func(bool, error) {})
		w.open()
		w.run()
		if !slices.Equal(got, []domain.Instance{c.want}) {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}
