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

// Ends of connections that have no error of their own.
var (
	errPeerEnded     = errors.New("the peer ended the connection")
	errChannelClosed = errors.New("the peer closed the channel")
	errNotAccepted   = errors.New("the peer does not offer this service")
	errUnread        = errors.New("the peer does not read the answers it asks for")
)

// VersionError refuses a message of a version that is not spoken. Its text is the original's, which travels.
type VersionError struct{ text string }

func (e *VersionError) Error() string { return e.text }

// NameError refuses a name that is too long to be looked at.
type NameError struct {
	Field    string
	Len, Max int
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s is %d bytes long, at most %d are allowed", e.Field, e.Len, e.Max)
}

// Is makes the refusal one of domain's.
func (e *NameError) Is(target error) bool { return target == domain.ErrName }

// decodeError is what a request that cannot be read is answered with.
func decodeError(err error) error {
	if errors.Is(err, compact.ErrShort) {
		return muxrpc.RequestDecodeError(&muxrpc.Cause{Message: "Out of bounds"}) // the original's text
	}
	return muxrpc.RequestDecodeError(err)
}

// connectionError wraps what ended a connection; nil is a clean end.
func connectionError(err error) error {
	if err == nil {
		err = errPeerEnded
	}
	if _, ok := errors.AsType[*ports.ConnectionError](err); ok {
		return err
	}
	e := &ports.ConnectionError{Err: err, Silent: errors.Is(err, hyperdht.ErrPeerSilent)}
	if busy, ok := errors.AsType[*hyperdht.BusyError](err); ok {
		e.Busy, e.RetryAfter = true, busy.RetryAfter
	}
	return e
}

// answered turns the failure of a request into what ports promises: an answer that refuses is a RemoteError.
// ok is false when there was no answer.
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

// cut bounds a message.
func cut(text string) string { return text[:min(len(text), maxMessage)] }
