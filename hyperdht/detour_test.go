package hyperdht_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// Both sides know why a relay carries their connection.
func TestDetourHasTheReason(t *testing.T) {
	type side struct {
		reason       hyperdht.DetourReason
		ours, theirs hyperdht.NATKind
		err          error
	}
	const consistent, scattered = hyperdht.NATConsistent, hyperdht.NATRandom
	for _, test := range []struct {
		name              string
		dialler, answerer place
		apart             bool // no direct path
		opts              hyperdht.ConnectOptions
		later             func(*lab, *hyperdht.Connection)
		dials, answers    side
	}{
		{name: "direct", dialler: cone(), answerer: cone(), later: func(l *lab, _ *hyperdht.Connection) { l.run(30 * time.Second) }},
		{
			name: "searching", dialler: cone(), answerer: cone(), apart: true, later: func(l *lab, _ *hyperdht.Connection) { l.run(time.Second) },
			dials:   side{reason: hyperdht.DetourSearching, ours: consistent, theirs: consistent},
			answers: side{reason: hyperdht.DetourSearching, ours: consistent, theirs: consistent},
		},
		{
			name: "no packet gets through", dialler: cone(), answerer: cone(), apart: true, later: func(l *lab, _ *hyperdht.Connection) { l.run(40 * time.Second) },
			dials:   side{hyperdht.DetourNotFound, consistent, consistent, hyperdht.ErrHolepunchAborted},
			answers: side{reason: hyperdht.DetourNotFound, ours: consistent, theirs: consistent},
		},
		{
			name: "two random NATs", dialler: random(), answerer: random(), later: func(l *lab, _ *hyperdht.Connection) { l.run(40 * time.Second) },
			dials:   side{hyperdht.DetourNotFound, scattered, scattered, hyperdht.ErrDoubleRandom},
			answers: side{reason: hyperdht.DetourNotFound, ours: scattered}, // an abort names no kind
		},
		{
			name: "a rule", dialler: cone(), answerer: cone(), opts: hyperdht.ConnectOptions{Paths: hyperdht.RelayOnly}, later: func(l *lab, _ *hyperdht.Connection) { l.run(40 * time.Second) },
			dials: side{reason: hyperdht.DetourRule}, answers: side{reason: hyperdht.DetourSearching, ours: consistent}, // it waits for the dialler
		},
		{
			name: "a takeover", dialler: cone(), answerer: cone(), later: func(l *lab, c *hyperdht.Connection) {
				l.run(30 * time.Second)
				l.apart()
				l.dialler.host.Do(func() { c.Send([]byte("while the direct way is dead")) })
				l.run(20 * time.Second)
			},
			dials: side{reason: hyperdht.DetourTakeover}, answers: side{reason: hyperdht.DetourTakeover},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			l.relay(hyperdht.RelayConfig{})
			l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
			if test.apart {
				l.apart()
			}
			l.begin()
			c := l.dial(test.opts)
			l.until("dialler", hyperdht.AttemptOpen)
			test.later(l, c)
			for name, is := range map[string]struct {
				c    *hyperdht.Connection
				want side
			}{"dialler": {c, test.dials}, "answerer": {l.accepted[0], test.answers}} {
				got := is.c.Detour()
				if got.Reason != is.want.reason || got.Ours != is.want.ours || got.Theirs != is.want.theirs || !errors.Is(got.Err, is.want.err) {
					t.Errorf("%s, on the path %s: %+v, want %+v", name, is.c.Path(), got, is.want)
				}
			}
		})
	}
}
