package domain

import (
	"errors"
	"fmt"
	"time"
)

// Reasons of failed scrapes.
var (
	ErrUnknownAlias = errors.New("unknown alias")
	ErrNotConnected = errors.New("not connected")
	ErrNotLoaded    = errors.New("the alias table is not loaded yet")
	ErrTimeout      = errors.New("timed out")
	ErrClosed       = errors.New("closed")
)

// Unauthorised is a scraper's answer to a wrong secret, the same text as in the JavaScript packages.
const Unauthorised = "Unauthorised"

// RemoteError is a failure that the peer reported. A client's message names a uid that the client's own log explains.
type RemoteError struct {
	Message string
	Scraper bool // reported by a scraper, not by a client
	Unknown bool // unknown method: the JavaScript packages have no goodbyes
}

func (e *RemoteError) Error() string {
	if e.Scraper {
		return "scraper reported: " + e.Message
	}
	return "client reported: " + e.Message
}

// CauseOf implements CauseError.
func (e *RemoteError) CauseOf() Cause {
	if e.Scraper && e.Message == Unauthorised {
		return CauseSecret
	}
	return ""
}

// TimeoutError reports a timeout: the operation and its duration. It matches ErrTimeout.
type TimeoutError struct {
	Waiting string // "connection", "metrics channel", "answer" ...
	After   time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("timed out after %s waiting for %s", e.After, e.Waiting)
}

// Is makes errors.Is(err, ErrTimeout) true.
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }

// BodyTooLargeError reports metrics that are larger than a message, or than their requester accepts.
type BodyTooLargeError struct{ Size, Max int }

func (e *BodyTooLargeError) Error() string {
	return fmt.Sprintf("metrics are %d bytes, want at most %d", e.Size, e.Max)
}
