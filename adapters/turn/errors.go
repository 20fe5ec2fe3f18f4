package turn

import (
	"errors"
	"fmt"
	"net/netip"
)

var (
	// ErrClosed is the error of a host that was closed.
	ErrClosed = errors.New("turn: closed")

	errHungUp    = errors.New("the server has closed the connection")
	errSilent    = errors.New("the server does not answer")
	errNoAddress = errors.New("the server says that it relays, and not at which address")
)

// Error is the failure of a server to relay.
type Error struct {
	Server string // its name
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("TURN server %s: %v", e.Server, e.Err) }

// Unwrap returns the cause: a *RefusedError, a *pipe.Error or another.
func (e *Error) Unwrap() error { return e.Err }

// RefusedError is the server's answer that it does not relay.
type RefusedError struct {
	Code   int    // of RFC 8656 or RFC 8489
	Reason string // the server's text
	Hint   string // what to do
}

func (e *RefusedError) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("%d %s", e.Code, e.Reason)
	}
	return fmt.Sprintf("%d %s: %s", e.Code, e.Reason, e.Hint)
}

// Codes of errors that mean more than a failure.
const (
	codeAlternate    = 300
	codeUnauthorized = 401
	codeMismatch     = 437
	codeStaleNonce   = 438
)

// hints are the remedies by code.
var hints = map[int]string{
	codeAlternate:    "it refers to another server, which is followed once and over UDP only: set that one",
	400:              "does it know the credentials, and are they still valid?",
	codeUnauthorized: "it does not know the user, or the password is wrong",
	403:              "it does not allow this client to use it",
	codeMismatch:     "it has no allocation of this connection, or another one: it was restarted, or something between changes addresses",
	codeStaleNonce:   "it does not accept the nonces that it gives: do its clock and its settings make them last?",
	440:              "it relays no IPv4",
	441:              "the user is not the one that has allocated",
	442:              "it relays no UDP",
	486:              "the user has as many allocations as the server allows: use other credentials for each site, or raise its limit",
	508:              "it has no room: too many clients use it, or its range of ports is used up",
}

// refused returns the error of an answer.
func refused(m *message) *RefusedError {
	reason := m.reason
	if reason == "" {
		reason = "(without a reason)"
	}
	return &RefusedError{Code: m.code, Reason: fmt.Sprintf("%q", reason), Hint: hints[m.code]}
}

// checkRelayed checks the address at which a server relays.
func checkRelayed(at netip.AddrPort, server netip.Addr) error {
	switch {
	case !at.Addr().IsValid():
		return errNoAddress
	case !isReachable(at, server):
		return fmt.Errorf("the server relays at %s, want an IPv4 address and a port that peers can reach: is its public address configured?", at)
	}
	return nil
}
