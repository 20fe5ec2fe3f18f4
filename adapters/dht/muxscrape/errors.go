package muxscrape

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
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

// code is the reason for the end of a response.
type code uint8

// The codes. Requesters take an unknown one for byClient.
const (
	complete   code = iota // the body is complete
	byExporter             // domain.FaultExporter, and so on
	byTime
	byClient
	byRequest
)

var faults = [...]domain.Fault{
	byExporter: domain.FaultExporter, byTime: domain.FaultTime, byClient: domain.FaultClient, byRequest: domain.FaultRequest,
}

// codeOf returns the code of an error that ends a response.
func codeOf(err *domain.ScrapeError) code {
	return code(1 + slices.Index(faults[1:], err.Fault))
}
