package peering_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// A server that does not punch waits for direct packets of a relayed caller. The caller counts among those under way until
// that wait ends, and the connection stays.
func TestSearchForABetterPathThanTheRelayEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay, NeverPunch: true})
	l.apart()
	c := l.dial(hyperdht.ConnectOptions{})
	for _, test := range []struct {
		wait           time.Duration
		callers, after int
	}{{25 * time.Minute, 1, 1}, {10 * time.Minute, 0, 0}} {
		l.run(test.wait)
		if n, s := size(l.answerer.node, "callers"), size(l.answerer.node, "sessions of callers"); n != test.callers || s != test.after {
			t.Errorf("after %v: %d callers, %d sessions", test.wait, n, s)
		}
		if c.Path() != hyperdht.PathRelayed || c.Closed() {
			t.Errorf("after %v: the connection is gone", test.wait)
		}
	}
}
