package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// A relay kept as a second way beside a direct path.
func TestSecondWay(t *testing.T) {
	for _, test := range []struct {
		name              string
		dialler, answerer place
		relayed           bool // at first
		then              func(l *lab, relay *actor, say func(string))
	}{
		{name: "second-way-takes-over", dialler: cone(), answerer: cone(), then: func(l *lab, _ *actor, say func(string)) {
			l.run(30 * time.Second)
			l.apart()
			say("while the direct way is dead")
			l.run(20 * time.Second)
			say("on the relay")
			l.run(10 * time.Second)
			l.together()
			l.run(40 * time.Second)
			say("on the direct way again")
			l.run(5 * time.Second)
		}},
		{name: "second-way-one-direction-out", dialler: cone(), answerer: cone(), then: func(l *lab, _ *actor, say func(string)) {
			l.run(30 * time.Second)
			l.log.note("the dialler's packets are lost")
			l.cut(l.dialler, l.answerer)
			say("while they are")
			l.run(30 * time.Second)
		}},
		{name: "second-way-one-direction-back", dialler: cone(), answerer: cone(), then: func(l *lab, _ *actor, say func(string)) {
			l.run(30 * time.Second)
			l.log.note("the answerer's packets are lost")
			l.cut(l.answerer, l.dialler)
			say("while they are")
			l.run(30 * time.Second)
		}},
		{name: "second-way-of-open-server", dialler: cone(), answerer: open(), then: func(l *lab, _ *actor, say func(string)) {
			l.run(30 * time.Second)
			l.apart()
			say("while the direct way is dead")
			l.run(20 * time.Second)
		}},
		{name: "second-way-after-upgrade", dialler: cone(), answerer: cone(), relayed: true, then: func(l *lab, _ *actor, say func(string)) {
			l.run(5 * time.Second)
			l.together()
			l.run(10 * time.Second)
			l.apart()
			say("while the direct way is dead")
			l.run(20 * time.Second)
		}},
		{name: "second-way-lost-while-it-carries", dialler: cone(), answerer: cone(), then: func(l *lab, relay *actor, say func(string)) {
			l.run(30 * time.Second)
			l.apart()
			say("while the direct way is dead")
			l.run(20 * time.Second)
			l.together()
			l.off(relay)
			say("while the relay is dead")
			l.run(60 * time.Second)
		}},
		{name: "second-way-comes-back", dialler: cone(), answerer: cone(), then: func(l *lab, relay *actor, say func(string)) {
			l.run(30 * time.Second)
			l.off(relay)
			l.run(17 * time.Second)
			l.together()
			l.run(60 * time.Second)
			l.apart()
			say("while the direct way is dead")
			l.run(20 * time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			relay, _ := l.relay(hyperdht.RelayConfig{})
			l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
			if test.relayed {
				l.apart()
			}
			l.begin()
			c := l.dial(hyperdht.ConnectOptions{})
			l.until("dialler", hyperdht.AttemptOpen)
			test.then(l, relay, func(what string) {
				l.dialler.host.Do(func() { c.Send([]byte(what)) })
			})
			l.end(test.name)
		})
	}
}
