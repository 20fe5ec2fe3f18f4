package ports

import (
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
	ClientTransport
	ScraperTransport
}

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
