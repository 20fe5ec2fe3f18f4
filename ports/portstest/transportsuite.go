package portstest

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// scrapeTime is the time of the suite's scrapes.
const scrapeTime = time.Minute

// TransportBench opens transports on machines of one network, and runs their loops.
type TransportBench struct {
	// Open opens the transport of a new machine. do runs a function on its loop.
	Open func(t *testing.T, name string) (transport ports.Transport, loop host.Loop, do func(func()))
	// Until runs the loops until cond holds, and fails the test if it does not for longer than connections live without a packet.
	Until func(t *testing.T, what string, cond func() bool)
	// Settle runs the loops for longer than an exchange takes.
	Settle func()
}

// transportWorld is a client and a scraper.
type transportWorld struct {
	t               *testing.T
	b               TransportBench
	client, scraper *machine
	source          *Source
	// What the client's server and the scraper's have seen.
	served   []ports.Conn
	asked    []domain.ScrapeRequest
	released int
	gone     int // connections of the client's server that closed
	requests []ports.AliasRequest
}

type machine struct {
	ports.Transport
	loop host.Loop
	do   func(func())
	keys domain.KeyPair
}

func newTransportWorld(t *testing.T, bench func(t *testing.T) TransportBench) *transportWorld {
	w := &transportWorld{t: t, b: bench(t)}
	open := func(name string, n byte) *machine {
		m := &machine{keys: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{n}))}
		m.Transport, m.loop, m.do = w.b.Open(t, name)
		return m
	}
	w.client, w.scraper = open("client", 1), open("scraper", 2)
	w.source = NewSource(w.client.loop, "up_since 1\n")
	return w
}

func (w *transportWorld) until(what string, cond func() bool) {
	w.t.Helper()
	w.b.Until(w.t, what, cond)
}

// listen serves the client's metrics to the keys that admit takes.
func (w *transportWorld) listen(admit func(domain.PublicKey) bool) (l ports.Listener) {
	w.t.Helper()
	ready := 0
	w.client.do(func() {
		var err error
		l, err = w.client.ListenMetrics(ports.MetricsListen{
			Keys:  w.client.keys,
			Admit: func(k domain.PublicKey, _ domain.HandshakePayload, _ netip.AddrPort) bool { return admit(k) },
			Known: func(domain.PublicKey) bool { return true },
			OnOpen: func(c ports.Conn) ports.MetricsHandlers {
				w.served = append(w.served, c)
				closed := false
				alive := func() {
					if closed {
						w.t.Error("a handler of a closed connection of the client is called")
					}
				}
				return ports.MetricsHandlers{
					OnScrape: func(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
						alive()
						w.asked = append(w.asked, r)
						return w.source.Scrape(r, h)
					},
					OnReleased: func() { alive(); w.released++ },
					OnError:    func(error) { alive() },
					OnClose:    func() { alive(); closed = true; w.gone++ },
				}
			},
		}, func(err error) {
			if ready++; err != nil || ready > 1 {
				w.t.Errorf("call %d of ready: %v", ready, err)
			}
		})
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the client's server is ready", func() bool { return ready > 0 })
	return l
}

// accept serves registrations at the scraper, which are answered by reply.
func (w *transportWorld) accept(reply ports.AliasReply) (l ports.Listener) {
	w.t.Helper()
	ready := false
	w.scraper.do(func() {
		var err error
		l, err = w.scraper.ListenAliases(ports.AliasListen{
			Keys: w.scraper.keys,
			OnOpen: func(ports.Conn) ports.AliasHandlers {
				answer := func(req ports.AliasRequest, done func(ports.AliasReply)) {
					w.requests = append(w.requests, req)
					w.scraper.loop.Post(func() { done(reply) })
				}
				return ports.AliasHandlers{OnRegister: answer, OnLeave: answer, OnError: func(error) {}, OnClose: func() {}}
			},
		}, func(err error) {
			if ready = true; err != nil {
				w.t.Error(err)
			}
		})
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the scraper's server is ready", func() bool { return ready })
	return l
}

// dialled is a connection of the scraper to a client.
type dialled struct {
	ports.MetricsSession
	opens, readies, ends int
	peer                 domain.Peer
	err                  error
}

func (w *transportWorld) dial(to domain.PublicKey) *dialled {
	w.t.Helper()
	d, during := &dialled{}, true
	call := func(name string) {
		if during || d.ends > 0 {
			w.t.Errorf("%s is called within DialMetrics: %v; after OnClose: %v", name, during, d.ends > 0)
		}
	}
	w.scraper.do(func() {
		d.MetricsSession = w.scraper.DialMetrics(ports.MetricsDial{
			Keys: w.scraper.keys, Client: to,
			OnOpen: func(p domain.Peer) {
				call("OnOpen")
				d.opens, d.peer = d.opens+1, p
			},
			OnReady: func() {
				call("OnReady")
				if d.readies++; d.opens != 1 {
					w.t.Error("OnReady comes before OnOpen")
				}
			},
			OnClose: func(err error) {
				call("OnClose")
				d.ends, d.err = d.ends+1, err
			},
		})
		during = false
	})
	return d
}

// connect listens and dials.
func (w *transportWorld) connect() (ports.Listener, *dialled) {
	w.t.Helper()
	l := w.listen(func(k domain.PublicKey) bool { return k == w.scraper.keys.Public })
	d := w.dial(w.client.keys.Public)
	w.until("the connection is ready at both ends", func() bool { return d.readies > 0 && len(w.served) > 0 })
	return l, d
}

// collect scrapes a session.
func (w *transportWorld) collect(d *dialled) (page scrape.Page, err error) {
	w.t.Helper()
	over := false
	w.scraper.do(func() {
		scrape.Collect(d, domain.ScrapeRequest{Within: scrapeTime}, 8*ports.MaxWindow, func(p scrape.Page, e error) { over, page, err = true, p, e })
	})
	w.until("the scrape ends", func() bool { return over })
	return page, err
}

// register sends the client's registration to the scraper.
func (w *transportWorld) register(change func(*ports.Registration)) (updated bool, err error) {
	w.t.Helper()
	over := 0
	w.client.do(func() {
		w.client.RegisterAlias(w.registration(change), func(u bool, e error) { over, updated, err = over+1, u, e })
		if over > 0 {
			w.t.Error("done is called within RegisterAlias")
		}
	})
	w.until("the registration ends", func() bool { return over > 0 })
	w.b.Settle()
	if over > 1 {
		w.t.Errorf("done is called %d times", over)
	}
	return updated, err
}

func (w *transportWorld) registration(change func(*ports.Registration)) ports.Registration {
	r := ports.Registration{
		Scraper: w.scraper.keys.Public, Dial: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{3})), Secret: domain.SecretFrom([32]byte{4}),
		Register: domain.Register{Alias: "wéb", Key: w.client.keys.Public, Hostname: "höst", Service: "svc", Instance: domain.Instance{5}},
	}
	if change != nil {
		change(&r)
	}
	return r
}

// TestTransport checks a transport against the contract of ports.Transport. bench makes a new network for each part.
func TestTransport(t *testing.T, bench func(t *testing.T) TransportBench) {
	part := func(name string, f func(w *transportWorld)) {
		t.Run(name, func(t *testing.T) { f(newTransportWorld(t, bench)) })
	}
	part("a client is dialled and scraped", func(w *transportWorld) {
		_, d := w.connect()
		if d.peer.Key != w.client.keys.Public || len(w.served) != 1 || w.served[0].Peer().Key != w.scraper.keys.Public {
			w.t.Errorf("the scraper is connected to %v, the client to %d", d.peer.Key, len(w.served))
		}
		w.source.Body = make([]byte, 2*ports.MaxWindow)
		for i := range w.source.Body {
			w.source.Body[i] = "0123456789\n"[i%257%11]
		}
		for range 2 {
			page, err := w.collect(d)
			if err != nil || page.Status != domain.StatusOK || !slices.Equal(page.Body, w.source.Body) {
				w.t.Errorf("status %d, %d bytes of %d, %v", page.Status, len(page.Body), len(w.source.Body), err)
			}
		}
		if n := len(w.asked); n != 2 || w.asked[0].Within <= 0 || w.asked[0].Within > scrapeTime {
			w.t.Errorf("the client was asked %d times: %+v", n, w.asked)
		}
	})
	part("a request before the connection is ready waits for it", func(w *transportWorld) {
		w.listen(func(domain.PublicKey) bool { return true })
		page, err := w.collect(w.dial(w.client.keys.Public))
		if err != nil || string(page.Body) != "up_since 1\n" {
			w.t.Errorf("%q, %v", page.Body, err)
		}
	})
	part("a failure of the client is its error", func(w *transportWorld) {
		_, d := w.connect()
		w.source.Err = errors.New("no metrics today")
		_, err := w.collect(d)
		if _, lost := errors.AsType[*ports.ConnectionError](err); err == nil || lost {
			w.t.Errorf("%v", err)
		}
		w.source.Err = nil
		if page, err := w.collect(d); err != nil || len(page.Body) == 0 {
			w.t.Errorf("the next scrape: %q, %v", page.Body, err)
		}
	})
	part("a cancelled scrape is cancelled at the client", func(w *transportWorld) {
		_, d := w.connect()
		w.source.Silent = true
		var run ports.Scrape
		w.scraper.do(func() {
			run = d.Scrape(domain.ScrapeRequest{Within: scrapeTime}, ports.ScrapeHandlers{
				OnHead: func(domain.ScrapeHead) { w.t.Error("OnHead") }, OnData: func([]byte) { w.t.Error("OnData") },
				OnEnd: func(err error) { w.t.Errorf("OnEnd(%v)", err) },
			})
		})
		w.until("the client is asked", func() bool { return w.source.Asked > 0 })
		w.scraper.do(run.Cancel)
		w.until("the client's collection is cancelled", func() bool { return w.source.Canceled > 0 })
	})
	part("the client is pinged", func(w *transportWorld) {
		_, d := w.connect()
		answers := 0
		w.scraper.do(func() {
			d.Ping(func(err error) {
				if answers++; err != nil {
					w.t.Error(err)
				}
			})
			cancel := d.Ping(func(error) { w.t.Error("a cancelled ping is answered") })
			cancel()
			cancel()
			if d.Idle() {
				w.t.Error("idle while pings are under way")
			}
		})
		w.until("an answer", func() bool { return answers > 0 })
		w.b.Settle()
		idle := false
		w.scraper.do(func() { idle = d.Idle() })
		if answers != 1 || len(w.asked) != 0 || !idle {
			w.t.Errorf("%d answers, %d collections, idle: %v", answers, len(w.asked), idle)
		}
	})
	part("a caller that is not admitted gets no connection", func(w *transportWorld) {
		w.listen(func(domain.PublicKey) bool { return false })
		d := w.dial(w.client.keys.Public)
		w.until("the dial ends", func() bool { return d.ends > 0 })
		if _, ok := errors.AsType[*ports.ConnectionError](d.err); !ok || d.opens > 0 || len(w.served) > 0 {
			w.t.Errorf("opened %d and %d times, %v", d.opens, len(w.served), d.err)
		}
	})
	part("a client that is not there is a connection error", func(w *transportWorld) {
		d := w.dial(domain.KeyPairFromSeed(domain.SeedFrom([32]byte{9})).Public)
		w.until("the dial ends", func() bool { return d.ends > 0 })
		if _, ok := errors.AsType[*ports.ConnectionError](d.err); !ok || d.opens > 0 {
			w.t.Errorf("opened %d times, %v", d.opens, d.err)
		}
	})
	part("a scraper closes its connection", func(w *transportWorld) {
		_, d := w.connect()
		w.scraper.do(func() { d.Close(nil) })
		w.until("both ends have closed", func() bool { return d.ends > 0 && w.gone > 0 })
		w.b.Settle()
		if d.err != nil || d.ends != 1 || w.gone != 1 || w.released != 0 {
			w.t.Errorf("closed %d and %d times, released %d times, %v", d.ends, w.gone, w.released, d.err)
		}
		if _, err := w.collect(d); err == nil {
			w.t.Error("a closed connection is scraped")
		}
	})
	part("a scraper closes its connection with a reason", func(w *transportWorld) {
		_, d := w.connect()
		why := errors.New("it hangs")
		w.scraper.do(func() { d.Close(why) })
		w.until("both ends have closed", func() bool { return d.ends > 0 && w.gone > 0 })
		if !errors.Is(d.err, why) {
			w.t.Errorf("closed for %v", d.err)
		}
	})
	part("a scraper releases its client", func(w *transportWorld) {
		_, d := w.connect()
		w.scraper.do(d.Release)
		w.until("both ends have closed", func() bool { return d.ends > 0 && w.gone > 0 })
		if w.released != 1 || d.err != nil {
			w.t.Errorf("released %d times, %v", w.released, d.err)
		}
	})
	part("a dial is given up", func(w *transportWorld) {
		w.listen(func(domain.PublicKey) bool { return true })
		d := w.dial(w.client.keys.Public)
		w.scraper.do(func() { d.Close(nil) })
		w.until("it has ended", func() bool { return d.ends > 0 })
		w.b.Settle()
		if d.opens != 0 || d.ends != 1 {
			w.t.Errorf("opened %d, closed %d times", d.opens, d.ends)
		}
	})
	part("requests end with the client's server", func(w *transportWorld) {
		l, d := w.connect()
		w.source.Silent = true
		var failed error
		w.scraper.do(func() {
			scrape.Collect(d, domain.ScrapeRequest{Within: scrapeTime}, 1<<20, func(_ scrape.Page, err error) {
				if failed = err; d.ends > 0 {
					w.t.Error("the request ends after OnClose")
				}
			})
		})
		w.until("the client is asked", func() bool { return w.source.Asked > 0 })
		done := false
		w.client.do(func() {
			l.Close(func() {
				if done = true; w.gone != 1 {
					w.t.Error("done comes before OnClose of the connection")
				}
			})
		})
		w.until("both ends have closed", func() bool { return done && d.ends > 0 && w.gone > 0 })
		if _, ok := errors.AsType[*ports.ConnectionError](failed); !ok || w.source.Canceled != 1 {
			w.t.Errorf("%v, cancelled %d times", failed, w.source.Canceled)
		}
	})
	part("an alias is registered", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true, Updated: true})
		opened := 0
		updated, err := w.register(func(r *ports.Registration) { r.OnOpen = func(domain.Peer) { opened++ } })
		if err != nil || !updated || opened != 1 {
			w.t.Errorf("updated %v, opened %d times, %v", updated, opened, err)
		}
		want := w.registration(nil)
		if len(w.requests) > 0 {
			want.Instance = w.requests[0].Instance // which a transport may derive from the connection's key
		}
		if len(w.requests) != 1 || w.requests[0].Register != want.Register || !w.requests[0].Secret.Equal(want.Secret) {
			w.t.Errorf("received %+v, want %+v", w.requests, want.Register)
		}
	})
	part("a registration is held until it may be sent", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true})
		var send func()
		over, sent := false, 0
		w.client.do(func() {
			w.client.RegisterAlias(w.registration(func(r *ports.Registration) {
				r.Hold, r.OnSent = func(s func()) { send = s }, func() { sent++ }
			}), func(_ bool, err error) {
				if over = true; err != nil {
					w.t.Error(err)
				}
			})
		})
		w.until("it may be sent", func() bool { return send != nil })
		w.b.Settle()
		if over || sent > 0 || len(w.requests) > 0 {
			w.t.Error("it was not held")
		}
		w.client.do(send)
		w.until("the registration ends", func() bool { return over })
		if sent != 1 {
			w.t.Errorf("it was sent %d times", sent)
		}
	})
	part("a rejection is the scraper's error", func(w *transportWorld) {
		w.accept(ports.AliasReply{Message: "unauthorised"})
		_, err := w.register(nil)
		if remote, ok := errors.AsType[*domain.RemoteError](err); !ok || remote.Message != "unauthorised" {
			w.t.Errorf("%v", err)
		}
	})
	part("a scraper that is not there is a connection error", func(w *transportWorld) {
		_, err := w.register(nil)
		if _, ok := errors.AsType[*ports.ConnectionError](err); !ok {
			w.t.Errorf("%v", err)
		}
	})
	part("a registration is sent before the scraper has it", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true})
		sent := -1
		if _, err := w.register(func(r *ports.Registration) { r.OnSent = func() { sent = len(w.requests) } }); err != nil || sent != 0 {
			w.t.Errorf("sent when the scraper had %d, %v", sent, err)
		}
	})
	part("a registration that finds no scraper is not sent", func(w *transportWorld) {
		if _, err := w.register(func(r *ports.Registration) { r.OnSent = func() { w.t.Error("sent") } }); err == nil {
			w.t.Error("registered")
		}
	})
	part("a cancelled registration is silent", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true})
		w.client.do(func() {
			cancel := w.client.RegisterAlias(w.registration(nil), func(bool, error) { w.t.Error("done is called") })
			cancel()
			cancel()
		})
		w.b.Settle()
	})
	part("an alias says goodbye", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true})
		over := false
		w.client.do(func() {
			w.client.LeaveAlias(w.registration(nil), func(err error) {
				if over = true; err != nil {
					w.t.Error(err)
				}
			})
		})
		w.until("the goodbye is answered", func() bool { return over })
		if len(w.requests) != 1 || w.requests[0].Alias != "wéb" {
			w.t.Errorf("received %+v", w.requests)
		}
	})
	part("a transport closes with all that runs on it", func(w *transportWorld) {
		w.accept(ports.AliasReply{Success: true})
		_, d := w.connect()
		closed := 0
		w.scraper.do(func() {
			for range 2 {
				w.scraper.Close(func() {
					if closed++; d.ends != 1 {
						w.t.Error("done comes before OnClose of a connection")
					}
				})
			}
		})
		w.until("both dones", func() bool { return closed == 2 && w.gone > 0 })
	})
}
