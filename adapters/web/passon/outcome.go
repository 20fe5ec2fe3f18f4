package passon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dhtprom/dhtprom/domain"
)

const (
	outcomeField = "Dhtprom-Outcome"
	answered     = "answered" // by the exporter
	failed       = "failed"   // there, with the body of a failure

	// maxFailure bounds the body of a failure, maxText the text in it, in bytes.
	maxFailure = 8 << 10
	maxText    = 500
)

// The kinds of failures. Those of other members are unexpected, as are those without a kind.
const (
	byClient   = "client" // a domain.RemoteError
	byTime     = "timeout"
	noWay      = "no way" // the member cannot ask the client now
	noSession  = "not connected"
	notLoaded  = "not loaded"
	faultClass = "fault "
)

// failure is the body of a response to a scrape that failed at a member.
type failure struct {
	Kind  string        `json:"kind"`
	Text  string        `json:"text"`
	After time.Duration `json:"after,omitempty"`
}

// MarkAnswer marks a response as that of an exporter.
func MarkAnswer(h http.Header) { h.Set(outcomeField, answered) }

// WriteFailure responds that a scrape failed.
func WriteFailure(w http.ResponseWriter, err error) {
	body, failing := json.Marshal(failureOf(err))
	if failing != nil { // text and numbers always encode
		body = nil
	}
	h := w.Header()
	h.Set(outcomeField, failed)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = w.Write(body)
}

func failureOf(err error) failure {
	remote, isRemote := errors.AsType[*domain.RemoteError](err)
	reported, isReported := errors.AsType[*domain.ScrapeError](err)
	late, isLate := errors.AsType[*domain.TimeoutError](err)
	large, isLarge := errors.AsType[*domain.BodyTooLargeError](err)
	f := failure{Kind: noWay, Text: err.Error()}
	switch {
	case isRemote:
		f = failure{Kind: byClient, Text: remote.Message}
	case isReported:
		f = failure{Kind: faultClass + strconv.Itoa(int(reported.Fault)), Text: reported.Reason}
	case isLarge:
		f = failure{Kind: faultClass + strconv.Itoa(int(domain.FaultClient)), Text: large.Error()}
	case errors.Is(err, domain.ErrNotLoaded):
		f.Kind = notLoaded
	case errors.Is(err, domain.ErrNotConnected):
		f.Kind = noSession
	case isLate:
		f = failure{Kind: byTime, Text: late.Waiting, After: late.After}
	}
	f.Text = oneLine(f.Text)
	return f
}

// oneLine returns text that may come from the network as one short line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, text[:min(len(text), maxText)])
	return strings.TrimSpace(text)
}

// Outcome returns nil for a response of an exporter, and otherwise the error of the scrape. It wraps domain.ErrNoAnswer if the response is
// no member's, or the member cannot ask the client now.
func Outcome(res *http.Response) error {
	switch res.Header.Get(outcomeField) {
	case answered:
		return nil
	case failed:
	default:
		return fmt.Errorf("%w: a response with status %d is not from a member of the group", domain.ErrNoAnswer, res.StatusCode)
	}
	var f failure
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFailure))
	if err == nil {
		err = json.Unmarshal(body, &f)
	}
	if err != nil {
		return fmt.Errorf("%w: its failure cannot be read: %w", domain.ErrNoAnswer, err)
	}
	return f.error()
}

func (f failure) error() error {
	f.Text = oneLine(f.Text)
	fault, isFault := strings.CutPrefix(f.Kind, faultClass)
	switch {
	case isFault:
		n, err := strconv.Atoi(fault)
		if err != nil || n < 0 || n > int(domain.FaultRequest) {
			return &domain.ScrapeError{Fault: domain.FaultClient, Reason: f.Text}
		}
		return &domain.ScrapeError{Fault: domain.Fault(n), Reason: f.Text}
	case f.Kind == byClient:
		return &domain.RemoteError{Message: f.Text}
	case f.Kind == byTime:
		return &domain.TimeoutError{Waiting: f.Text, After: f.After}
	case f.Kind == noSession:
		return &noWayError{f.Text, domain.ErrNotConnected}
	case f.Kind == notLoaded:
		return &noWayError{f.Text, domain.ErrNotLoaded}
	}
	return &noWayError{f.Text, nil}
}

// Across returns the error of a scrape at a member as the member that passed the scrape on gets it.
func Across(err error) error {
	if err == nil {
		return nil
	}
	return failureOf(err).error()
}

// noWayError means that a member cannot ask the client now.
type noWayError struct {
	text  string
	cause error // of the package domain; may be nil
}

func (e *noWayError) Error() string { return e.text }

// Is makes errors.Is(err, domain.ErrNoAnswer) true.
func (e *noWayError) Is(target error) bool { return target == domain.ErrNoAnswer }

// Unwrap returns the cause.
func (e *noWayError) Unwrap() error { return e.cause }
