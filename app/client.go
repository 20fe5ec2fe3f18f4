package app

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ClientConfig configures a Client.
type ClientConfig struct {
	Host      host.Host
	Transport ports.ClientTransport
	// KeepTransport makes Close leave the transport open for others. By default the client owns it.
	KeepTransport bool

	Source  ports.MetricsSource // where the metrics come from
	Scraper domain.PublicKey    // who may scrape, and where the alias is registered
	Secret  domain.Secret       // shared with the scraper: the right to register
	// Scrapers are more of them, or all: each is registered with and admitted by itself, and learns nothing of the
	// others, their secrets least of all.
	Scrapers []ClientScraper

	Alias    domain.Alias // unique at each scraper; the last one who registers it has it
	Service  string       // what kind of service this is an instance of; may be empty
	Hostname string       // where it runs; may be empty (this package cannot ask the machine)

	// Keys is the metrics server's identity. Without one, a pair is made that lasts as long as the client.
	Keys domain.KeyPair
	// DialKeys is the identity that registrations are dialled under: a pair of its own unless given. It may be
	// the same as Keys.
	DialKeys domain.KeyPair
	// Instance tells this process from others that run with the same Keys, so that the goodbye of one of them does not
	// take the alias from the rest. By default it is derived from DialKeys, or drawn if those are Keys.
	Instance domain.Instance

	RegisterInterval time.Duration // how often the alias is registered again; 1 h by default
	Retry            Retry         // after a failed registration
	CollectTimeout   time.Duration // bounds one collection; 1 min by default

	OnEvent func(domain.Event) // called on the loop for every event; may be nil
}

// ClientScraper is a scraper that a client serves.
type ClientScraper struct {
	Key    domain.PublicKey // who may scrape, and where the alias is registered
	Secret domain.Secret    // shared with it: the right to register
}

// scrapers are all of them, the single one first.
func (c *ClientConfig) scrapers() []ClientScraper {
	if c.Scraper.IsZero() && c.Secret.IsZero() {
		return c.Scrapers
	}
	return append([]ClientScraper{{c.Scraper, c.Secret}}, c.Scrapers...)
}

const (
	wantScraper = "want the scraper's public key"
	wantSecret  = "want the 32-byte secret shared with the scraper, not all zero"
)

func (c *ClientConfig) check() error {
	var p problems
	p.must(c.Host != nil, "Host", "is required")
	p.must(c.Transport != nil, "Transport", "is required")
	c.checkValues(&p)
	return p.err()
}

// checkValues checks all but the host and the transport, and sets defaults.
func (c *ClientConfig) checkValues(p *problems) {
	p.must(c.Source != nil, "Source", "want a source of metrics")
	if len(c.Scrapers) == 0 || !c.Scraper.IsZero() || !c.Secret.IsZero() {
		p.must(!c.Scraper.IsZero(), "Scraper", wantScraper)
		p.must(!c.Secret.IsZero(), "Secret", wantSecret)
	}
	for i, s := range c.Scrapers {
		field := fmt.Sprintf("Scrapers[%d]", i)
		p.must(!s.Key.IsZero(), field+".Key", wantScraper)
		p.must(!s.Secret.IsZero(), field+".Secret", wantSecret)
		twice := func(o ClientScraper) bool { return o.Key == s.Key }
		p.must(s.Key != c.Scraper && !slices.ContainsFunc(c.Scrapers[:i], twice), field+".Key", "is there twice")
	}
	p.must(len(c.scrapers()) <= maxScrapers, "Scrapers", fmt.Sprintf("want at most %d, got %d", maxScrapers, len(c.scrapers())))
	_, err := domain.ParseAlias(string(c.Alias))
	p.name("Alias", err)
	p.name("Service", domain.CheckService(c.Service))
	p.name("Hostname", domain.CheckHostname(c.Hostname))
	p.within("RegisterInterval", &c.RegisterInterval, domain.DefaultRegisterInterval, minRegisterInterval, maxRegisterInterval)
	p.within("CollectTimeout", &c.CollectTimeout, collectTimeout, time.Millisecond, time.Hour)
	c.Retry.check(p, "Retry")
}

// Client serves metrics under its own key to its scrapers and keeps an alias registered with each of them.
type Client struct {
	cfg      ClientConfig
	listener ports.Listener
	unwatch  func()
	scrapers []*clientScraper // in the order configured
	started  bool
	closed   bool
	ending   ending

	listening bool
	held      []func()   // sends requests that wait for the announcement
	patience  host.Timer // until they are sent without it; nil when nothing waits any more
	unaware   func()     // ends what is told of the network
	grouped   bool       // another client of the group tells of the network
	blocked   uint64
}

// clientScraper is what a client has to do with one of its scrapers.
type clientScraper struct {
	key       domain.PublicKey
	registrar *registrar
	limit     int // collections at once
	running   int // collections under way
	waiting   []waitingCollection

	missing  host.Timer     // until it is told again who we are; nil while it is connected
	misses   domain.Backoff // of that
	since    host.Instant   // when it connected
	released bool           // it does not want us; until it connects again

	connections int
	requests    uint64
	failed      uint64
	bytes       uint64
}

// ClientStatus is a snapshot of a client: the sums over its scrapers, and each of them.
type ClientStatus struct {
	Listening           bool  // announced
	Registered          bool  // the last registration succeeded, with one scraper at least
	LastError           error // of the last registration, with the first scraper that has one
	Registrations       uint64
	RegistrationsFailed uint64
	Connections         int // open now
	Requests            uint64
	RequestsFailed      uint64
	Blocked             uint64 // kept out by the firewall

	Scrapers []ClientScraperStatus // in the order configured
}

// ClientScraperStatus is what a client has to do with one of its scrapers.
type ClientScraperStatus struct {
	Key                 domain.PublicKey
	Registered          bool // the last registration succeeded
	LastError           error
	Registrations       uint64
	RegistrationsFailed uint64
	Connections         int // open now
	Requests            uint64
	RequestsFailed      uint64
	Bytes               uint64 // of metrics, sent
}

// NewClient checks the configuration. Nothing happens before Start.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Keys.IsZero() {
		cfg.Keys = newKeyPair(cfg.Host)
	}
	if cfg.DialKeys.IsZero() {
		cfg.DialKeys = newKeyPair(cfg.Host)
	}
	if cfg.Instance.IsZero() {
		cfg.Instance = domain.InstanceOf(cfg.DialKeys.Public, cfg.Keys.Public)
	}
	if cfg.Instance.IsZero() {
		host.Draw(cfg.Host.Rand(), cfg.Instance[:])
	}
	c := &Client{cfg: cfg}
	scrapers := cfg.scrapers()
	for _, s := range scrapers {
		k := &clientScraper{
			key: s.Key, misses: domain.Backoff{Min: sessionPatience, Max: cfg.RegisterInterval},
			// None of them can keep the others from their metrics.
			limit: max(1, maxCollections/len(scrapers)),
			registrar: &registrar{
				host: cfg.Host, transport: cfg.Transport, interval: cfg.RegisterInterval,
				backoff: cfg.Retry.backoff(), onEvent: cfg.OnEvent, hold: c.hold,
				request: ports.Registration{
					Scraper: s.Key, Dial: cfg.DialKeys, Secret: s.Secret,
					Register: domain.Register{
						Alias: cfg.Alias, Key: cfg.Keys.Public, Hostname: cfg.Hostname, Service: cfg.Service,
						Instance: cfg.Instance,
					},
				},
			},
		}
		c.scrapers = append(c.scrapers, k)
	}
	return c, nil
}

// PublicKey is where the metrics are served.
func (c *Client) PublicKey() domain.PublicKey { return c.cfg.Keys.Public }

// Source is where the metrics come from.
func (c *Client) Source() ports.MetricsSource { return c.cfg.Source }

// Alias is the name under which it is registered.
func (c *Client) Alias() domain.Alias { return c.cfg.Alias }

// Status is a snapshot.
func (c *Client) Status() ClientStatus {
	s := ClientStatus{Listening: c.listening, Blocked: c.blocked}
	for _, k := range c.scrapers {
		one := ClientScraperStatus{
			Key: k.key, Registered: k.registrar.registered, LastError: k.registrar.lastErr,
			Registrations: k.registrar.succeeded, RegistrationsFailed: k.registrar.failed,
			Connections: k.connections, Requests: k.requests, RequestsFailed: k.failed, Bytes: k.bytes,
		}
		s.Scrapers = append(s.Scrapers, one)
		s.Registered = s.Registered || one.Registered
		if s.LastError == nil {
			s.LastError = one.LastError
		}
		s.Registrations += one.Registrations
		s.RegistrationsFailed += one.RegistrationsFailed
		s.Connections += one.Connections
		s.Requests += one.Requests
		s.RequestsFailed += one.RequestsFailed
	}
	return s
}

// Start listens, and registers the alias: it connects to the scrapers at once, and asks them when others can find the
// server, or after announcePatience. done is called when they can, so never while no DHT node answers; it does not wait
// for the registration, which is tried until it succeeds. On an error the client should be closed.
func (c *Client) Start(done func(error)) {
	if c.started || c.closed {
		c.cfg.Host.Post(func() { done(fmt.Errorf("client %w", errStarted)) })
		return
	}
	c.started = true
	listener, err := c.cfg.Transport.ListenMetrics(ports.MetricsListen{
		Keys: c.cfg.Keys, Admit: c.admit, Known: func(k domain.PublicKey) bool { return c.scraper(k) != nil }, OnOpen: c.onOpen,
	}, func(err error) {
		if c.closed {
			return
		}
		if err == nil {
			c.listening = true
			c.release()
		}
		done(err)
	})
	if err != nil {
		c.cfg.Host.Post(func() { done(err) })
		return
	}
	c.listener = listener
	// A registration needs no announcement, and says best what is wrong where there is none.
	c.patience = c.cfg.Host.AfterFunc(announcePatience, c.release)
	if !c.grouped {
		c.unaware = watchNetwork(c.cfg.Transport, c.cfg.OnEvent)
	}
	c.unwatch = c.cfg.Transport.OnMoved(func(m ports.Move) {
		for _, k := range c.scrapers {
			if m == ports.MoveElsewhere || k.connections == 0 {
				k.registrar.again()
			}
		}
	})
	for _, k := range c.scrapers {
		k.registrar.attempt()
	}
}

// hold calls send once the server is announced, or after announcePatience.
func (c *Client) hold(send func()) {
	if c.patience == nil {
		send()
		return
	}
	c.held = append(c.held, send)
}

// release sends what waited for the announcement.
func (c *Client) release() {
	if c.patience == nil || c.closed {
		return
	}
	c.patience.Stop()
	c.patience = nil
	held := c.held
	c.held = nil
	for _, send := range held {
		send()
	}
}

// await registers again if the scraper's connection has ended and does not come back within a while: it may have lost its
// table, or its next dial may be far off. It does so once: a scraper that has taken the registration knows us, and more of
// them would take the turns of its dials, where the way needs a punch that guesses ports. It does not if the scraper
// has let go of the client, which has lost its alias to another one: two that want the same would take it from each other.
//
// silent means that nothing had come for as long as the wait is at the least, before the connection was given up.
func (c *Client) await(k *clientScraper, silent bool) {
	if c.closed || k.registrar == nil || k.connections > 0 || k.missing != nil || k.released {
		return
	}
	if k.since != 0 && c.cfg.Host.Now().Sub(k.since) >= stableAfter {
		k.misses.Reset() // scrapers of older versions do not say that they let go
	}
	k.since = 0
	wait := k.misses.Next(random(c.cfg.Host)) + jitter(c.cfg.Host, sessionSpread)
	if silent {
		wait -= sessionPatience
	}
	known := k.registrar.succeeded
	k.missing = c.cfg.Host.AfterFunc(wait, func() {
		k.missing = nil
		if k.registrar.succeeded == known { // else the scraper has heard of us meanwhile
			k.registrar.renew()
		}
	})
}

// connected ends the wait for a scraper.
func (s *clientScraper) connected(now host.Instant) {
	if s.connections++; s.connections == 1 {
		s.since, s.released = now, false
	}
	if s.missing != nil {
		s.missing.Stop()
		s.missing = nil
	}
}

// Close stops registering, tells the scrapers, closes the server and, unless it is borrowed, the transport. done is
// called at the end, within closeTimeout whatever the network does. Closing twice calls both.
func (c *Client) Close(done func()) {
	c.closed = true
	if !c.ending.begin(c.cfg.Host, closeTimeout, done) {
		return
	}
	if c.unwatch != nil {
		c.unwatch()
	}
	if c.unaware != nil {
		c.unaware()
	}
	if c.patience != nil {
		c.patience.Stop()
	}
	for _, k := range c.scrapers {
		if k.missing != nil {
			k.missing.Stop()
		}
	}
	// The goodbyes and the end of the server take a while each on a bad network, so they go side by side.
	closing := host.NewJoin(func() {
		if c.cfg.KeepTransport {
			c.ending.finish()
			return
		}
		c.cfg.Transport.Close(c.ending.finish)
	})
	unserved := closing.Add()
	for _, k := range c.scrapers {
		stopped := closing.Add()
		k.registrar.stop(func() {
			k.registrar.registered = false
			stopped()
		})
	}
	c.listening = false
	if c.listener == nil {
		c.cfg.Host.Post(unserved)
		return
	}
	c.listener.Close(unserved)
}

// scraper finds the scraper with a key.
func (c *Client) scraper(key domain.PublicKey) *clientScraper {
	for _, k := range c.scrapers {
		if k.key == key {
			return k
		}
	}
	return nil
}

// admit is the firewall: the scrapers' keys and nobody else's.
func (c *Client) admit(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool {
	if c.scraper(remote) != nil {
		return true
	}
	c.blocked++
	tell(c.cfg.OnEvent, domain.FirewallBlock{RemoteKey: remote, Payload: payload, Addr: addr})
	return false
}

// clientConn is one connection of a scraper.
type clientConn struct {
	client  *Client
	scraper *clientScraper
	uid     domain.UID
	peer    domain.Peer
	closed  bool
	silent  bool          // the peer was, until the end
	running []*collection // under way
}

// waitingCollection is a request that came while enough others were being answered.
type waitingCollection struct {
	conn  *clientConn
	reply func(domain.MetricsReply)
}

// collection is one run of the metrics source.
type collection struct {
	cancel func()
	timer  host.Timer
}

func (c *Client) onOpen(conn ports.Conn) ports.MetricsHandlers {
	k := &clientConn{client: c, uid: newUID(c.cfg.Host), peer: conn.Peer()}
	if k.scraper = c.scraper(k.peer.Key); k.scraper == nil {
		k.scraper = &clientScraper{} // which may collect nothing
		conn.Close(errNotAdmitted)
	}
	k.scraper.connected(c.cfg.Host.Now())
	tell(c.cfg.OnEvent, domain.ConnectionOpen{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer})
	return ports.MetricsHandlers{
		OnRequest:  k.onRequest,
		OnReleased: func() { k.scraper.released = true },
		OnError: func(err error) {
			e, ok := errors.AsType[*ports.ConnectionError](err)
			k.silent = ok && e.Silent
			tell(c.cfg.OnEvent, domain.ConnectionError{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer, Err: err})
		},
		OnClose: k.onClose,
	}
}

func (cc *clientConn) onClose() {
	cc.closed = true
	cc.scraper.connections--
	cc.client.await(cc.scraper, cc.silent)
	for _, r := range cc.running {
		r.timer.Stop()
		r.cancel()
	}
	cc.scraper.running -= len(cc.running)
	cc.running = nil
	cc.scraper.next()
	tell(cc.client.cfg.OnEvent, domain.ConnectionClose{UID: cc.uid, Side: domain.SideMetrics, Peer: cc.peer})
}

func (cc *clientConn) onRequest(reply func(domain.MetricsReply)) {
	s := cc.scraper
	s.requests++
	tell(cc.client.cfg.OnEvent, domain.MetricsRequest{UID: cc.uid, Peer: cc.peer})
	switch {
	case s.running < s.limit:
		cc.collect(reply)
	case len(s.waiting) < maxWaitingCollections:
		s.waiting = append(s.waiting, waitingCollection{cc, reply})
	default:
		cc.fail(reply, errBusy)
	}
}

// next starts collections that waited for others to end.
func (s *clientScraper) next() {
	for s.running < s.limit && len(s.waiting) > 0 {
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		if !w.conn.closed {
			w.conn.collect(w.reply)
		}
	}
}

func (cc *clientConn) collect(reply func(domain.MetricsReply)) {
	c, s := cc.client, cc.scraper
	started, over := c.cfg.Host.Now(), false
	r := &collection{}
	cc.running = append(cc.running, r)
	s.running++
	finish := func(body []byte, err error) {
		if over || cc.closed {
			return
		}
		over = true
		r.timer.Stop()
		cc.running = slices.DeleteFunc(cc.running, func(o *collection) bool { return o == r })
		s.running--
		s.next()
		if err == nil {
			err = domain.CheckBody(len(body))
		}
		if err != nil {
			cc.fail(reply, err)
			return
		}
		s.bytes += uint64(len(body))
		tell(c.cfg.OnEvent, domain.MetricsSuccess{
			UID: cc.uid, Peer: cc.peer, Bytes: len(body), Took: c.cfg.Host.Now().Sub(started),
		})
		reply(domain.MetricsReply{Success: true, Body: body})
	}
	r.timer = c.cfg.Host.AfterFunc(c.cfg.CollectTimeout, func() {
		r.cancel()
		finish(nil, &domain.TimeoutError{Waiting: "the metrics source", After: c.cfg.CollectTimeout})
	})
	r.cancel = c.cfg.Source.Collect(c.cfg.CollectTimeout, finish)
}

// fail keeps the reason here. The scraper gets the uid, and the size where that was the problem: nobody can mend
// that at the client alone.
func (cc *clientConn) fail(reply func(domain.MetricsReply), err error) {
	cc.scraper.failed++
	tell(cc.client.cfg.OnEvent, domain.MetricsError{UID: cc.uid, Peer: cc.peer, Err: err})
	message := fmt.Sprintf("Failed to obtain metrics (uid %s)", cc.uid)
	if large, ok := err.(*domain.BodyTooLargeError); ok {
		message = fmt.Sprintf("%s: %s", message, large)
	}
	reply(domain.MetricsReply{Message: message})
}
