package dht

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

// A dial that has to wait for another one reports that, and for how long.
func TestBusySidesAreToldApart(t *testing.T) {
	for _, test := range []struct {
		err  error
		busy bool
		wait time.Duration
	}{
		{&hyperdht.BusyError{Err: hyperdht.ErrRemoteBusy, RetryAfter: 7 * time.Second}, true, 7 * time.Second},
		{&hyperdht.BusyError{Err: hyperdht.ErrPunchesElsewhere}, true, 0},
		{hyperdht.ErrRemoteAborted, false, 0},
		{hyperdht.ErrPeerNotFound, false, 0},
	} {
		e, ok := errors.AsType[*ports.ConnectionError](connectionError(test.err))
		if !ok || e.Busy != test.busy || e.RetryAfter != test.wait || !errors.Is(e, test.err) {
			t.Errorf("%v becomes %+v", test.err, e)
		}
	}
}

func TestErrorsOfConnectionsHaveTheirCause(t *testing.T) {
	explained := map[domain.Cause]bool{domain.CauseSecret: true} // of answers, not of connections
	for i, c := range causes {
		for _, before := range causes[:i] {
			if errors.Is(c.err, before.err) {
				t.Errorf("%v has the cause %s, since it comes after %v", c.err, before.cause, before.err)
			}
		}
		if got := domain.CauseOf(fmt.Errorf("not connected: %w", connectionError(c.err))); got != c.cause {
			t.Errorf("%v has the cause %q, want %q", c.err, got, c.cause)
		}
		explained[c.cause] = true
	}
	for _, c := range domain.Causes() {
		if !explained[c] {
			t.Errorf("no error has the cause %s", c)
		}
	}
	if c := domain.CauseOf(connectionError(errPeerEnded)); c != "" {
		t.Errorf("a clean end has the cause %s", c)
	}
}
