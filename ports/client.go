package ports

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// ClientTransport is the network as a client sees it: it serves metrics, and registers its aliases with scrapers.
type ClientTransport interface {
	Node
	// ListenMetrics serves metrics under a key pair. ready is called once: when a DHT node holds the server's record, so
	// that it can be found, or with the error that made listening impossible. Until then peers that know a way may connect.
	ListenMetrics(l MetricsListen, ready func(error)) (Listener, error)
	// RegisterAlias dials a scraper, asks once and hangs up. The error is a *ConnectionError when no answer
	// came, and a *domain.RemoteError when the scraper refused.
	RegisterAlias(r Registration, done func(updated bool, err error)) (cancel func())
	// LeaveAlias is RegisterAlias's goodbye: the same conversation with the method "leave" in place of "alias" (same
	// protocol, same encodings of request and reply). The JavaScript does not know the method and answers
	// UNKNOWN_METHOD, which is an error here and changes nothing there.
	LeaveAlias(r Registration, done func(error)) (cancel func())
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

// MetricsSource gives one client's metrics.
type MetricsSource interface {
	// Collect asks for the metrics as text. A source that has not answered within the time given reports an
	// error; the caller bounds the wait itself too, and gives the body limits itself.
	Collect(within time.Duration, done func(body []byte, err error)) (cancel func())
}
