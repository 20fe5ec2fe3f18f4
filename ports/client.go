package ports

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/domain"
)

// ClientTransport is the network as a client sees it: it serves metrics, and registers its aliases with scrapers.
type ClientTransport interface {
	Node
	// ListenMetrics serves metrics under a key pair. ready is called once: when a DHT node holds the server's record, so that it
	// can be found, when no DHT node answers and the node has a known public address, at which it is reached, or with the error that prevented listening. Until then only peers that know a path can connect.
	ListenMetrics(l MetricsListen, ready func(error)) (Listener, error)
	// RegisterAlias dials a scraper, sends one request and closes the connection. The error is a *ConnectionError if no answer
	// arrived, and a *domain.RemoteError if the scraper rejected the request. A set is registered in as many requests as it takes, on the
	// scraper's connection to the client if Held allows that; scrapers of older versions, and of the JavaScript packages, do not know sets,
	// and the error is a RemoteError that is Unknown.
	RegisterAlias(r Registration, done func(updated bool, err error)) (cancel func())
	// LeaveAlias is RegisterAlias's goodbye: the same exchange with the method "leave" in place of "alias" (same protocol, same
	// encodings of request and reply). The JavaScript packages do not know the method and answer UNKNOWN_METHOD, which is an
	// error here and has no effect there. A goodbye without an alias is that of the key's set.
	LeaveAlias(r Registration, done func(error)) (cancel func())
}

// MetricsListen is a metrics server. It answers scrapes on the channel dhtprom-scrape, and by the one method of the protocol
// prometheus-metrics to peers that know no other.
type MetricsListen struct {
	Keys domain.KeyPair
	// TakeOver means that the listener takes the place of one that another node of this program still has under the keys, and that ends by
	// Leave then.
	TakeOver bool
	// Admit decides before any answer whether a peer may connect. False rejects it; the payload is unverified, and so may be
	// addr, the peer's address.
	Admit func(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool
	// Known reports whether a key is one of the expected ones, which have reserved room. Nil means none.
	Known func(remote domain.PublicKey) bool
	// OnOpen is called for each connection once its encryption is established, and returns its handlers.
	OnOpen func(Conn) MetricsHandlers
}

// MetricsHandlers handle one connection of a metrics server.
type MetricsHandlers struct {
	// OnScrape answers a request, with MetricsSource's rules. Requests may overlap. Those that are not answered when the connection
	// closes are cancelled before OnClose.
	OnScrape func(domain.ScrapeRequest, ScrapeHandlers) Scrape
	// OnReleased reports that the scraper has no alias of this client any more: another client took it, or it was removed.
	// Scrapers of older versions do not send it.
	OnReleased func()
	// OnError reports the error that ended the connection, a *ConnectionError; OnClose follows.
	OnError func(error)
	// OnClose is the last call, exactly once.
	OnClose func()
}

// Registration is one registration of an alias, or of a set of targets, with a scraper.
type Registration struct {
	Scraper domain.PublicKey
	Addrs   []domain.Address // of the scraper, which are dialled first; may be empty
	Dial    domain.KeyPair   // the connection's own key; it may be the metrics server's
	Secret  domain.Secret
	domain.Register
	// OnOpen is called when the connection is open; it may be nil. Timeouts use it to name what was missing.
	OnOpen func(domain.Peer)
	// Hold receives the function that sends the request, and calls it when the request may be sent, in this turn or later; the
	// connection is made meanwhile. Nil sends at once.
	Hold func(send func())
	// OnSent is called when the request is sent, which may be before OnOpen; it may be nil. From then on the scraper may have the request,
	// until it rejects it. It is called again where the request is sent again, on another connection. A goodbye does not call it.
	OnSent func()
	// Set is registered in place of the alias, which is empty; nil registers the alias.
	Set *SetRegistration
	// OnShared is called before the registration succeeds, if the scraper reports that another running client has the same key;
	// it may be nil.
	OnShared func()
	// OnElsewhere is called before the registration succeeds, if the scraper reports that another member of its group connects to this
	// client, so that the offered connection is not used; it may be nil.
	OnElsewhere func()
}

// SetRegistration has the fields of a registration of a set, beyond those of an alias.
type SetRegistration struct {
	Targets domain.TargetSet
	// Base is the set that the scraper took last. If it still has that, the difference is sent.
	Base domain.TargetSet
	// Former returns the key pair that an alias of the set has where it is registered by itself; zero if it has none. A scraper that has
	// pinned the alias to that key is given a proof of it.
	Former func(domain.Alias) domain.KeyPair
	// OnRejected is called before the registration succeeds, with the targets that the scraper did not take; those that it took are not
	// affected. It may be nil.
	OnRejected func([]domain.RejectedTarget)
	// Held allows to send the registration on the scraper's connection to the client, where there is one.
	Held bool
}
