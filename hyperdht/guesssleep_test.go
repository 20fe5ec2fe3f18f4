package hyperdht_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// A machine that sleeps while it guesses ports does not go on with it when it wakes, since the peer has sent all of its probes, and the
// rest after the guess is over with the sleep.
func TestGuessEndsWithTheSleepOfItsMachine(t *testing.T) {
	for _, tt := range []struct {
		name    string
		asleep  time.Duration
		goesOn  bool // the peer still guesses
		sleeper func(l *lab) *actor
	}{
		{"the dialler sleeps", 40 * time.Second, false, func(l *lab) *actor { return l.dialler }},
		{"the answerer sleeps", 40 * time.Second, false, func(l *lab) *actor { return l.answerer }},
		{"the dialler sleeps for a moment", 2 * time.Second, true, func(l *lab) *actor { return l.dialler }},
		{"the answerer sleeps for a moment", 2 * time.Second, true, func(l *lab) *actor { return l.answerer }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), random())
			l.listen(hyperdht.ListenOptions{})
			l.apart()
			c := l.dial(hyperdht.ConnectOptions{})
			l.run(3 * time.Second)
			for _, a := range []*actor{l.dialler, l.answerer} {
				if n := size(a.node, "random punches"); n != 1 {
					t.Fatalf("%s runs %d guesses", a.name, n)
				}
			}
			host := tt.sleeper(l).host
			host.Sleep()
			l.run(tt.asleep)
			l.together()
			host.Wake()
			l.run(100 * time.Millisecond)
			if !tt.goesOn {
				c = l.dial(hyperdht.ConnectOptions{})
			}
			var failed error
			c.OnClose(func(err error) { failed = err })
			if !l.net.RunUntil(c.Opened, 8*time.Second) {
				_, busy := errors.AsType[*hyperdht.BusyError](failed)
				t.Errorf("no connection, the node is busy %v: %v", busy, failed)
			}
		})
	}
}
