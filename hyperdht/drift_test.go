package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// drifting is behind a NAT that looks consistent to the nodes that are asked first, and gives further remote ends ports of their own.
func drifting() place {
	n := simnet.PortRestricted()
	n.Ports, n.Shared = simnet.RandomPort, 4
	return place{nat: &n}
}

// A verdict on a NAT that has failed is not believed again: the next punch takes the NAT for a random one.
func TestPunchesBehindNATsThatDrift(t *testing.T) {
	for _, test := range []struct {
		name              string
		dialler, answerer place
		drifts            func(l *lab) *hyperdht.Node
	}{
		{"drift-dialler", drifting(), cone(), func(l *lab) *hyperdht.Node { return l.dialler.node }},
		{"drift-answerer", cone(), drifting(), func(l *lab) *hyperdht.Node { return l.answerer.node }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 6, test.dialler, test.answerer)
			l.listen(hyperdht.ListenOptions{})
			l.begin()
			l.log.luck, l.log.blur = true, true
			first := l.dial(hyperdht.ConnectOptions{})
			l.run(15 * time.Second)
			l.end(test.name)
			if s := test.drifts(l).Status().Peering; !first.Closed() || s.NATDrifts != 1 {
				t.Fatalf("closed: %v; %d drifts seen, want that the first dial fails and shows one", first.Closed(), s.NATDrifts)
			}
			var last *hyperdht.Connection
			for range 4 { // guessing may fail
				last = l.dial(hyperdht.ConnectOptions{})
				l.run(30 * time.Second)
				if last.Opened() {
					break
				}
			}
			if !last.Opened() || last.Path() != hyperdht.PathPunched {
				t.Errorf("the path is %v", last.Path())
			}
			if s := test.drifts(l).Status().Peering; s.PunchesRandom == 0 {
				t.Error("no ports were guessed")
			}
		})
	}
}
