package ports

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// ScraperTransport is the network as a scraper sees it: it serves registrations, and asks clients for their metrics.
type ScraperTransport interface {
	Node
	// ListenAliases serves registrations under a key pair. ready is as in ListenMetrics.
	ListenAliases(l AliasListen, ready func(error)) (Listener, error)
	// DialMetrics dials a client once and holds the connection. OnClose reports its end; dialling again is the
	// caller's. Several sessions with one client key are allowed.
	DialMetrics(d MetricsDial) MetricsSession
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
