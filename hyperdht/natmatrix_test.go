package hyperdht_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// natKind is a place by what its router does.
type natKind struct {
	name   string
	place  place
	random bool // every remote sees another port
}

func natKinds() []natKind {
	all := []natKind{{name: "open", place: open()}, {name: "public", place: public()}}
	for _, p := range simnet.Presets() {
		if n := p.NAT; n.Mapping != simnet.Never {
			random := n.Mapping > simnet.EndpointIndependent && !(n.Ports == simnet.PreservePort && n.Overload)
			all = append(all, natKind{name: p.Name, place: place{nat: &n}, random: random})
		}
	}
	return all
}

// Every kind of dialler with every kind of answerer: by which path they meet, when, and with how many messages on the
// wire. Where ports are guessed, only the path does not depend on chance.
func TestNATMatrix(t *testing.T) {
	kinds := natKinds()
	rows := make([]string, len(kinds))
	t.Run("dialler", func(t *testing.T) {
		for i, d := range kinds {
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				for _, a := range kinds {
					rows[i] += meet(t, d, a, false)
					if d.random && a.random {
						rows[i] += meet(t, d, a, true)
					}
				}
			})
		}
	})
	keep(t, "nat-matrix", strings.Join(rows, "\n"))
}

// meet is one row of the matrix.
func meet(t *testing.T, d, a natKind, relayed bool) string {
	l := newLab(t, 4, d.place, a.place)
	opts := hyperdht.ListenOptions{}
	name := fmt.Sprintf("%s > %s", d.name, a.name)
	if relayed {
		l.relay(hyperdht.RelayConfig{})
		opts.RelayThrough = throughRelay
		name += ", and a relay"
	}
	l.listen(opts)
	l.begin()
	l.log.muted = true
	var why error
	echoed := false
	c := l.dial(hyperdht.ConnectOptions{})
	l.dialler.host.Do(func() {
		c.OnMessage(func([]byte) { echoed = true })
		c.OnClose(func(err error) { why = err })
	})
	if !l.net.RunUntil(func() bool { return echoed || why != nil }, 40*time.Second) {
		t.Errorf("%s: neither a path nor an error", name)
	}
	took, wire := l.log.now(), l.log.wire
	result := c.Path().String()
	if why != nil {
		result = code(why)
	}
	if d.random != a.random && result == "punched" {
		return fmt.Sprintf("%-50s %s, after guessing\n", name, result)
	}
	return fmt.Sprintf("%-50s %s after %.2f s; handshakes %d, rounds %d, probes %d\n", name, result, took.Seconds(), wire["handshakes"], wire["rounds"], wire["probes"])
}
