package muxrpc

import (
	"errors"
	"fmt"
	"time"
)

// Codes of errors. The first four are sent; the others are created by the caller's side.
const (
	CodeUnknownMethod = "UNKNOWN_METHOD"
	CodeRequestError  = "REQUEST_ERROR"
	CodeDecodeError   = "DECODE_ERROR"
	CodeEncodeError   = "ENCODE_ERROR"

	CodeTimeoutExceeded  = "TIMEOUT_EXCEEDED"
	CodeChannelClosed    = "CHANNEL_CLOSED"
	CodeChannelDestroyed = "CHANNEL_DESTROYED"
)

// Error is the failure of a request.
type Error struct {
	// Code is one of the Code constants. It is empty when the other side sent another code: it must not be
	// able to make an error look as if this side had made it.
	Code    string
	Message string
	// Cause is the cause that the other side reported, or nil.
	Cause error
}

// Cause is the cause of an error as it travels. A responder may fail with one to send a code.
type Cause struct {
	Message string
	Code    string // may be empty
	Context string // may be empty
}

// Errors that pending requests fail with; compare with errors.Is.
var (
	ErrClosed    = &Error{Code: CodeChannelClosed, Message: "channel closed"}
	ErrDestroyed = &Error{Code: CodeChannelDestroyed, Message: "channel destroyed"}
)

// ErrMalformed means that a message of the other side was malformed, which destroys the connection.
var ErrMalformed = errors.New("muxrpc: malformed message")

// ErrUnread means that the other side sent further requests without reading answers, which destroys the connection.
var ErrUnread = errors.New("muxrpc: other side does not read")

// Error returns the text of the reference implementation: the code in front of the message.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is an Error with the same code, so that the variables and &Error{Code: ...} work
// as patterns.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code != "" && t.Code == e.Code
}

// Error returns the message.
func (c *Cause) Error() string { return c.Message }

// Timeout returns the reason to cancel a call that took longer than d.
func Timeout(d time.Duration) *Error {
	return &Error{Code: CodeTimeoutExceeded, Message: fmt.Sprintf("timeout of %dms exceeded", d.Milliseconds())}
}

// RequestDecodeError is the error of a responder that cannot decode the value of a request.
func RequestDecodeError(cause error) *Error {
	return &Error{Code: CodeDecodeError, Message: "Could not decode request", Cause: cause}
}

// ResponseDecodeError is the error of a caller that cannot decode the value of a response.
func ResponseDecodeError(cause error) *Error {
	return &Error{Code: CodeDecodeError, Message: "Could not decode response", Cause: cause}
}

// ResponseEncodeError is the error of a responder that cannot encode its result.
func ResponseEncodeError(cause error) *Error {
	return &Error{Code: CodeEncodeError, Message: "Could not encode response", Cause: cause}
}

// failed turns a responder's error into the one that is sent.
func failed(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeRequestError, Message: "Request failed", Cause: err}
}
