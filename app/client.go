package app

import (
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
	Transport ports.Transport
	// KeepTransport makes Close leave the transport open for others. By default the client owns it.
	KeepTransport bool

	Source  ports.MetricsSource // where the metrics come from
	Scraper domain.PublicKey    // who may scrape, and where the alias is registered
	Secret  domain.Secret       // shared with the scraper: the right to register

	Alias    domain.Alias // unique at the scraper; the last one who registers it has it
	Service  string       // what kind of service this is an instance of; may be empty
	Hostname string       // where it runs; may be empty (this package cannot ask the machine)

	// Keys is the metrics server's identity. Without one, a pair is made that lasts as long as the client.
	Keys domain.KeyPair
	// DialKeys is the identity that registrations are dialled under: a pair of its own unless given. It may be
	// the same as Keys.
	DialKeys domain.KeyPair

	RegisterInterval time.Duration // how often the alias is registered again; 1 h by default
	Retry            Retry         // after a failed registration
	CollectTimeout   time.Duration // bounds one collection; 1 min by default

	OnEvent func(domain.Event) // called on the loop for every event; may be nil
}

func (c *ClientConfig) check() error {
	var p problems
	p.must(c.Host != nil, "Host", "is required")
	p.must(c.Transport != nil, "Transport", "is required")
	p.must(c.Source != nil, "Source", "want a source of metrics")
	p.must(!c.Scraper.IsZero(), "Scraper", "want the scraper's public key")
	p.must(!c.Secret.IsZero(), "Secret", "want the 32-byte secret shared with the scraper, not all zero")
	_, err := domain.ParseAlias(string(c.Alias))
	p.name("Alias", err)
	p.name("Service", domain.CheckService(c.Service))
	p.name("Hostname", domain.CheckHostname(c.Hostname))
	p.within("RegisterInterval", &c.RegisterInterval, domain.DefaultRegisterInterval, minRegisterInterval, maxRegisterInterval)
	p.within("CollectTimeout", &c.CollectTimeout, collectTimeout, time.Millisecond, time.Hour)
	c.Retry.check(&p, "Retry")
	return p.err()
}

// Client serves metrics under its own key to one scraper and keeps an alias registered there.
type Client struct {
	cfg       ClientConfig
	listener  ports.Listener
	registrar *registrar
	started   bool
	closed    bool
	ending    ending
	running   int // collections under way
	waiting   []waitingCollection
	status    ClientStatus
}

// ClientStatus is a snapshot of a client.
type ClientStatus struct {
	Listening           bool // announced
	Registered          bool // the last registration succeeded
	LastError           error
	Registrations       uint64
	RegistrationsFailed uint64
	Connections         int // open now
	Requests            uint64
	RequestsFailed      uint64
	Blocked             uint64 // kept out by the firewall
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
	return &Client{
		cfg: cfg,
		registrar: &registrar{
			host: cfg.Host, transport: cfg.Transport, interval: cfg.RegisterInterval,
			backoff: cfg.Retry.backoff(), onEvent: cfg.OnEvent,
			request: ports.Registration{
				Scraper: cfg.Scraper, Dial: cfg.DialKeys, Secret: cfg.Secret,
				Register: domain.Register{
					Alias: cfg.Alias, Key: cfg.Keys.Public, Hostname: cfg.Hostname, Service: cfg.Service,
				},
			},
		},
	}, nil
}

// PublicKey is where the metrics are served.
func (c *Client) PublicKey() domain.PublicKey { return c.cfg.Keys.Public }

// Source is where the metrics come from.
func (c *Client) Source() ports.MetricsSource { return c.cfg.Source }

// Status is a snapshot.
func (c *Client) Status() ClientStatus {
	s := c.status
	s.Registered, s.LastError = c.registrar.registered, c.registrar.lastErr
	s.Registrations, s.RegistrationsFailed = c.registrar.succeeded, c.registrar.failed
	return s
}

// Start listens, and registers the alias once others can find the server. done is called when it listens; it does
// not wait for the registration, which is tried until it succeeds. On an error the client should be closed.
func (c *Client) Start(done func(error)) {
	if c.started || c.closed {
		c.cfg.Host.Post(func() { done(fmt.Errorf("client %w", errStarted)) })
		return
	}
	c.started = true
	listener, err := c.cfg.Transport.ListenMetrics(ports.MetricsListen{
		Keys: c.cfg.Keys, Admit: c.admit, OnOpen: c.onOpen,
	}, func(err error) {
		if c.closed {
			return
		}
		if err == nil {
			c.status.Listening = true
			c.registrar.attempt()
		}
		done(err)
	})
	if err != nil {
		c.cfg.Host.Post(func() { done(err) })
		return
	}
	c.listener = listener
	c.cfg.Transport.OnMoved(c.registrar.again)
}

// Close stops registering, tells the scraper, closes the server and, unless it is borrowed, the transport. done is
// called at the end, within closeTimeout whatever the network does. Closing twice calls both.
func (c *Client) Close(done func()) {
	c.closed = true
	if !c.ending.begin(c.cfg.Host, closeTimeout, done) {
		return
	}
	// The goodbye and the end of the server take a while each on a bad network, so they go side by side.
	waiting := 2
	next := func() {
		if waiting--; waiting > 0 {
			return
		}
		if c.cfg.KeepTransport {
			c.ending.finish()
			return
		}
		c.cfg.Transport.Close(c.ending.finish)
	}
	c.registrar.stop(func() {
		c.registrar.registered = false
		next()
	})
	c.status.Listening = false
	if c.listener == nil {
		c.cfg.Host.Post(next)
		return
	}
	c.listener.Close(next)
}

// admit is the firewall: the scraper's key and nobody else's.
func (c *Client) admit(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool {
	if remote == c.cfg.Scraper {
		return true
	}
	c.status.Blocked++
	tell(c.cfg.OnEvent, domain.FirewallBlock{RemoteKey: remote, Payload: payload, Addr: addr})
	return false
}

// clientConn is one connection of the scraper.
type clientConn struct {
	client  *Client
	uid     domain.UID
	peer    domain.Peer
	closed  bool
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
	c.status.Connections++
	tell(c.cfg.OnEvent, domain.ConnectionOpen{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer})
	return ports.MetricsHandlers{
		OnRequest: k.onRequest,
		OnError: func(err error) {
			tell(c.cfg.OnEvent, domain.ConnectionError{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer, Err: err})
		},
		OnClose: k.onClose,
	}
}

func (k *clientConn) onClose() {
	k.closed = true
	k.client.status.Connections--
	for _, r := range k.running {
		r.timer.Stop()
		r.cancel()
	}
	k.client.running -= len(k.running)
	k.running = nil
	k.client.next()
	tell(k.client.cfg.OnEvent, domain.ConnectionClose{UID: k.uid, Side: domain.SideMetrics, Peer: k.peer})
}

func (k *clientConn) onRequest(reply func(domain.MetricsReply)) {
	c := k.client
	c.status.Requests++
	tell(c.cfg.OnEvent, domain.MetricsRequest{UID: k.uid, Peer: k.peer})
	switch {
	case c.running < maxCollections:
		k.collect(reply)
	case len(c.waiting) < maxWaitingCollections:
		c.waiting = append(c.waiting, waitingCollection{k, reply})
	default:
		k.fail(reply, errBusy)
	}
}

// next starts collections that waited for others to end.
func (c *Client) next() {
	for c.running < maxCollections && len(c.waiting) > 0 {
		w := c.waiting[0]
		c.waiting = c.waiting[1:]
		if !w.conn.closed {
			w.conn.collect(w.reply)
		}
	}
}

func (k *clientConn) collect(reply func(domain.MetricsReply)) {
	c := k.client
	started, over := c.cfg.Host.Now(), false
	r := &collection{}
	k.running = append(k.running, r)
	c.running++
	finish := func(body []byte, err error) {
		if over || k.closed {
			return
		}
		over = true
		r.timer.Stop()
		k.running = slices.DeleteFunc(k.running, func(o *collection) bool { return o == r })
		c.running--
		c.next()
		if err == nil {
			err = domain.CheckBody(len(body))
		}
		if err != nil {
			k.fail(reply, err)
			return
		}
		tell(c.cfg.OnEvent, domain.MetricsSuccess{
			UID: k.uid, Peer: k.peer, Bytes: len(body), Took: c.cfg.Host.Now().Sub(started),
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
func (k *clientConn) fail(reply func(domain.MetricsReply), err error) {
	k.client.status.RequestsFailed++
	tell(k.client.cfg.OnEvent, domain.MetricsError{UID: k.uid, Peer: k.peer, Err: err})
	message := fmt.Sprintf("Failed to obtain metrics (uid %s)", k.uid)
	if large, ok := err.(*domain.BodyTooLargeError); ok {
		message = fmt.Sprintf("%s: %s", message, large)
	}
	reply(domain.MetricsReply{Message: message})
}
