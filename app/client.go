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

	Scraper domain.PublicKey // allowed to scrape; the alias is registered with it
	Secret  domain.Secret    // shared with the scraper; authorizes registrations
	// Scrapers are additional scrapers, or all of them. Each is registered with and admitted separately, and learns nothing of
	// the others, in particular not their secrets.
	Scrapers []ClientScraper

	Source   ports.MetricsSource // where the metrics come from
	Alias    domain.Alias        // unique per scraper; the most recent registration wins
	Service  string              // service that this is an instance of; may be empty
	Hostname string              // host name; may be empty (this package does not look it up)
	// Targets, unless nil, replace the four fields above: the client serves them under one key and registers them together, as a set.
	// SetTargets changes them.
	Targets []ClientTarget

	// Keys is the metrics server's identity. If zero, NewClient draws a pair.
	Keys domain.KeyPair
	// DialKeys is the identity that registrations are dialled under: a separate pair by default. It may be the same as Keys.
	DialKeys domain.KeyPair
	// Instance distinguishes this process from others with the same Keys, so that the goodbye of one does not remove the alias of
	// the rest. By default it is derived from DialKeys, or drawn if those are Keys.
	Instance domain.Instance

	RegisterInterval time.Duration // between registrations; 1 h by default
	Retry            Retry         // after a failed registration
	// CollectTimeout bounds one collection. By default the time of its request does, and 1 min where the request has none.
	CollectTimeout time.Duration

	OnEvent func(domain.Event) // called on the loop for every event; may be nil
}

// ClientScraper is a scraper that a client serves.
type ClientScraper struct {
	Key    domain.PublicKey // allowed to scrape; the alias is registered with it
	Secret domain.Secret    // shared with it; authorizes registrations
	Addrs  []domain.Address // at which it is dialled first, without the DHT; may be empty
}

// scrapers returns all scrapers, the single one first.
func (c *ClientConfig) scrapers() []ClientScraper {
	if c.Scraper.IsZero() && c.Secret.IsZero() {
		return c.Scrapers
	}
	return append([]ClientScraper{{Key: c.Scraper, Secret: c.Secret}}, c.Scrapers...)
}

const (
	wantScraper = "want the scraper's public key"
	wantSecret  = "want the 32-byte secret shared with the scraper, not all zero"
)

// Check is NewClient's check of all but the host and the transport, for programs that only validate a configuration.
func (c ClientConfig) Check() error {
	var p problems
	c.checkValues(&p)
	return p.err()
}

func (c *ClientConfig) check() error {
	var p problems
	p.must(c.Host != nil, "Host", "is required")
	p.must(c.Transport != nil, "Transport", "is required")
	c.checkValues(&p)
	return p.err()
}

// checkValues checks all but the host and the transport, and sets defaults.
func (c *ClientConfig) checkValues(p *problems) {
	if c.Targets == nil {
		p.must(c.Source != nil, "Source", "want a source of metrics")
		_, err := domain.ParseAlias(string(c.Alias))
		p.name("Alias", err)
		p.name("Service", domain.CheckService(c.Service))
		p.name("Hostname", domain.CheckHostname(c.Hostname))
	} else {
		p.must(c.Source == nil && c.Alias == "" && c.Service == "" && c.Hostname == "", "Targets", "want Source, Alias, Service and Hostname in the targets only")
		_, err := setOf(c.Targets)
		p.name("Targets", err)
	}
	if len(c.Scrapers) == 0 || !c.Scraper.IsZero() || !c.Secret.IsZero() {
		p.must(!c.Scraper.IsZero(), "Scraper", wantScraper)
		p.must(!c.Secret.IsZero(), "Secret", wantSecret)
	}
	for i, s := range c.Scrapers {
		field := fmt.Sprintf("Scrapers[%d]", i)
		p.must(!s.Key.IsZero(), field+".Key", wantScraper)
		p.must(!s.Secret.IsZero(), field+".Secret", wantSecret)
		twice := func(o ClientScraper) bool { return o.Key == s.Key }
		p.must(s.Key != c.Scraper && !slices.ContainsFunc(c.Scrapers[:i], twice), field+".Key", "duplicate")
	}
	p.must(len(c.scrapers()) <= maxScrapers, "Scrapers", fmt.Sprintf("want at most %d, got %d", maxScrapers, len(c.scrapers())))
	p.within("RegisterInterval", &c.RegisterInterval, domain.DefaultRegisterInterval, minRegisterInterval, maxRegisterInterval)
	p.must(c.CollectTimeout == 0 || c.CollectTimeout >= time.Millisecond && c.CollectTimeout <= time.Hour, "CollectTimeout",
		fmt.Sprintf("want 1ms to 1h, or 0 for the time of the request, got %s", c.CollectTimeout))
	c.Retry.check(p, "Retry")
}

// Client serves metrics under its own key to its scrapers and keeps an alias, or a set of them, registered with each.
type Client struct {
	cfg      ClientConfig
	targets  map[domain.Alias]ClientTarget
	set      domain.TargetSet // of the targets; empty without ClientConfig.Targets
	singles  singles
	listener ports.Listener
	unwatch  func()
	scrapers []*clientScraper // in the order configured
	started  bool
	closed   bool
	shutdown shutdown

	listening bool
	found     func(error) // ends Start, once
	held      []func()    // sends requests that wait for the announcement
	patience  host.Timer  // sends them without it; nil when none wait
	unaware   func()      // cancels the network events
	member    bool        // it is one of singles, whose client reports network events
	blocked   uint64
}

// clientScraper is a client's state for one of its scrapers.
type clientScraper struct {
	key       domain.PublicKey
	registrar *registrar
	texts     queue                          // requests for text
	targets   map[domain.Alias]*targetQueues // of those that were requested

	missing  host.Timer     // until the next registration; nil while it is connected
	misses   domain.Backoff // of missing
	unfound  domain.Backoff // the same while no DHT node leads here
	unmet    domain.Backoff // the same while another member of the scraper's group is to connect
	since    host.Instant   // when it connected
	released bool           // it has released this client; until it connects again

	connections int
	conn        ports.Conn // the last one to open
}

// ClientStatus is a snapshot of a client: totals over its scrapers, and each of them.
type ClientStatus struct {
	Listening           bool  // announced
	Registered          bool  // the last registration succeeded with at least one scraper
	LastError           error // of the last registration, of the first scraper with one
	Registrations       uint64
	RegistrationsFailed uint64
	Connections         int // open now
	Requests            uint64
	RequestsFailed      uint64
	Blocked             uint64 // rejected by the firewall

	Scrapers []ClientScraperStatus // in the order configured
}

// ClientScraperStatus is a client's status with one of its scrapers.
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
	// Ago is the time since the last successful registration, 0 before the first; Next is the time until the next attempt, 0 in one.
	Ago, Next time.Duration
	Path      domain.Path // of the last connection to open, while there is one
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
	c := &Client{cfg: cfg, targets: map[domain.Alias]ClientTarget{}}
	c.singles = singles{client: c, members: map[domain.Alias]*singleClient{}}
	if cfg.Targets == nil {
		c.targets[cfg.Alias] = ClientTarget{Source: cfg.Source, Target: domain.Target{Alias: cfg.Alias, Hostname: cfg.Hostname, Service: cfg.Service}}
	} else {
		_ = c.take(cfg.Targets) // they are checked
	}
	for _, s := range cfg.scrapers() {
		c.addScraper(s)
	}
	return c, nil
}

// addScraper adds a scraper, without registering with it.
func (c *Client) addScraper(s ClientScraper) *clientScraper {
	cfg := &c.cfg
	k := &clientScraper{
		key: s.Key, misses: domain.Backoff{Min: sessionPatience, Max: cfg.RegisterInterval},
		unfound: domain.Backoff{Min: domain.RetryMin, Max: unfoundMax}, unmet: domain.Backoff{Min: elsewherePatience, Max: cfg.RegisterInterval}, targets: map[domain.Alias]*targetQueues{},
		// No scraper can block the others.
		texts: queue{limit: max(1, maxCollections/len(cfg.scrapers())), most: maxWaitingCollections},
		registrar: &registrar{
			host: cfg.Host, transport: cfg.Transport, interval: cfg.RegisterInterval,
			backoff: cfg.Retry.backoff(), onEvent: cfg.OnEvent, hold: func(send func()) { c.hold(s, send) },
			request: ports.Registration{
				Scraper: s.Key, Addrs: s.Addrs, Dial: cfg.DialKeys, Secret: s.Secret,
				Register: domain.Register{
					Alias: cfg.Alias, Key: cfg.Keys.Public, Hostname: cfg.Hostname, Service: cfg.Service,
					Instance: cfg.Instance,
				},
			},
		},
	}
	if cfg.Targets != nil {
		k.registrar.request.Set = &ports.SetRegistration{Targets: c.set, Former: c.former}
		k.registrar.set.onOlder = func(older bool) {
			c.singles.serve(ClientScraper{Key: k.key, Secret: k.registrar.request.Secret, Addrs: k.registrar.request.Addrs}, older)
		}
	}
	if b := &k.registrar.backoff; len(s.Addrs) > 0 {
		b.Max = max(b.Min, min(b.Max, knownRetryMax))
		k.registrar.onEvent = func(e domain.Event) {
			tell(cfg.OnEvent, e)
			if _, registered := e.(domain.RegisterAliasSuccess); registered {
				c.found(nil) // it scrapes on this connection
			}
		}
	}
	k.registrar.request.OnElsewhere = func() { c.expect(k) }
	c.scrapers = append(c.scrapers, k)
	return k
}

// PublicKey is the key of the metrics server.
func (c *Client) PublicKey() domain.PublicKey { return c.cfg.Keys.Public }

// Status returns a snapshot.
func (c *Client) Status() ClientStatus {
	s := ClientStatus{Listening: c.listening, Blocked: c.blocked}
	for _, k := range c.scrapers {
		one := c.scraperStatus(k)
		c.singles.addTo(&one)
		s.add(one)
	}
	return s
}

// scraperStatus is the status with a scraper, without the targets that are registered by themselves.
func (c *Client) scraperStatus(k *clientScraper) ClientScraperStatus {
	one := k.status()
	for _, t := range k.targets {
		one.Requests, one.RequestsFailed, one.Bytes = one.Requests+t.requests, one.RequestsFailed+t.failed, one.Bytes+t.bytes
	}
	return one
}

// status is the status of a scraper without requests.
func (s *clientScraper) status() ClientScraperStatus {
	ago, next := s.registrar.times()
	path := domain.PathUnknown
	if s.connections > 0 {
		path = s.conn.Peer().Path
	}
	return ClientScraperStatus{
		Ago: ago, Next: next, Path: path,
		Key: s.key, Registered: s.registrar.registered, LastError: s.registrar.lastErr,
		Registrations: s.registrar.succeeded, RegistrationsFailed: s.registrar.failed, Connections: s.connections,
	}
}

// add adds the status of a scraper to the totals.
func (s *ClientStatus) add(one ClientScraperStatus) {
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

// Start listens, and registers the alias: it connects to the scrapers at once, and sends the registrations when the server can be
// found, or after ten seconds, and at once where a scraper's address is known. done is called when it can be found, or such a scraper has
// its registration: so never while neither a DHT node answers nor a scraper at a known address. It does not wait for
// the registration, which is repeated until it succeeds. After an error the client should be closed.
func (c *Client) Start(done func(error)) {
	if c.started || c.closed {
		c.cfg.Host.Post(func() { done(fmt.Errorf("client %w", errStarted)) })
		return
	}
	c.started = true
	c.found = func(err error) {
		c.found = func(error) {}
		done(err)
	}
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
		c.found(err)
	})
	if err != nil {
		c.cfg.Host.Post(func() { done(err) })
		return
	}
	c.listener = listener
	// A registration needs no announcement, and its error is the best diagnosis where there is none.
	c.patience = c.cfg.Host.AfterFunc(announcePatience, c.release)
	if !c.member {
		c.unaware = watchNetwork(c.cfg.Transport, c.cfg.OnEvent)
	}
	c.unwatch = c.cfg.Transport.OnMoved(func(m ports.Move) {
		for _, k := range c.scrapers {
			if m != ports.MoveIntoReach || k.connections == 0 {
				k.registrar.again()
			}
		}
	})
	for _, k := range c.scrapers {
		k.registrar.attempt()
	}
}

// hold calls send once the server is announced, or after announcePatience. A scraper with a known address needs no announcement: it scrapes
// on the connection of the registration.
func (c *Client) hold(s ClientScraper, send func()) {
	if c.patience == nil || len(s.Addrs) > 0 {
		send()
		return
	}
	c.held = append(c.held, send)
}

// release sends the requests that waited for the announcement.
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

// await registers again if the scraper's connection has ended and no other follows within a while: the scraper may have lost its
// table, or its next dial may be far off. It does so once: a scraper that accepted the registration knows the client, and more
// registrations would take the turns of its dials, where the path needs a punch that guesses ports. It does nothing if the
// scraper has released the client, whose alias another client has taken: two clients with the same alias would take it from each
// other.
//
// silent means that nothing had arrived for at least the wait before the connection was given up. Where no DHT node leads to this client,
// no dial of the scraper can come, and it registers sooner.
func (c *Client) await(k *clientScraper, silent bool) {
	if c.closed || k.registrar == nil || k.connections > 0 || k.missing != nil || k.released {
		return
	}
	if k.since != 0 && c.cfg.Host.Now().Sub(k.since) >= stableAfter {
		k.unfound.Reset()
		k.unmet.Reset()
		k.misses.Reset() // scrapers of older versions do not announce a release
	}
	k.since = 0
	var wait time.Duration
	if !c.listening && len(k.registrar.request.Addrs) > 0 {
		wait = k.unfound.Next(random(c.cfg.Host)) + jitter(c.cfg.Host, unfoundSpread)
	} else {
		wait = k.misses.Next(random(c.cfg.Host)) + jitter(c.cfg.Host, sessionSpread)
		if silent {
			wait -= sessionPatience
		}
	}
	c.renewAfter(k, wait)
}

// expect registers again unless a connection comes within a while: the scraper belongs to a group, of which another member is to connect. If
// that one cannot reach this client, it reports it to the others, and then the leader takes the connection that the next registration offers.
func (c *Client) expect(k *clientScraper) {
	if c.closed || k.connections > 0 || k.released {
		return
	}
	if k.missing != nil {
		k.missing.Stop()
	}
	c.renewAfter(k, k.unmet.Next(random(c.cfg.Host))+jitter(c.cfg.Host, sessionSpread))
}

// renewAfter registers again after a wait, unless a connection comes, or another registration succeeds.
func (c *Client) renewAfter(k *clientScraper, wait time.Duration) {
	known := k.registrar.succeeded
	k.missing = c.cfg.Host.AfterFunc(wait, func() {
		k.missing = nil
		if k.registrar.succeeded == known {
			k.registrar.renew()
		}
	})
}

// renew registers again, once.
func (s *clientScraper) renew() {
	if s.registrar != nil { // else it is not admitted
		s.registrar.renew()
	}
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

// Close stops registering, says goodbye to the scrapers, closes the server and, unless it is borrowed, the transport. done is
// called at the end, within four seconds whatever the network does. Closing twice calls both.
func (c *Client) Close(done func()) {
	c.closed = true
	if !c.shutdown.begin(c.cfg.Host, closeTimeout, done) {
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
	// The goodbyes and the server's close both take a while on a bad network, so they run concurrently.
	closing := host.NewJoin(func() {
		if c.cfg.KeepTransport {
			c.shutdown.finish()
			return
		}
		c.cfg.Transport.Close(c.shutdown.finish)
	})
	unserved := closing.Add()
	c.singles.close(closing)
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

// dropScraper ends the registration with a scraper, which is not admitted any more. done is called after the goodbye.
func (c *Client) dropScraper(k *clientScraper, done func()) {
	if k.missing != nil {
		k.missing.Stop()
	}
	k.registrar.stop(done)
	c.scrapers = slices.DeleteFunc(c.scrapers, func(o *clientScraper) bool { return o == k })
}

// scraper returns the scraper with a key.
func (c *Client) scraper(key domain.PublicKey) *clientScraper {
	for _, k := range c.scrapers {
		if k.key == key {
			return k
		}
	}
	return nil
}

// admit is the firewall: it admits the scrapers' keys only.
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
	conn    ports.Conn
	uid     domain.UID
	peer    domain.Peer // as it was at first
	silent  bool        // the peer, until the end
}

func (c *Client) onOpen(conn ports.Conn) ports.MetricsHandlers {
	k := &clientConn{client: c, conn: conn, uid: newUID(c.cfg.Host), peer: conn.Peer()}
	if k.scraper = c.scraper(k.peer.Key); k.scraper == nil {
		k.scraper = &clientScraper{} // without room for requests
		conn.Close(errNotAdmitted)
	}
	k.scraper.conn = conn
	k.scraper.connected(c.cfg.Host.Now())
	tell(c.cfg.OnEvent, domain.ConnectionOpen{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer})
	return ports.MetricsHandlers{
		OnScrape:   k.onScrape,
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
	cc.scraper.connections--
	cc.client.await(cc.scraper, cc.silent)
	tell(cc.client.cfg.OnEvent, domain.ConnectionClose{UID: cc.uid, Side: domain.SideMetrics, Peer: cc.peer})
}
