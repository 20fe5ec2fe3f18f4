package dht

import (
	"errors"
	"testing"
	"time"

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
