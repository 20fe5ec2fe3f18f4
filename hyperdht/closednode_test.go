package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// A node that is closed in the middle of its connections leaves no timer behind, on either side of them.
func TestClosedNodeLeavesNoTimer(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(10 * time.Second)
	if c.Path() != hyperdht.PathPunched || len(l.accepted) != 1 {
		t.Fatalf("path %v, %d accepted", c.Path(), len(l.accepted))
	}
	for _, a := range []*actor{l.dialler, l.answerer} {
		closed := false
		a.host.Do(func() { a.node.Close(func() { closed = true }) })
		if !l.net.RunUntil(func() bool { return closed }, time.Minute) {
			t.Fatalf("%s does not close", a.name)
		}
		if n, m := a.host.Timers(), a.host.Sockets(); n != 0 || m != 0 {
			t.Errorf("%s: %d timers and %d sockets are left", a.name, n, m)
		}
	}
}
