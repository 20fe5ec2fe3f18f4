package ports

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// ScraperTransport is the network as seen by a scraper: it serves registrations, and requests metrics from clients.
type ScraperTransport interface {
	Node
	// ListenAliases serves registrations under a key pair. ready is as in ListenMetrics.
	ListenAliases(l AliasListen, ready func(error)) (Listener, error)
	// DialMetrics dials a client once and holds the connection. OnClose reports its end; the caller redials. Several sessions
	// with one client key are allowed.
	DialMetrics(d MetricsDial) MetricsSession
}

// AliasListen is a registration service: the protocol register-alias with its one method alias.
type AliasListen struct {
	Keys domain.KeyPair
	// SharedKeys means that other scrapers take turns with this one under the keys: the listener's end does not unannounce it, because the
	// record may be its successor's.
	SharedKeys bool
	// TakeOver corresponds to that of MetricsListen.
	TakeOver bool
	// Admit decides before any answer whether a peer may connect; nil admits all.
	Admit func(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool
	// Known corresponds to that of MetricsListen.
	Known func(remote domain.PublicKey) bool
	// Holds reports whether this scraper is to scrape a client, on the connection of its registration if the client offers that; nil means
	// all clients.
	Holds func(client domain.PublicKey) bool
	// OnOpen is called for each connection once its encryption is established, and returns its handlers.
	OnOpen func(Conn) AliasHandlers
}

// AliasHandlers handle one connection of a registration service.
type AliasHandlers struct {
	// OnRegister answers a registration, whose fields are unchecked. reply must be called exactly once, in this
	// turn or later; after the connection closed it does nothing.
	OnRegister func(req AliasRequest, reply func(AliasReply))
	// OnLeave answers a goodbye (method "leave") in the same way.
	OnLeave func(req AliasRequest, reply func(AliasReply))
	// OnSet answers the registration of a set in the same way; nil means not supported.
	OnSet   func(req SetRequest, reply func(SetReply))
	OnError func(error)
	OnClose func()
}

// MetricsDial is a connection to a client's metrics server.
type MetricsDial struct {
	Keys   domain.KeyPair // the scraper's, which the client's firewall expects
	Client domain.PublicKey
	// OnOpen is called when the connection's encryption is established.
	OnOpen func(domain.Peer)
	// OnPath is called after OnOpen when packets to the client begin to use another path; it may be nil.
	OnPath func(domain.Peer)
	// OnLeave answers a goodbye that the client sends on this connection, as AliasHandlers.OnLeave does; nil means not supported.
	// Its key is Client's, and proven.
	OnLeave func(req AliasRequest, reply func(AliasReply))
	// OnSet answers a registration of the client's set on this connection likewise.
	OnSet func(req SetRequest, reply func(SetReply))
	// OnReady is called when the client has also opened the metrics channel. A half-dead client never does.
	OnReady func()
	// OnClose is the last call, exactly once, whether the connection was ever open or not and whichever side closed it. err is
	// nil when this side closed it without a reason or the other side closed it cleanly.
	OnClose func(err error)
}

// MetricsSession is a held connection to one client.
type MetricsSession interface {
	// MetricsSource is the client. Requests may be made before OnReady: they wait for it. They end with a *domain.ScrapeError or
	// *domain.RemoteError that the client reported, or with a *ConnectionError when the connection closes first.
	MetricsSource
	// Ping checks whether the client still answers, without a collection: it calls the method "ping" on the metrics channel,
	// which the JavaScript packages do not have, and any answer to it, UNKNOWN_METHOD included, is nil.
	Ping(done func(error)) (cancel func())
	// Idle reports whether nothing is under way: the client has acknowledged all that was sent, and no message of it is arriving.
	Idle() bool
	// Peer is the client, with the current address and path; OnOpen reports the first.
	Peer() domain.Peer
	// Answered reports whether the client has answered the dial, which may be long before the connection is open.
	Answered() bool
	// Stats are measurements of the connection.
	Stats() domain.LinkStats
	// Version is the version of the client's program, at most 32 bytes of printable ASCII. It is empty before OnReady, and for clients
	// that report none: those of older versions and of the JavaScript packages.
	Version() string
	// Detour returns the reason for which a relay carries the connection.
	Detour() domain.Detour
	// DirectSilence is the time since the last packet on the direct path of a connection that a relay has taken over; 0 where
	// none has. The connection returns by itself to a path that is not silent when that is good enough.
	DirectSilence() time.Duration
	// Release is Close(nil) with a notification that this scraper has no alias of the client any more. The JavaScript packages
	// ignore it.
	Release()
	// Close closes the connection; requests in progress fail, then OnClose comes, in a later turn. A non-nil reason closes it at
	// once instead of cleanly and is passed to OnClose.
	Close(reason error)
}
