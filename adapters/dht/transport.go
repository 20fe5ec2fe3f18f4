package dht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a transport. The zero Config is right for most uses.
type Config struct {
	// MaxName is the length of the longest name in a registration that is validated, in bytes; 0 is DefaultMaxName.
	MaxName int
	// RelayThrough are blind relays for connections that find no direct path.
	RelayThrough []domain.PublicKey
	// Paths limits the paths of connections.
	Paths domain.PathRules
	// OwnConnections makes a scraper dial for metrics even where the client's registration is still connected.
	OwnConnections bool
	// Version is the version of the program, which clients report to their scrapers; empty reports none.
	Version string
	// PublicAddress is the address at which the node is reachable from everywhere; zero if it is not known.
	PublicAddress domain.Address
	// OnUnresolved reports that PublicAddress cannot be resolved, which is tried again; may be nil.
	OnUnresolved func(error)
	// TURN means that a TURN server carries what the node sends, which is the path of its direct connections then.
	TURN bool
	// PortMapping decides whether the router is asked for a mapping of the node's port, and NewMapper returns the means; nil for none.
	PortMapping PortMapping
	NewMapper   func(port uint16, onMapping func(external netip.AddrPort)) PortMapper
	// Known stores the addresses of DHT nodes for the next start; nil stores none.
	Known ports.NodeCache
	// KeepNode makes Close leave the node open for others. By default the transport owns it.
	KeepNode bool
}

// Transport implements ports.Transport on a HyperDHT node, which it owns unless Config.KeepNode is set.
type Transport struct {
	host host.Host
	node *hyperdht.Node
	cfg  Config

	goodbyes     []*goodbyes // not over yet
	listeners    []*listener
	unannouncing int          // listeners that are closing
	unlistened   host.Instant // when the last of them began to
	links        []*link      // all of them, in the order of creation
	answers      *answers
	windows      *muxscrape.Windows
	sets         *setMemory
	closing      bool
	down         bool // the node is closed
	closed       bool // onClosed was called
	onClosed     []func()
	onMoved      []*func(ports.Move)
	onNetwork    []*func(ports.Network)
	closeTimer   host.Timer // limits the wait for links and servers on close
	saving       host.Timer // nil where no nodes are saved
	reachability
}

// reachability makes the node known at an address, where it is reachable.
type reachability struct {
	unhook  []func()       // remove the handlers of the node
	public  *publicAddress // nil where none is configured
	mapping *portMapping   // nil where none is wanted
}

var _ ports.Transport = (*Transport)(nil)

// New returns a transport on a node. h is the node's host.
func New(h host.Host, node *hyperdht.Node, cfg Config) *Transport {
	if cfg.MaxName == 0 {
		cfg.MaxName = DefaultMaxName
	}
	t := &Transport{host: h, node: node, cfg: cfg, answers: newAnswers(h), windows: &muxscrape.Windows{}, sets: &setMemory{}}
	moved := node.OnMoved(func(m hyperdht.Move) {
		move := ports.MoveElsewhere
		if m == hyperdht.MoveIntoReach {
			move = ports.MoveIntoReach
		}
		for _, f := range slices.Clone(t.onMoved) {
			(*f)(move)
		}
		if m == hyperdht.MoveElsewhere {
			t.public.moved()
			t.mapping.moved()
		}
	})
	reach := node.OnReach(func(answering bool) {
		for _, f := range slices.Clone(t.onNetwork) {
			n := t.network()
			n.Answering = answering
			(*f)(n)
		}
		t.public.check()
		t.mapping.moved()
	})
	t.unhook = []func(){moved, reach}
	t.public = newPublicAddress(t, cfg.PublicAddress)
	t.mapping = newPortMapping(t)
	if cfg.Known != nil {
		t.saving = h.AfterFunc(saveNodesAfter, t.saveNodes)
	}
	return t
}

// saveNodes saves the known nodes. A node without a network knows fewer and fewer, and keeps those saved before.
func (t *Transport) saveNodes() {
	if known := t.node.KnownNodes(); len(known) > 0 && !t.node.Status().Silent {
		t.cfg.Known.Save(known)
	}
	t.saving.Reset(saveNodesEvery)
}

// OnMoved implements ports.Transport.
func (t *Transport) OnMoved(f func(ports.Move)) (cancel func()) {
	listener := &f
	t.onMoved = append(t.onMoved, listener)
	return func() { t.onMoved = without(t.onMoved, listener) }
}

// OnNetwork implements ports.Transport.
func (t *Transport) OnNetwork(f func(ports.Network)) (cancel func()) {
	listener := &f
	t.onNetwork = append(t.onNetwork, listener)
	if t.node.Status().Silent {
		t.host.Post(func() {
			if slices.Contains(t.onNetwork, listener) && t.node.Status().Silent {
				f(t.network())
			}
		})
	}
	return func() { t.onNetwork = without(t.onNetwork, listener) }
}

// network returns the state of a network whose nodes do not answer.
func (t *Transport) network() ports.Network {
	s := t.node.Status()
	return ports.Network{BootstrapNodes: s.Bootstrap, Own: s.Self, NoIPv4: len(t.host.Addrs()) == 0, Nodes: s.Nodes}
}

// newLink creates a link of the transport. gone is called when it has closed; nil is allowed.
func (t *Transport) newLink(c conn, gone func(*link)) *link {
	l := newLink(t.host, c)
	l.answers, l.windows, l.sets, l.version, l.turn = t.answers, t.windows, t.sets, t.cfg.Version, t.cfg.TURN
	t.links = append(t.links, l)
	l.onClose = func() {
		t.links = without(t.links, l)
		if gone != nil {
			gone(l)
		}
		t.closeMaybe()
	}
	return l
}

// without removes an element that is in a list at most once.
func without[T comparable](list []T, e T) []T {
	i := slices.Index(list, e)
	if i < 0 {
		return list
	}
	return slices.Delete(list, i, i+1)
}

// connect dials under a key pair, at known addresses first.
func (t *Transport) connect(keys domain.KeyPair, to domain.PublicKey, addrs []domain.Address) *link {
	k := keyPairOf(keys)
	opts := hyperdht.ConnectOptions{Keys: &k, RelayThrough: relayKeys(t.cfg.RelayThrough), Paths: pathRule(t.cfg.Paths.For(to))}
	for _, a := range addrs {
		opts.Addrs = append(opts.Addrs, hyperdht.HostPort(a))
	}
	return t.newLink(t.node.Connect(id.PublicKey(to), opts), nil)
}

// RegisterAlias implements ports.Transport.
func (t *Transport) RegisterAlias(r ports.Registration, done func(updated bool, err error)) (cancel func()) {
	if r.Set != nil && r.Set.Held {
		if m := t.held(r); m != nil {
			return t.registerHeld(m, r, done)
		}
	}
	return t.dialRegistration(r, done)
}

// dialRegistration registers on a connection dialled for it.
func (t *Transport) dialRegistration(r ports.Registration, done func(updated bool, err error)) (cancel func()) {
	if t.closing {
		return t.refuse(func() { done(false, connectionError(domain.ErrClosed)) })
	}
	return register(t.connect(r.Dial, r.Scraper, r.Addrs), methodAlias, r, t.metricsOffer(r), done)
}

// refuse calls f in a later turn, unless it is canceled.
func (t *Transport) refuse(f func()) (cancel func()) {
	canceled := false
	t.host.Post(func() {
		if !canceled {
			f()
		}
	})
	return func() { canceled = true }
}

// metricsOffer returns the offer to serve, on the connection of a registration, the metrics of the server whose key it
// registers; nil without such a server.
func (t *Transport) metricsOffer(r ports.Registration) *metricsOffer {
	for _, s := range t.listeners {
		if s.metrics.OnOpen == nil || s.key != r.Key {
			continue
		}
		return &metricsOffer{
			keys:      keyPairOf(s.metrics.Keys),
			connected: s.connectedTo,
			alike:     r.Dial.Public == r.Key,
			admit: func(p domain.Peer) bool {
				return !s.closing && (s.metrics.Admit == nil || s.metrics.Admit(p.Key, domain.HandshakePayload{}, p.Addr))
			},
			onOpen: func(c ports.Conn) ports.MetricsHandlers { return s.adopt(c) },
		}
	}
	return nil
}

// DialMetrics implements ports.Transport. A client whose registration is still connected is not dialled if it has offered
// its metrics there and proven its key.
func (t *Transport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	if t.closing {
		return closedSession(t.host, d)
	}
	if l := t.registered(d.Keys.Public, d.Client); l != nil {
		return openSession(l, d)
	}
	return openSession(t.connect(d.Keys, d.Client, nil), d)
}

// registered returns the link on which a client registered with one of this transport's alias servers, or nil.
func (t *Transport) registered(server, client domain.PublicKey) *link {
	if t.cfg.OwnConnections {
		return nil
	}
	for _, s := range t.listeners {
		if s.aliases.OnOpen == nil || s.key != server {
			continue
		}
		for _, l := range slices.Backward(s.links) {
			if l.offers(client) && l.attachable() {
				return l
			}
		}
	}
	return nil
}

// Close implements ports.Transport: servers are unannounced and connections closed cleanly, those that take too
// long are broken, and then the node is closed. The time of those that are being closed already counts from when that began.
func (t *Transport) Close(done func()) {
	if t.closed {
		t.host.Post(done)
		return
	}
	t.onClosed = append(t.onClosed, done)
	if t.closing {
		return
	}
	t.closing = true
	t.public.stop()
	t.mapping.close(t.closeMaybe)
	if t.saving != nil {
		t.saveNodes()
		t.saving.Stop()
	}
	for _, s := range slices.Clone(t.listeners) {
		s.Close(func() {})
	}
	began := t.unlistened
	for _, l := range slices.Clone(t.links) {
		l.end(nil)
		began = max(began, l.ended)
	}
	t.closeTimer = t.host.AfterFunc(max(0, closeGrace-t.host.Now().Sub(began)), t.shut)
	t.closeMaybe()
}

// closeMaybe continues Close when no link is left and all servers are unannounced.
func (t *Transport) closeMaybe() {
	if t.closing && len(t.links) == 0 && t.unannouncing == 0 && t.mapping.released() && t.closeTimer != nil && t.closeTimer.Stop() {
		t.shut()
	}
}

// shut ends Close: what is left is broken, with the node or without it.
func (t *Transport) shut() {
	for _, unhook := range t.unhook {
		unhook()
	}
	if !t.cfg.KeepNode {
		t.node.Close(t.end)
		return
	}
	for _, l := range slices.Clone(t.links) {
		l.end(domain.ErrClosed)
	}
	t.host.Post(t.end)
}

// end calls the dones of Close, after the closed calls of the connections that shut has broken, and when the known nodes are saved:
// otherwise the process may exit before.
func (t *Transport) end() {
	t.down = true
	end := func() {
		t.host.Post(func() {
			t.closed = true
			for _, f := range t.onClosed {
				f()
			}
		})
	}
	if t.cfg.Known == nil {
		end()
		return
	}
	t.cfg.Known.Flush(end)
}

// listener is a server of either kind.
type listener struct {
	transport *Transport
	key       domain.PublicKey
	metrics   ports.MetricsListen // OnOpen is nil for an alias server
	aliases   ports.AliasListen   // OnOpen is nil for a metrics server
	shared    bool                // AliasListen.SharedKeys
	takeOver  bool
	server    *hyperdht.Server
	links     []*link
	adopted   []ports.Conn // metrics on connections that this side dialled
	closing   bool
	keeps     bool // registered sessions, when it closes
	// unannounced means that the server is closed and its announcement withdrawn.
	unannounced bool
	onClosed    []func()
}

// ListenMetrics implements ports.Transport.
func (t *Transport) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	s := &listener{transport: t, key: m.Keys.Public, metrics: m, takeOver: m.TakeOver}
	return s.listen(m.Keys, m.Admit, m.Known, ready)
}

// ListenAliases implements ports.Transport.
func (t *Transport) ListenAliases(a ports.AliasListen, ready func(error)) (ports.Listener, error) {
	s := &listener{transport: t, key: a.Keys.Public, aliases: a}
	s.shared, s.takeOver = a.SharedKeys, a.TakeOver
	return s.listen(a.Keys, a.Admit, a.Known, ready)
}

type admit = func(domain.PublicKey, domain.HandshakePayload, netip.AddrPort) bool

func (li *listener) listen(keys domain.KeyPair, admit admit, known func(domain.PublicKey) bool, ready func(error)) (ports.Listener, error) {
	t := li.transport
	if t.closing {
		return nil, domain.ErrClosed
	}
	opts := hyperdht.ListenOptions{
		Keys: keyPairOf(keys), SharedKeys: li.shared, TakeOver: li.takeOver, OnConnection: li.onConnection, RelayThrough: relayKeys(t.cfg.RelayThrough), KeepLimited: li.aliases.OnOpen != nil,
		Paths: func(remote id.PublicKey) hyperdht.PathRule {
			return pathRule(t.cfg.Paths.For(domain.PublicKey(remote)))
		},
	}
	if admit != nil {
		opts.Admit = func(remote id.PublicKey, payload *hyperdht.HandshakePayload, from netip.AddrPort) bool {
			return admit(domain.PublicKey(remote), payloadFrom(payload), from)
		}
	}
	if known != nil {
		opts.Known = func(remote id.PublicKey) bool { return known(domain.PublicKey(remote)) }
	}
	told := false
	tell := func(err error) {
		if !li.closing && !told {
			told = true
			ready(err)
		}
	}
	server, err := t.node.Listen(opts, tell)
	if err != nil {
		return nil, err
	}
	li.server = server
	t.public.whenAlone(func() { tell(nil) })
	t.listeners = append(t.listeners, li)
	return li, nil
}

func (li *listener) onConnection(c *hyperdht.Connection) {
	t := li.transport
	l := t.newLink(c, func(l *link) {
		li.links = without(li.links, l)
		li.closeMaybe()
	})
	l.incoming = true
	li.links = append(li.links, l)
	var err error
	if li.aliases.OnOpen != nil {
		var s *aliasServer
		if s, err = serveAliases(l, t.cfg, li.aliases.OnOpen); err == nil {
			s.holds = li.aliases.Holds
		}
	} else {
		_, err = serveMetrics(l, li.metrics.OnOpen)
	}
	if err == nil && li.closing {
		err = domain.ErrClosed
	}
	if err != nil {
		l.end(err)
	}
}

// connectedTo reports whether a metrics connection with a scraper is open.
func (li *listener) connectedTo(scraper domain.PublicKey) bool {
	for _, l := range li.links {
		if !l.closed && domain.PublicKey(l.conn.RemotePublicKey()) == scraper {
			return true
		}
	}
	return slices.ContainsFunc(li.adopted, func(c ports.Conn) bool { return c.Peer().Key == scraper })
}

// adopt serves a connection that this side dialled as if it were incoming.
func (li *listener) adopt(c ports.Conn) ports.MetricsHandlers {
	li.adopted = append(li.adopted, c)
	h := li.metrics.OnOpen(c)
	onClose := h.OnClose
	h.OnClose = func() {
		li.adopted = without(li.adopted, c)
		if onClose != nil {
			onClose()
		}
		li.closeMaybe()
	}
	return h
}

// Close implements ports.Listener.
func (li *listener) Close(done func()) {
	li.keeps = li.shared
	li.end(li.server.Close, done)
}

// Leave implements ports.Listener. Sessions on connections of registrations go on.
func (li *listener) Leave(done func()) {
	li.keeps = true
	li.end(li.server.Leave, done)
}

func (li *listener) end(withdraw func(func()), done func()) {
	li.onClosed = append(li.onClosed, done)
	if li.closing {
		li.transport.host.Post(li.closeMaybe)
		return
	}
	li.closing = true
	t := li.transport
	t.listeners = without(t.listeners, li)
	t.unannouncing++
	t.unlistened = t.host.Now()
	withdraw(func() {
		li.unannounced = true
		t.unannouncing--
		li.closeMaybe()
		t.closeMaybe()
	})
	for _, l := range slices.Clone(li.links) {
		if m := l.sayingGoodbye(); m != nil {
			m.Close(nil)
		} else if !li.keeps || !li.leaveSession(l) {
			l.end(nil)
		}
	}
	for _, c := range slices.Clone(li.adopted) {
		c.Close(nil)
	}
}

// leaveSession closes the registrations on a link that has a session as well, which stays. It reports whether that is so.
func (li *listener) leaveSession(l *link) bool {
	for _, r := range l.roles {
		if s, ok := r.(*aliasServer); ok && s.active && l.shared(s) {
			li.links = without(li.links, l)
			s.Close(nil)
			return true
		}
	}
	return false
}

// closeMaybe calls onClosed when the server is unannounced and its connections are closed.
func (li *listener) closeMaybe() {
	if !li.closing || !li.unannounced || len(li.links) > 0 || len(li.adopted) > 0 {
		return
	}
	done := li.onClosed
	li.onClosed = nil
	for _, f := range done {
		f()
	}
}
