package portstest

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Latency is the one-way delay of everything on a Network.
const Latency = 10 * time.Millisecond

// offerTime is the time for which dials take the connection of a registration.
const offerTime = time.Second

// Errors of a Network, inside *ports.ConnectionError.
var (
	ErrPeerNotFound = errors.New("peer not found")
	ErrRefused      = errors.New("refused by the peer's firewall")
	ErrLost         = errors.New("connection lost")
	ErrSilent       = errors.New("no packet from the peer for too long")
	ErrEnded        = errors.New("connection ended")
)

// Network connects transports of one process by public key.
type Network struct {
	// Silent prevents announcements: no DHT node answers.
	Silent bool
	// Texts has scrapers request texts, as those of other implementations do: without a time, and without cancels.
	Texts bool
	// Version is the version of the clients' programs.
	Version string
	// NoSets has scrapers answer registrations of sets as those of older versions do, which do not know the method.
	NoSets bool

	loop    host.Host
	metrics map[domain.PublicKey]*server
	aliases map[domain.PublicKey]*server
	down    map[domain.PublicKey]bool
	silent  map[domain.PublicKey]bool
	paths   map[domain.PublicKey]domain.Path
	addrs   map[domain.PublicKey]netip.Addr
	links   []*link // open ones, in the order opened
	ports   uint16

	Dials int // dials so far, of both kinds
}

// NewNetwork returns a network without hosts.
func NewNetwork(loop host.Host) *Network {
	return &Network{
		loop:    loop,
		metrics: map[domain.PublicKey]*server{}, aliases: map[domain.PublicKey]*server{},
		down: map[domain.PublicKey]bool{}, silent: map[domain.PublicKey]bool{}, paths: map[domain.PublicKey]domain.Path{},
		addrs: map[domain.PublicKey]netip.Addr{},
		ports: 40000,
	}
}

// Cut makes a key unreachable, or reachable again, and breaks its connections.
func (n *Network) Cut(key domain.PublicKey, cut bool) {
	n.down[key] = cut
	if cut {
		n.Break(key)
	}
}

// Mute makes a key accept connections but never open a channel on them.
func (n *Network) Mute(key domain.PublicKey, mute bool) { n.silent[key] = mute }

// Freeze keeps the connections that a key serves open but carries nothing on them any more, as after its process was killed
// without a goodbye. New connections work.
func (n *Network) Freeze(key domain.PublicKey) {
	for _, l := range n.links {
		if l.server.key == key {
			l.frozen = true
		}
	}
}

// SetPath sets the path of new connections to the metrics of a key. The default is domain.PathDirect.
func (n *Network) SetPath(key domain.PublicKey, p domain.Path) { n.paths[key] = p }

// SetAddr sets the address from which a key dials. The default is 192.0.2.1.
func (n *Network) SetAddr(key domain.PublicKey, a netip.Addr) { n.addrs[key] = a }

// TakePath moves the open connections to the metrics of a key to a path. Direct ones that move to a relay are silent.
func (n *Network) TakePath(key domain.PublicKey, p domain.Path) {
	for _, l := range slices.Clone(n.links) {
		if l.server.key == key && l.server.metrics != nil && l.path != p {
			l.path, l.moved = p, n.loop.Now()
			l.onPath()
		}
	}
}

// BreakPath breaks the connections to the metrics of a key that use a path.
func (n *Network) BreakPath(key domain.PublicKey, p domain.Path) {
	for _, l := range slices.Clone(n.links) {
		if l.server.key == key && l.server.metrics != nil && l.path == p {
			l.end(ErrLost, ErrLost)
		}
	}
}

// Block makes a key unreachable for dials of this host, or reachable again, and breaks the host's connections to it. A dial still takes the
// connection that a client with the key offered to this host on its last registration.
func (t *Transport) Block(key domain.PublicKey, block bool) {
	t.blocked[key] = block
	for _, s := range slices.Clone(t.sessions) {
		if block && s.dial.Client == key && s.link != nil && !s.link.closed {
			s.link.end(ErrLost, ErrLost)
		}
	}
}

// Refuse prevents new connections to a key, and leaves the open ones.
func (n *Network) Refuse(key domain.PublicKey, refuse bool) { n.down[key] = refuse }

// reached reports whether packets reach the server of a key on this host. Without one, that of any host counts.
func (t *Transport) reached(key domain.PublicKey) bool {
	own := slices.ContainsFunc(t.listeners, func(s *server) bool { return s.key == key })
	return slices.ContainsFunc(t.net.links, func(l *link) bool {
		return l.server.key == key && !l.closed && !l.frozen && (!own || slices.Contains(t.listeners, l.server))
	})
}

// Break breaks the connections that a key serves, as when a NAT forgets them.
func (n *Network) Break(key domain.PublicKey) {
	for _, l := range slices.Clone(n.links) {
		if l.server.key == key {
			l.end(ErrLost, ErrLost)
		}
	}
}

// Silence ends the connections that a key serves as if nothing had arrived on them for too long.
func (n *Network) Silence(key domain.PublicKey) {
	for _, l := range slices.Clone(n.links) {
		if l.server.key == key {
			err := &ports.ConnectionError{Err: ErrSilent, Silent: true}
			l.end(err, err)
		}
	}
}

// Links returns the number of open connections that a key serves.
func (n *Network) Links(key domain.PublicKey) int {
	count := 0
	for _, l := range n.links {
		if l.server.key == key {
			count++
		}
	}
	return count
}

// server is a listener of either kind.
type server struct {
	net     *Network
	table   map[domain.PublicKey]*server
	key     domain.PublicKey
	admit   func(domain.PublicKey, domain.HandshakePayload, netip.AddrPort) bool
	metrics func(ports.Conn) ports.MetricsHandlers
	aliases func(ports.Conn) ports.AliasHandlers
	offer   func(domain.PublicKey) // a client with the key offers the connection of its registration
	closed  bool
}

func (n *Network) listen(s *server, ready func(error)) *server {
	s.net = n
	n.loop.AfterFunc(Latency, func() {
		if s.closed || n.Silent {
			return
		}
		s.table[s.key] = s
		ready(nil)
	})
	return s
}

// Close withdraws the server and closes its connections.
func (s *server) Close(done func()) {
	s.closed = true
	if s.table[s.key] == s {
		delete(s.table, s.key)
	}
	for _, l := range slices.Clone(s.net.links) {
		if l.server == s {
			l.end(nil, nil)
		}
	}
	s.net.loop.AfterFunc(Latency, done)
}

// Leave is Close: the network has no announcements.
func (s *server) Leave(done func()) { s.Close(done) }

// link is one connection: the dialling end has its own callbacks, the serving end handlers.
type link struct {
	net    *Network
	server *server
	peer   domain.Peer  // as the server sees the dialler
	onEnd  func(error)  // the dialler's
	path   domain.Path  // as the dialler sees it
	onPath func()       // the dialler's
	moved  host.Instant // when path has changed; 0 for never
	closed bool
	frozen bool

	metrics ports.MetricsHandlers
	aliases ports.AliasHandlers
	served  []*request // scrapes that the serving end answers
}

// Peer implements ports.Conn.
func (l *link) Peer() domain.Peer {
	p := l.peer
	p.Path = l.path
	return p
}

// Trust does nothing: connections of this network have no limits.
func (l *link) Trust() {}

// Close implements the serving end's close.
func (l *link) Close(reason error) {
	if reason == nil {
		l.end(nil, nil)
		return
	}
	l.end(reason, ErrEnded)
}

// end closes both ends in a later turn, each with its own error.
func (l *link) end(serving, dialling error) {
	if l.closed {
		return
	}
	l.closed = true
	l.net.links = slices.DeleteFunc(l.net.links, func(o *link) bool { return o == l })
	l.net.loop.Post(func() {
		onError, onClose := l.metrics.OnError, l.metrics.OnClose
		if l.server.aliases != nil {
			onError, onClose = l.aliases.OnError, l.aliases.OnClose
		}
		if serving != nil && onError != nil {
			if _, wrapped := errors.AsType[*ports.ConnectionError](serving); !wrapped {
				serving = &ports.ConnectionError{Err: serving}
			}
			onError(serving)
		}
		for _, r := range slices.Clone(l.served) {
			r.served.Cancel()
		}
		l.served = nil
		if onClose != nil {
			onClose()
		}
		l.onEnd(dialling)
	})
}

// dial opens a link after a delay, or calls onEnd. stop cancels it; onEnd is not called then.
func (n *Network) dial(kind map[domain.PublicKey]*server, from, to domain.PublicKey, onOpen func(*link), onEnd func(error)) (stop func()) {
	n.Dials++
	stopped := false
	n.loop.AfterFunc(Latency, func() {
		if stopped {
			return
		}
		s := kind[to]
		if s == nil || n.down[to] || n.down[from] {
			onEnd(&ports.ConnectionError{Err: ErrPeerNotFound})
			return
		}
		n.ports++
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), n.ports)
		if a := n.addrs[from]; a.IsValid() {
			addr = netip.AddrPortFrom(a, n.ports)
		}
		if s.admit != nil && !s.admit(from, domain.HandshakePayload{Version: 1, Firewall: 2}, addr) {
			onEnd(&ports.ConnectionError{Err: ErrRefused})
			return
		}
		l := &link{net: n, server: s, peer: domain.Peer{Key: from, Addr: addr, Path: domain.PathDirect}, onEnd: func(err error) {
			if err != nil {
				err = &ports.ConnectionError{Err: err}
			}
			onEnd(err)
		}}
		if l.path = n.paths[to]; l.path == domain.PathUnknown {
			l.path = domain.PathDirect
		}
		n.links = append(n.links, l)
		if s.metrics != nil {
			l.metrics = s.metrics(l)
		} else {
			l.aliases = s.aliases(l)
		}
		if !l.closed {
			onOpen(l)
		}
	})
	return func() { stopped = true }
}

// Transport is one host's view of a Network.
type Transport struct {
	net       *Network
	listeners []*server
	sessions  []*session
	Closed    bool
	onMoved   []*func(ports.Move)
	networks  []*func(ports.Network)
	blocked   map[domain.PublicKey]bool // see Block
	offered   map[domain.PublicKey]bool // connections of registrations

	// Unproven makes registrations of sets come without the proof that they have otherwise.
	Unproven bool
	// Proves makes registrations of aliases prove their keys, and report when no connection reaches them.
	Proves bool
}

// NewTransport adds a host to the network.
func NewTransport(n *Network) *Transport {
	return &Transport{net: n, blocked: map[domain.PublicKey]bool{}, offered: map[domain.PublicKey]bool{}}
}

// OnMoved adds a listener.
func (t *Transport) OnMoved(f func(ports.Move)) (cancel func()) {
	listener := &f
	t.onMoved = append(t.onMoved, listener)
	return func() {
		t.onMoved = slices.DeleteFunc(t.onMoved, func(o *func(ports.Move)) bool { return o == listener })
	}
}

// OnNetwork adds a listener.
func (t *Transport) OnNetwork(f func(ports.Network)) (cancel func()) {
	listener := &f
	t.networks = append(t.networks, listener)
	return func() {
		t.networks = slices.DeleteFunc(t.networks, func(o *func(ports.Network)) bool { return o == listener })
	}
}

// Network notifies the listeners whether DHT nodes answer.
func (t *Transport) Network(n ports.Network) {
	for _, f := range slices.Clone(t.networks) {
		(*f)(n)
	}
}

// Move notifies the listeners that the machine has moved.
func (t *Transport) Move(m ports.Move) {
	for _, f := range slices.Clone(t.onMoved) {
		(*f)(m)
	}
}

// ListenMetrics serves metrics.
func (t *Transport) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	s := t.net.listen(&server{table: t.net.metrics, key: m.Keys.Public, admit: m.Admit, metrics: m.OnOpen}, ready)
	t.listeners = append(t.listeners, s)
	return s, nil
}

// ListenAliases serves registrations.
func (t *Transport) ListenAliases(a ports.AliasListen, ready func(error)) (ports.Listener, error) {
	s := t.net.listen(&server{table: t.net.aliases, key: a.Keys.Public, admit: a.Admit, aliases: a.OnOpen, offer: func(key domain.PublicKey) {
		if a.Holds == nil || a.Holds(key) {
			t.offered[key] = true
			t.net.loop.AfterFunc(offerTime, func() { delete(t.offered, key) })
		}
	}}, ready)
	t.listeners = append(t.listeners, s)
	return s, nil
}

// RegisterAlias registers an alias, or a set.
func (t *Transport) RegisterAlias(r ports.Registration, done func(bool, error)) (cancel func()) {
	return t.converse(r, func(h ports.AliasHandlers) func(ports.AliasRequest, func(ports.AliasReply)) { return h.OnRegister }, done)
}

// LeaveAlias says goodbye.
func (t *Transport) LeaveAlias(r ports.Registration, done func(error)) (cancel func()) {
	r.Set, r.OnSent = nil, nil // a goodbye has no content
	return t.converse(r, func(h ports.AliasHandlers) func(ports.AliasRequest, func(ports.AliasReply)) { return h.OnLeave },
		func(_ bool, err error) { done(err) })
}

func (t *Transport) converse(r ports.Registration, method func(ports.AliasHandlers) func(ports.AliasRequest, func(ports.AliasReply)), done func(bool, error)) (cancel func()) {
	var open *link
	over := false
	finish := func(updated bool, err error) {
		if !over {
			over = true
			done(updated, err)
		}
	}
	stop := t.net.dial(t.net.aliases, r.Dial.Public, r.Scraper, func(l *link) {
		open = l
		if r.OnOpen != nil {
			r.OnOpen(domain.Peer{Key: r.Scraper, Addr: netip.MustParseAddrPort("192.0.2.99:49737"), Path: domain.PathDirect})
		}
		hold := r.Hold
		if hold == nil {
			hold = func(send func()) { send() }
		}
		send := func(f func()) {
			hold(func() {
				t.net.loop.AfterFunc(Latency, f)
				if r.OnSent != nil && !over {
					r.OnSent()
				}
			})
		}
		send(func() {
			if r.Set != nil {
				t.askSet(r, l, func() bool { return over }, finish)
				return
			}
			if l.closed || over || t.net.silent[r.Scraper] {
				return
			}
			register := r.Register
			if register.Instance.IsZero() {
				register.Instance = domain.InstanceOf(r.Dial.Public, r.Key)
			}
			if t.Proves {
				l.server.offer(r.Key)
			}
			method(l.aliases)(ports.AliasRequest{
				Secret: r.Secret, Register: register, Proven: t.Proves, Unconnected: t.Proves && !t.reached(r.Key),
			}, func(reply ports.AliasReply) {
				t.net.loop.AfterFunc(Latency, func() {
					if reply.Success {
						if reply.Shared && r.OnShared != nil && !over {
							r.OnShared()
						}
						if reply.Elsewhere && r.OnElsewhere != nil && !over {
							r.OnElsewhere()
						}
						finish(reply.Updated, nil)
					} else {
						finish(false, &domain.RemoteError{Message: reply.Message, Scraper: true})
					}
					l.end(nil, nil)
				})
			})
		})
	}, func(err error) {
		if err == nil {
			err = &ports.ConnectionError{Err: ErrEnded}
		}
		finish(false, err)
	})
	return func() {
		over = true
		stop()
		if open != nil {
			open.end(nil, nil)
		}
	}
}

// session is the dialling end of a metrics connection.
type session struct {
	net     *Network
	dial    ports.MetricsDial
	link    *link
	ready   bool
	closed  bool
	stop    func()
	waiting []*request
	pings   int // under way
}

// request is a scrape: its handlers are the dialling end's, served is the serving end's.
type request struct {
	session  *session
	request  domain.ScrapeRequest
	handlers ports.ScrapeHandlers
	link     *link        // nil until it is sent
	served   ports.Scrape // nil until it has arrived
	over     bool
}

func (r *request) finish(err error) {
	if !r.over {
		r.over = true
		r.session.waiting = slices.DeleteFunc(r.session.waiting, func(o *request) bool { return o == r })
		r.handlers.OnEnd(err)
	}
}

// Consumed implements ports.Scrape.
func (r *request) Consumed(n int) {
	if !r.request.Text {
		r.later(func() { r.served.Consumed(n) })
	}
}

// Cancel implements ports.Scrape.
func (r *request) Cancel() {
	if r.over {
		return
	}
	r.over = true
	r.session.waiting = slices.DeleteFunc(r.session.waiting, func(o *request) bool { return o == r })
	if r.request.Text {
		return
	}
	r.later(func() {
		r.leave()
		r.served.Cancel()
	})
}

// later runs f at the serving end, where the scrape is then.
func (r *request) later(f func()) {
	r.session.net.loop.AfterFunc(Latency, func() {
		if r.served != nil && !r.link.closed && !r.link.frozen {
			f()
		}
	})
}

// back runs f at the dialling end.
func (r *request) back(f func()) {
	r.session.net.loop.AfterFunc(Latency, func() {
		if !r.over && !r.session.closed && !r.link.frozen {
			f()
		}
	})
}

func (r *request) leave() {
	r.link.served = slices.DeleteFunc(r.link.served, func(o *request) bool { return o == r })
}

// DialMetrics dials a client.
func (t *Transport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	s := &session{net: t.net, dial: d}
	t.sessions = append(t.sessions, s)
	blocked := t.blocked[d.Client] && !t.offered[d.Client]
	if blocked {
		over := false
		s.stop = func() { over = true }
		t.net.loop.AfterFunc(Latency, func() {
			if !over {
				s.finish(&ports.ConnectionError{Err: ErrPeerNotFound})
			}
		})
		return s
	}
	s.stop = t.net.dial(t.net.metrics, d.Keys.Public, d.Client, func(l *link) {
		s.link = l
		l.onPath = func() {
			if d.OnPath != nil {
				d.OnPath(s.Peer())
			}
		}
		d.OnOpen(s.Peer())
		if s.net.silent[d.Client] {
			return
		}
		s.net.loop.AfterFunc(Latency, func() {
			if s.closed {
				return
			}
			s.ready = true
			d.OnReady()
			waiting := s.waiting
			s.waiting = nil
			for _, r := range waiting {
				s.send(r)
			}
		})
	}, func(err error) { s.finish(err) })
	return s
}

func (s *session) finish(err error) {
	if s.closed {
		return
	}
	s.closed = true
	waiting := s.waiting
	s.waiting = nil
	for _, r := range waiting {
		failed := err
		if failed == nil {
			failed = &ports.ConnectionError{Err: ErrEnded}
		}
		r.finish(failed)
	}
	s.dial.OnClose(err)
}

func (s *session) send(r *request) {
	s.waiting = append(s.waiting, r)
	l := s.link
	r.link = l
	s.net.loop.AfterFunc(Latency, func() {
		if l.closed || r.over || l.frozen {
			return
		}
		l.served = append(l.served, r)
		r.served = l.metrics.OnScrape(r.request, ports.ScrapeHandlers{
			OnHead: func(h domain.ScrapeHead) { r.back(func() { r.handlers.OnHead(h) }) },
			OnData: func(b []byte) {
				b = slices.Clone(b)
				r.back(func() { r.handlers.OnData(b) })
				if r.request.Text { // collected before it is sent
					r.served.Consumed(len(b))
				}
			},
			OnEnd: func(err error) {
				r.leave()
				r.back(func() { r.finish(err) })
			},
		})
	})
}

// Scrape implements ports.MetricsSession.
func (s *session) Scrape(what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	if s.net.Texts {
		what = domain.ScrapeRequest{Text: true}
	}
	r := &request{session: s, request: what, handlers: h}
	switch {
	case s.closed:
		s.net.loop.Post(func() { r.finish(&ports.ConnectionError{Err: ErrEnded}) })
	case s.ready:
		s.send(r)
	default:
		s.waiting = append(s.waiting, r)
	}
	return r
}

func (s *session) Peer() domain.Peer {
	p := domain.Peer{Key: s.dial.Client, Addr: netip.MustParseAddrPort("192.0.2.7:41000"), Path: domain.PathDirect}
	if s.link != nil {
		p.Path = s.link.path
	}
	return p
}

func (s *session) Answered() bool { return s.link != nil }

func (s *session) DirectSilence() time.Duration {
	if s.link == nil || s.link.path != domain.PathRelay || s.link.moved == 0 {
		return 0
	}
	return s.net.loop.Now().Sub(s.link.moved)
}

// Detour implements ports.MetricsSession.
func (s *session) Detour() domain.Detour {
	switch {
	case s.link == nil || s.link.path != domain.PathRelay:
		return domain.Detour{}
	case s.link.moved != 0:
		return domain.Detour{Reason: domain.DetourTakeover}
	}
	return domain.Detour{Reason: domain.DetourNotFound, Local: "random", Remote: "random", Cause: domain.CauseDoubleRandom}
}

// Stats implements ports.MetricsSession.
func (s *session) Stats() domain.LinkStats {
	if s.link == nil {
		return domain.LinkStats{}
	}
	return domain.LinkStats{RTT: 2 * Latency, Sent: 40, Resent: 1}
}

// Version implements ports.MetricsSession.
func (s *session) Version() string {
	if !s.ready {
		return ""
	}
	return s.net.Version
}

func (s *session) Ping(done func(error)) (cancel func()) {
	over := false
	s.pings++
	s.net.loop.AfterFunc(2*Latency, func() {
		s.pings--
		if over || s.closed || !s.ready || s.link.frozen {
			return
		}
		over = true
		done(nil)
	})
	return func() { over = true }
}

// Idle implements ports.MetricsSession. A frozen client acknowledges nothing, and of data, pings alone take time here.
func (s *session) Idle() bool { return s.link != nil && !s.closed && !s.link.frozen && s.pings == 0 }

func (s *session) Release() {
	if l := s.link; l != nil && !l.closed && !l.frozen && l.metrics.OnReleased != nil {
		l.metrics.OnReleased()
	}
	s.Close(nil)
}

func (s *session) Close(reason error) {
	s.stop()
	if s.link != nil {
		l := s.link
		l.onEnd = func(error) { s.finish(reason) }
		l.end(nil, nil)
		return
	}
	s.net.loop.Post(func() { s.finish(reason) })
}

// Status returns that of a node on a private network.
func (t *Transport) Status() ports.NodeStatus {
	return ports.NodeStatus{State: "online", NAT: "open", Nodes: len(t.net.metrics)}
}

// Close closes servers and sessions.
func (t *Transport) Close(done func()) {
	t.Closed = true
	for _, s := range t.listeners {
		s.Close(func() {})
	}
	for _, s := range t.sessions {
		if !s.closed {
			s.Close(nil)
		}
	}
	t.net.loop.AfterFunc(2*Latency, done)
}

var _ ports.Transport = (*Transport)(nil)
