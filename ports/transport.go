package ports

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Transport is the network as seen by a client and a scraper: servers under a key pair, connections to a key, and the two
// exchanges on them, registering an alias and requesting metrics.
//
//	client                                  scraper
//	ListenMetrics   <---- metrics ------    DialMetrics    one connection per client key, held open
//	RegisterAlias   ---- alias -------->    ListenAliases  one connection per registration, then closed
//
// Deadlines are the caller's: no operation here times out unless its connection does.
type Transport interface {
	ClientTransport
	ScraperTransport
}

// Listener is a server.
type Listener interface {
	// Close unannounces the server and closes its connections. Their OnClose comes before done.
	Close(done func())
	// Leave is Close without unannouncing the server: another one has taken its place (TakeOver).
	Leave(done func())
}

// Conn is one incoming connection.
type Conn interface {
	Peer() domain.Peer
	// Trust lifts the limits on the resources that the peer can use on this side, after it has been authorized. Connections to a
	// metrics server are trusted from the start, since its Admit knows the peers; those to a registration service are not.
	Trust()
	// Close closes the connection: cleanly, after sent data has arrived, when reason is nil; at once otherwise, and OnError
	// reports the reason.
	Close(reason error)
}

// AliasRequest is a registration as received. Lengths are bounded by the frame only.
type AliasRequest struct {
	Secret domain.Secret
	domain.Register
	// Proven means that the peer holds the key it registers. JavaScript clients do not prove it.
	Proven bool
	// Unconnected means that the peer has proven its key, and that no connection of this scraper reaches it: an apparent one
	// belongs to an earlier run of the client, or to a network that it has left.
	Unconnected bool
}

// AliasReply is the answer to a registration.
type AliasReply struct {
	Success   bool
	Updated   bool   // meaningful on success
	Shared    bool   // on success: another running client has the same key
	Elsewhere bool   // on success: another member of the scraper's group connects to the client
	Message   string // on failure, sent to the peer
}

// SetRequest is the registration of a set as received. It comes without its content first: a scraper that has the set needs no more.
type SetRequest struct {
	Secret   domain.Secret
	Key      domain.PublicKey
	Instance domain.Instance
	Revision domain.Revision // that the set has at the client
	Base     domain.Revision // of the set that the client takes the scraper to have; zero for none
	Count    int             // of targets
	// Proven and Unconnected have the meanings that they have in AliasRequest.
	Proven, Unconnected bool
	Content             *SetContent // nil at first
}

// SetContent is the content of a set: all targets, or what has changed.
type SetContent struct {
	Since   domain.Revision // the set that has changed; zero if the content is the whole set
	Targets []domain.Target // unchecked but for labels and fields, in any order
	Gone    []domain.Alias
	// Bad are the targets that could not be read. Their aliases are unchecked.
	Bad []domain.Alias
	// Former are keys that the client has proven to hold beside the set's, by the alias that they had.
	Former map[domain.Alias]domain.PublicKey
}

// SetReply is the answer to the registration of a set.
type SetReply struct {
	Success   bool
	Need      Need // on success: what must follow. If anything, the rest is not meaningful.
	Updated   bool
	Shared    bool
	Elsewhere bool // see AliasReply
	Rejected  []domain.RejectedTarget
	Message   string // on failure, sent to the peer
}

// Need is a part of a set that a scraper needs to register it.
type Need uint8

// The needs.
const (
	NeedNothing Need = iota // it is registered
	NeedAll                 // all targets
	NeedChanges             // the changes since SetRequest.Base
)

// ConnectionError is a failure below the exchange: the peer was not found, could not be reached, closed the connection, or
// violated the protocol.
type ConnectionError struct {
	Err error
	// Cause is the known cause; empty if Err alone describes it.
	Cause domain.Cause
	// Busy means that one of the sides is making another connection of a kind that it makes one at a time. It is free again in
	// seconds.
	Busy bool
	// RetryAfter is the time after which to dial again, set only with Busy: the dial has a place in a queue, which it loses if
	// the next dial begins more than a few seconds later. Zero means unknown; at most 2 min.
	RetryAfter time.Duration
	// Silent means that nothing had arrived from the peer for the time after which an open connection is closed, fifteen seconds.
	Silent bool
}

func (e *ConnectionError) Error() string { return e.Err.Error() }
func (e *ConnectionError) Unwrap() error { return e.Err }

// CauseOf implements domain.CauseError.
func (e *ConnectionError) CauseOf() domain.Cause { return e.Cause }
