package domain

import (
	"fmt"
	"time"
)

// ScrapeRequest is a request for the metrics of a target.
type ScrapeRequest struct {
	Target string        // a target of the client, by its name; empty for its only one
	Query  string        // parameters as in a URL, without the question mark
	Within time.Duration // the time that is left for all of the response
	Header []HeaderField // of the caller, those that the exporter sees
	// Text asks for what the method metrics of the JavaScript packages carries: a text page of at most MaxBody bytes in no coding,
	// or a failure.
	Text bool
	// Compress means that the requester decodes gzip, whatever the header says, and that the bytes on the line cost more than that.
	Compress bool
	// PassedOn means that another member of the group has passed the request on, which does not go to a third one.
	PassedOn bool
}

// HeaderField is one header field of a request. Name is in its canonical form; neither has control characters.
type HeaderField struct{ Name, Value string }

// Passes reports whether a target gets a header field of a caller, by its canonical name: one of those that all targets get, or one that
// it asks for. Others stay at the scraper, as its callers' credentials do.
func (f Fields) Passes(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Traceparent", "Tracestate", "User-Agent":
		return true
	}
	for n := range f.All() {
		if n == name {
			return true
		}
	}
	return false
}

// Field is the value of the first header field with a canonical name, empty if there is none.
func (r *ScrapeRequest) Field(name string) string {
	for _, f := range r.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// StatusOK is the status of HTTP for success.
const StatusOK = 200

// ScrapeHead is the head of a response, before its body.
type ScrapeHead struct {
	Status      int    // of HTTP, 100 to 999
	ContentType string // as the exporter gave it; empty for none
	Coding      string // content coding of the body, as gzip; empty for none
	Length      int64  // of the body in bytes, in its coding; -1 for unknown
}

// Fault is the part of a scrape's way because of which it failed.
type Fault uint8

// The faults.
const (
	FaultClient   Fault = iota // the client did not pass the request on: a limit, an unknown target
	FaultExporter              // the exporter could not be reached, or broke off
	FaultTime                  // the time of the request is over
	FaultRequest               // the request has what its target does not allow
)

// ScrapeError is a failure that a client reported for a scrape.
type ScrapeError struct {
	Fault  Fault
	Reason string // one line; on the scraper's side untrusted text from the network
}

func (e *ScrapeError) Error() string { return e.Reason }

// Is makes errors.Is(err, ErrTimeout) true for FaultTime.
func (e *ScrapeError) Is(target error) bool { return e.Fault == FaultTime && target == ErrTimeout }

// StatusError is the status of an exporter that did not answer with 200 OK. It is passed on, and is an error in logs and statistics.
type StatusError struct {
	Status int
	Line   string // the first line of the body, untrusted text; empty if there is none
}

func (e *StatusError) Error() string {
	if e.Line == "" {
		return fmt.Sprintf("exporter answered %d", e.Status)
	}
	return fmt.Sprintf("exporter answered %d: %s", e.Status, e.Line)
}
