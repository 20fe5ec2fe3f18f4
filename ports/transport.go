package ports

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Transport is the network as a client and a scraper see it: servers under a key pair, connections to a key,
// and the two conversations that run over them, registering an alias and asking for metrics.
//
//	client                                  scraper
//	ListenMetrics   <---- metrics ------    DialMetrics    one connection per client key, held open
//	RegisterAlias   ---- alias -------->    ListenAliases  one connection per registration, then closed
//
// Deadlines are the caller's: nothing here gives up by itself unless the connection does.
type Transport interface {
	// ListenMetrics serves metrics under a key pair. ready is called once: when a DHT node holds the server's record, so
	// that it can be found, or with the error that made listening impossible. Until then peers that know a way may connect.
	ListenMetrics(l MetricsListen, ready func(error)) (Listener, error)
	// ListenAliases serves registrations under a key pair. ready is as in ListenMetrics.
	ListenAliases(l AliasListen, ready func(error)) (Listener, error)
	// RegisterAlias dials a scraper, asks once and hangs up. The error is a *ConnectionError when no answer
	// came, and a *domain.RemoteError when the scraper refused.
	RegisterAlias(r Registration, done func(updated bool, err error)) (cancel func())
	// LeaveAlias is RegisterAlias's goodbye: the same conversation with the method "leave" in place of "alias" (same
	// protocol, same encodings of request and reply). The JavaScript does not know the method and answers
	// UNKNOWN_METHOD, which is an error here and changes nothing there.
	LeaveAlias(r Registration, done func(error)) (cancel func())
	// DialMetrics dials a client once and holds the connection. OnClose reports its end; dialling again is the
	// caller's. Several sessions with one client key are allowed.
	DialMetrics(d MetricsDial) MetricsSession
	// OnMoved adds what runs when this machine may be reachable in another way than before. The result takes f out
	// again.
	OnMoved(f func(Move)) (cancel func())
	// OnNetwork adds what runs when no DHT node answers, and when one does again. If that is so already, f runs in a later
	// turn. It does not run while all is well from the start. The result takes f out again.
	OnNetwork(f func(Network)) (cancel func())
	// Status is a snapshot of the node below.
	Status() NodeStatus
	// Close unannounces all servers, tells all peers, and lets go of the sockets. Callbacks of things that were
	// still open come before done; nothing is called after it. Closing twice calls both dones.
	Close(done func())
}

// Move is how this machine has become reachable in another way.
type Move uint8

const (
	// MoveElsewhere means that connections from before may lead nowhere: the machine has another public address, its NAT
	// another mapping, the network is back, or it has woken from a sleep.
	MoveElsewhere Move = iota
	// MoveIntoReach means that there is no firewall after all: connections go on, and peers that could not connect now can.
	MoveIntoReach
)

// Listener is a server.
type Listener interface {
	// Close unannounces the server and closes its connections. Their OnClose comes before done.
	Close(done func())
}

// Conn is one incoming connection, for those who must end it.
type Conn interface {
	Peer() domain.Peer
	// Trust lifts the limits on what the peer can make this side hold, because it has proven that it may. Connections to
	// a metrics server are trusted from the start, since its Admit knows the peers; those to a registration service are not.
	Trust()
	// Close ends the connection: cleanly, after what was sent has arrived, when reason is nil; at once
	// otherwise, and OnError reports the reason.
	Close(reason error)
}

// MetricsListen is a metrics server: the protocol prometheus-metrics with its one method metrics.
type MetricsListen struct {
	Keys domain.KeyPair
	// Admit decides before anything is answered whether a peer may connect. False keeps it out; the payload is
	// only the peer's word, and so may be addr, the peer's address.
	Admit func(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool
	// Known reports whether a key is one of those that are expected: they have room however many others come. Nil is
	// none.
	Known func(remote domain.PublicKey) bool
	// OnOpen is called for each connection once its encryption is up, and returns who handles it.
	OnOpen func(Conn) MetricsHandlers
}

// MetricsHandlers handle one connection of a metrics server.
type MetricsHandlers struct {
	// OnRequest answers a request. reply must be called exactly once, in this turn or later; after the
	// connection closed it does nothing. Requests may overlap. A body above domain.MaxBody must not be replied.
	OnRequest func(reply func(domain.MetricsReply))
	// OnReleased tells that the scraper has no alias of this client any more: another client took it, or it was
	// forgotten. Scrapers of older versions do not tell.
	OnReleased func()
	// OnError reports why the connection broke, with a *ConnectionError; OnClose follows.
	OnError func(error)
	// OnClose is the last call, exactly once.
	OnClose func()
}

// AliasListen is a registration service: the protocol register-alias with its one method alias.
type AliasListen struct {
	Keys domain.KeyPair
	// Admit decides before anything is answered whether a peer may connect; nil admits all.
	Admit func(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool
	// Known is as in MetricsListen.
	Known func(remote domain.PublicKey) bool
	// OnOpen is called for each connection once its encryption is up, and returns who handles it.
	OnOpen func(Conn) AliasHandlers
}

// AliasHandlers handle one connection of a registration service.
type AliasHandlers struct {
	// OnRegister answers a registration, whose fields are unchecked. reply must be called exactly once, in this
	// turn or later; after the connection closed it does nothing.
	OnRegister func(req AliasRequest, reply func(AliasReply))
	// OnLeave answers a goodbye (method "leave") in the same way.
	OnLeave func(req AliasRequest, reply func(AliasReply))
	OnError func(error)
	OnClose func()
}

// AliasRequest is a registration as it came from the wire. Lengths are bounded by the frame only.
type AliasRequest struct {
	Secret domain.Secret
	domain.Register
	// Proven means that the peer holds the key it registers. The JavaScript does not prove it.
	Proven bool
	// Unconnected means that the peer has proven its key, and that no connection of ours reaches it: what looks
	// like one belongs to an earlier life of the client, or to a place that it has left.
	Unconnected bool
}

// AliasReply is the answer to a registration.
type AliasReply struct {
	Success bool
	Updated bool   // meaningful on success
	Shared  bool   // on success: another running client has the same key
	Message string // on failure, for the peer to see
}

// Registration is one registration of an alias with a scraper.
type Registration struct {
	Scraper domain.PublicKey
	Dial    domain.KeyPair // the connection's own key; it may be the metrics server's
	Secret  domain.Secret
	domain.Register
	// OnOpen is called when the connection is up; nil is allowed. It lets a time-out say what was missing.
	OnOpen func(domain.Peer)
	// Hold gets what sends the request, and calls it when that may leave, in this turn or later; the connection is made
	// meanwhile. Nil sends at once.
	Hold func(send func())
	// OnShared is called before the registration succeeds, if the scraper says that another running client has the same
	// key; nil is allowed.
	OnShared func()
}

// MetricsDial is a connection to a client's metrics server.
type MetricsDial struct {
	Keys   domain.KeyPair // the scraper's, which the client's firewall expects
	Client domain.PublicKey
	// OnOpen is called when the connection's encryption is up.
	OnOpen func(domain.Peer)
	// OnPath is called after OnOpen when packets to the client begin to take another path; nil is allowed.
	OnPath func(domain.Peer)
	// OnLeave answers a goodbye that the client sends on this connection, as AliasHandlers.OnLeave does; nil knows none. Its
	// key is Client's, and proven.
	OnLeave func(req AliasRequest, reply func(AliasReply))
	// OnReady is called when the client has opened the metrics channel as well. A half-dead client never does.
	OnReady func()
	// OnClose is the last call, exactly once, whether the connection was ever open or not and whoever closed
	// it. err is nil when this side closed it without a reason or the other side ended it cleanly.
	OnClose func(err error)
}

// MetricsSession is a held connection to one client.
type MetricsSession interface {
	// Request asks for the metrics. It may be called before OnReady: the request then waits for the channel.
	// done gets the client's answer, or an error when the connection or the channel closes first.
	Request(done func(domain.MetricsReply, error)) (cancel func())
	// Ping finds out whether the client still answers, without a collection: it calls the method "ping" on the
	// metrics channel, which the JavaScript does not have, and any answer to it, UNKNOWN_METHOD included, is nil.
	Ping(done func(error)) (cancel func())
	// Peer is the client, with the address and the path that packets go to now; OnOpen has told the first.
	Peer() domain.Peer
	// Answered reports whether the client has answered the dial, which may be long before the connection is open.
	Answered() bool
	// DirectSilence is for how long nothing has come on the direct path of a connection that a relay has taken over; 0 where none
	// has. The connection returns to a path that is not silent by itself when that is good enough.
	DirectSilence() time.Duration
	// Release is Close(nil) for a client that this scraper has no alias of any more, which is told so. The JavaScript
	// takes no notice.
	Release()
	// Close ends the connection; requests under way fail, then OnClose comes, in a later turn. A non-nil reason
	// ends it at once instead of cleanly and is handed to OnClose.
	Close(reason error)
}

// ConnectionError is a failure below the conversation: the peer was not found, could not be reached, closed the
// connection, or spoke nonsense.
type ConnectionError struct {
	Err error
	// Busy means that one of the sides is in the middle of another connection of a kind that it makes one at a time. It is
	// free again in seconds.
	Busy bool
	// RetryAfter is the time after which to dial again, set only with Busy: the dial has a place in a queue, which it loses if the
	// next dial begins more than a few seconds later. Zero is unknown; at most 2 min.
	RetryAfter time.Duration
	// Silent means that nothing had come from the peer for as long as it takes to give an open connection up, which is
	// fifteen seconds.
	Silent bool
}

func (e *ConnectionError) Error() string { return e.Err.Error() }
func (e *ConnectionError) Unwrap() error { return e.Err }

// Network is whether DHT nodes answer, and what is known of why not.
type Network struct {
	Answering      bool
	Nodes          int              // known ones
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
}

// NodeStatus is a snapshot of the DHT node.
type NodeStatus struct {
	State      string           // "starting", "online", "degraded", "offline", "closed"
	Local      netip.AddrPort   // where the socket is bound; invalid while it is not
	Addrs      []netip.AddrPort // under which this machine is known to itself
	PublicAddr netip.AddrPort   // as others see us; invalid while unknown
	Firewalled bool
	Ephemeral  bool
	NAT        string // "unknown", "open", "consistent", "random"
	Nodes      int    // in the routing table
	Announced  int    // DHT nodes that hold the record of the server; of the one that the fewest hold, with several
	Streams    int
	// InReserve is how many relays are kept beside the direct paths of connections, and answer.
	InReserve int
	Counters  []Counter
}

// Counter is a count since the node started that is worth a metric.
type Counter struct {
	Name  string // without prefix and without _total: "dht_queries", "holepunch_attempts"
	Help  string
	Value uint64
	// Labels tell counters of the same name apart: names and values from fixed sets, all with the same names.
	Labels []Label
}

// Label is one of a counter's labels.
type Label struct{ Name, Value string }
