package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// phase is a moment of a dial at which something happens to it.
type phase struct {
	name  string
	at    hyperdht.AttemptStep // of the dialler
	later time.Duration
	apart bool // so that it is no later before long
	relay bool
}

var phases = []phase{
	{name: "searching", at: hyperdht.AttemptStarted},
	{name: "shaking hands", at: hyperdht.AttemptHandshake, later: time.Millisecond},
	{name: "probing", at: hyperdht.AttemptProbing, later: time.Millisecond, apart: true},
	{name: "in the punch round", at: hyperdht.AttemptProbed, later: time.Millisecond, apart: true},
	{name: "punching", at: hyperdht.AttemptPunching, later: 1500 * time.Millisecond, apart: true},
	{name: "with a path that is not proven", at: hyperdht.AttemptPath},
	{name: "joining a relay", at: hyperdht.AttemptRelay, later: 5 * time.Millisecond, apart: true, relay: true},
	{name: "relayed", at: hyperdht.AttemptOpen, later: time.Second, apart: true, relay: true},
	{name: "open", at: hyperdht.AttemptOpen, later: time.Second},
}

// reach begins a dial and stops in a phase. What came before is left out of the transcript.
func (p phase) reach(t *testing.T, where place) (*lab, *hyperdht.Connection) {
	l := newLab(t, 4, where, where)
	opts := hyperdht.ListenOptions{}
	if p.relay {
		l.relay(hyperdht.RelayConfig{})
		opts.RelayThrough = throughRelay
	}
	l.listen(opts)
	if p.apart {
		l.apart()
	}
	l.begin()
	l.log.muted = true
	l.await("dialler", p.at)
	c := l.dial(hyperdht.ConnectOptions{})
	l.awaited()
	l.run(p.later)
	l.show()
	return l, c
}

// What happens to a dial that ends on one side, in each of its phases.
func TestPhases(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(l *lab, c *hyperdht.Connection)
		lasts time.Duration
	}{
		{name: "phase-dial-is-cancelled", do: func(l *lab, c *hyperdht.Connection) {
			l.log.note("the dial is cancelled")
			l.dialler.host.Do(func() { c.Destroy(nil) })
		}},
		{name: "phase-answerer-is-cut-off", lasts: time.Minute, do: func(l *lab, _ *hyperdht.Connection) { l.off(l.answerer) }},
		{name: "phase-dialler-is-cut-off", lasts: time.Minute, do: func(l *lab, _ *hyperdht.Connection) { l.off(l.dialler) }},
		{name: "phase-dialler-is-suspended", do: func(l *lab, _ *hyperdht.Connection) {
			l.log.note("the dialler is suspended for 20 s")
			l.dialler.host.Do(func() { l.dialler.node.Suspend(nil) })
			l.run(20 * time.Second)
			l.resume(l.dialler)
		}},
		{name: "phase-answerer-is-suspended", do: func(l *lab, _ *hyperdht.Connection) {
			l.log.note("the answerer is suspended for 20 s")
			l.answerer.host.Do(func() { l.answerer.node.Suspend(nil) })
			l.run(20 * time.Second)
			l.resume(l.answerer)
		}},
		{name: "phase-answerer-is-closed", do: func(l *lab, _ *hyperdht.Connection) {
			l.log.note("the answerer's node is closed")
			l.answerer.host.Do(func() { l.answerer.node.Close(nil) })
		}},
		{name: "phase-server-is-closed", do: func(l *lab, _ *hyperdht.Connection) {
			l.log.note("the server is closed")
			l.answerer.host.Do(func() { l.server.Close(nil) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := ""
			for _, p := range phases {
				l, c := p.reach(t, cone())
				test.do(l, c)
				l.run(max(test.lasts, 30*time.Second))
				text += "== " + p.name + "\n" + l.finish() + "\n"
			}
			keep(t, test.name, text)
		})
	}
}

func (l *lab) resume(a *actor) {
	l.log.note("the %s resumes", a.name)
	a.host.Do(func() {
		if err := a.node.Resume(); err != nil {
			l.t.Fatal(err)
		}
	})
}
