package hyperdht

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
)

// BusyError is ErrRemoteBusy or ErrPunchesElsewhere: a random punch has to wait for others.
type BusyError struct {
	// Err is ErrRemoteBusy or ErrPunchesElsewhere.
	Err error
	// RetryAfter is the time to wait before the next dial: the peer has a place in a queue, which it loses if the next dial begins
	// more than a few seconds later. Zero is unknown; at most 2 min.
	RetryAfter time.Duration
}

func (e *BusyError) Error() string { return e.Err.Error() }
func (e *BusyError) Unwrap() error { return e.Err }

// Errors of dials, servers and connections, to be matched with errors.Is. The texts contain the codes of hyperdht lib/errors.js.
var (
	ErrPeerNotFound         = errors.New("PEER_NOT_FOUND: no DHT node knows this key")
	ErrNoDHTNode            = errors.New("NO_DHT_NODE: no DHT node answers; check that UDP is let out and that the bootstrap nodes run")
	ErrPeerConnectionFailed = errors.New("PEER_CONNECTION_FAILED: no relay of the peer got an answer from it")
	ErrServerIncompatible   = errors.New("SERVER_INCOMPATIBLE: the server speaks another protocol version")
	ErrServerError          = errors.New("SERVER_ERROR: the server answered with an error")
	ErrHolepunchAborted     = errors.New("HOLEPUNCH_ABORTED: hole punching gave up")
	ErrProbeTimeout         = errors.New("HOLEPUNCH_PROBE_TIMEOUT: a NAT could not be classified in time")
	ErrDoubleRandom         = errors.New("HOLEPUNCH_DOUBLE_RANDOMIZED_NATS: both NATs use random ports")
	ErrCannotHolepunch      = errors.New("CANNOT_HOLEPUNCH: the server offers no relay to punch through")
	ErrRemoteNotPunching    = errors.New("REMOTE_NOT_HOLEPUNCHING: the server does not want to punch")
	ErrRemoteNotPunchable   = errors.New("REMOTE_NOT_HOLEPUNCHABLE: no strategy fits the two NATs")
	ErrRemoteAborted        = errors.New("REMOTE_ABORTED: the server ended hole punching")
	ErrRelayAborted         = errors.New("RELAY_ABORTED: the blind relay did not pair us")
	ErrBadHandshakeReply    = errors.New("BAD_HANDSHAKE_REPLY: a relay answered with something else")
	ErrKeyPairInUse         = errors.New("KEYPAIR_ALREADY_USED: another server of this node listens under this key")
	ErrClosed               = errors.New("NODE_DESTROYED: the node is closed")
	ErrSuspended            = errors.New("SUSPENDED: the node is suspended")
	ErrMessageTooLarge      = errors.New("message does not fit the secret stream's 16 MiB frame")
	ErrPeerSilent           = errors.New("nothing was heard from the peer for too long")
	ErrRemoteBusy           = fmt.Errorf("%w: it is busy with another random punch", ErrRemoteAborted)
	ErrNoIPv4               = fmt.Errorf("%w; this machine has no IPv4 address but loopback, and HyperDHT needs one", ErrNoDHTNode)
	ErrNoKnownAddr          = fmt.Errorf("%w; the known address of the peer does not answer either", ErrNoDHTNode)
	ErrPunchesElsewhere     = fmt.Errorf("%w: this node is busy with another random punch", ErrHolepunchAborted)
	ErrUnendedMessage       = errors.New("a message does not end: its length was changed on the way")
	ErrUnopened             = errors.New("no packet from the peer after the handshake") // of a connection that came in, or was made over a relay
	ErrCrowdedOut           = errors.New("dropped in favour of other callers")          // of a connection that came in
	ErrNoRelay              = errors.New("NO_RELAY: neither side names a blind relay, and no other path may be taken")
	ErrRelayFull            = fmt.Errorf("%w: it relays as many connections as it may (--relay.max-pairs)", ErrRelayAborted)
	ErrRelayKeyFull         = fmt.Errorf("%w: it relays as many connections of one key as it may (--relay.max-pairs-per-key)", ErrRelayAborted)
	ErrRelayExpired         = fmt.Errorf("%w: the peer did not come to the relay, or nothing was relayed for a minute", ErrRelayAborted)
	ErrConnectionClosed     = errors.New("connection closed") // without another reason
	ErrDuplicateConnection  = errors.New("DUPLICATE_CONNECTION: the pool keeps another connection to this key")

	// Of requests and lookups. ErrCanceled is that of a query that was destroyed.
	ErrTimeout     = rpc.ErrTimeout
	ErrCanceled    = rpc.ErrCanceled
	ErrTooFewNodes = rpc.ErrTooFewNodes
)

// Errors that need not be matched.
var (
	errHolepunchInvalid  = errors.New("HOLEPUNCH_INVALID: undecryptable hole-punch answer")
	errBadHolepunchReply = errors.New("BAD_HOLEPUNCH_REPLY: a relay answered with something else")
	errTooManyPending    = errors.New("too many messages queued before the connection opened")
)

// ListenError is the failure to bind a UDP address.
type ListenError struct {
	// Addr is the address; port 0 means any port.
	Addr netip.AddrPort
	// Err is the error of the host.
	Err error
}

func (e *ListenError) Error() string { return (*rpc.ListenError)(e).Error() }
func (e *ListenError) Unwrap() error { return e.Err }

// publicError turns an error of package rpc into one that users can match.
func publicError(err error) error {
	switch err {
	case rpc.ErrClosed:
		return namedError{err, ErrClosed}
	case rpc.ErrSuspended:
		return namedError{err, ErrSuspended}
	}
	return err
}

// namedError is an error whose cause is one that users can name.
type namedError struct {
	error
	cause error
}

func (e namedError) Unwrap() error { return e.cause }

// listenFailure converts an rpc.ListenError in the chain of err to a ListenError.
func listenFailure(err error) error {
	if e, ok := errors.AsType[*rpc.ListenError](err); ok {
		return namedError{err, (*ListenError)(e)}
	}
	return err
}
