package dht

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// Reasons for the end of connections that have no error of their own.
var (
	errPeerEnded     = errors.New("the peer ended the connection")
	errChannelClosed = errors.New("the peer closed the channel")
	errNotAccepted   = errors.New("the peer does not offer this service")
	errUnread        = errors.New("the peer does not read the answers to its requests")
)

// VersionError rejects a message of an unsupported version. Its text is sent to the peer and is the reference
// implementation's.
type VersionError struct{ text string }

func (e *VersionError) Error() string { return e.text }

// NameError rejects a name that is too long to be validated.
type NameError struct {
	Field    string
	Len, Max int
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s is %d bytes long, at most %d are allowed", e.Field, e.Len, e.Max)
}

// Is reports that the error is a domain.ErrName.
func (e *NameError) Is(target error) bool { return target == domain.ErrName }

// decodeError returns the answer to a malformed request.
func decodeError(err error) error {
	if errors.Is(err, compact.ErrShort) {
		return muxrpc.RequestDecodeError(&muxrpc.Cause{Message: "Out of bounds"}) // the reference implementation's text
	}
	return muxrpc.RequestDecodeError(err)
}

// causes are the causes of hyperdht's errors. An error may match several; the first is its cause.
var causes = []struct {
	err   error
	cause domain.Cause
}{
	{hyperdht.ErrNoIPv4, domain.CauseNoIPv4},
	{hyperdht.ErrNoDHTNode, domain.CauseNoDHTNode},
	{hyperdht.ErrTooFewNodes, domain.CauseTooFewNodes},
	{hyperdht.ErrPeerNotFound, domain.CausePeerNotFound},
	{hyperdht.ErrPeerConnectionFailed, domain.CausePeerSilentAtFirst},
	{hyperdht.ErrPeerSilent, domain.CausePeerSilent},
	{hyperdht.ErrServerIncompatible, domain.CauseIncompatible},
	{hyperdht.ErrServerError, domain.CauseServerError},
	{hyperdht.ErrBadHandshakeReply, domain.CauseBadReply},
	{hyperdht.ErrDoubleRandom, domain.CauseDoubleRandom},
	{hyperdht.ErrProbeTimeout, domain.CauseNATUnknown},
	{hyperdht.ErrCannotHolepunch, domain.CauseNoPunchNode},
	{hyperdht.ErrRemoteNotPunching, domain.CauseNotPunching},
	{hyperdht.ErrRemoteNotPunchable, domain.CauseNotPunchable},
	{hyperdht.ErrRemoteBusy, domain.CausePeerBusy},
	{hyperdht.ErrRemoteAborted, domain.CausePunchEnded},
	{hyperdht.ErrPunchesElsewhere, domain.CauseBusy},
	{hyperdht.ErrHolepunchAborted, domain.CausePunchFailed},
	{hyperdht.ErrNoRelay, domain.CauseNoRelay},
	{hyperdht.ErrRelayFull, domain.CauseRelayFull},
	{hyperdht.ErrRelayKeyFull, domain.CauseRelayKeyFull},
	{hyperdht.ErrRelayExpired, domain.CauseRelayExpired},
	{hyperdht.ErrRelayAborted, domain.CauseRelay},
	{hyperdht.ErrNoAddress, domain.CauseNoAddress},
	{hyperdht.ErrTimeout, domain.CauseTimeout},
	{domain.ErrTimeout, domain.CauseTimeout},
}

// CauseOf returns the cause of an error of this package or of hyperdht, empty for an unknown one.
func CauseOf(err error) domain.Cause {
	if c := domain.CauseOf(err); c != "" {
		return c
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	return ""
}

// connectionError wraps the error that ended a connection; nil is a clean end by the peer.
func connectionError(err error) error {
	if err == nil {
		err = errPeerEnded
	}
	if _, ok := errors.AsType[*ports.ConnectionError](err); ok {
		return err
	}
	e := &ports.ConnectionError{Err: err, Cause: CauseOf(err), Silent: errors.Is(err, hyperdht.ErrPeerSilent)}
	if busy, ok := errors.AsType[*hyperdht.BusyError](err); ok {
		e.Busy, e.RetryAfter = true, busy.RetryAfter
	}
	return e
}

// answered converts an error in an answer to a *domain.RemoteError. ok is false when err is no answer of the peer.
func answered(err error) (remote *domain.RemoteError, ok bool) {
	e, is := errors.AsType[*muxrpc.Error](err)
	if !is {
		return nil, false
	}
	switch e.Code {
	case muxrpc.CodeChannelClosed, muxrpc.CodeChannelDestroyed, muxrpc.CodeTimeoutExceeded:
		return nil, false
	}
	text := e.Error()
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return &domain.RemoteError{Message: cut(text), Unknown: e.Code == muxrpc.CodeUnknownMethod}, true
}

// cut truncates a message to maxMessage bytes.
func cut(text string) string { return text[:min(len(text), maxMessage)] }
