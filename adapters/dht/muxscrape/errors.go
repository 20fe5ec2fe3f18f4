package muxscrape

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

var (
	// ErrClosed means that the channel is closed.
	ErrClosed = errors.New("muxscrape: channel is closed")
	// ErrMalformed means that a message of the other side cannot be read, which destroys the connection.
	ErrMalformed = fmt.Errorf("muxscrape: malformed message: %w", mux.ErrProtocol)
	// ErrUnread means that a requester has asked on without reading, which destroys the connection.
	ErrUnread = errors.New("muxscrape: responses are not read")
	// ErrBusy means that MaxRunning requests are under way.
	ErrBusy = errors.New("muxscrape: too many requests under way")
	// ErrTooLong means that a field of a request is beyond its limit.
	ErrTooLong = errors.New("muxscrape: too long")
)

// Code is the reason for the end of a response.
type Code uint8

// The codes. Requesters take an unknown one for ByClient.
const (
	Complete   Code = iota // the body is complete
	ByExporter             // the exporter could not be reached, refused, or broke off
	ByTime                 // the time of the request is over
	ByClient               // the client did not pass the request on: no such target, a limit, a name that is not allowed
)

// String returns a word for messages.
func (c Code) String() string {
	switch c {
	case Complete:
		return "complete"
	case ByExporter:
		return "exporter"
	case ByTime:
		return "time"
	case ByClient:
		return "client"
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// EndError is the end of a response that is not complete.
type EndError struct {
	Code   Code   // never Complete
	Reason string // one line, at most 1024 bytes
}

func (e *EndError) Error() string { return e.Reason }
