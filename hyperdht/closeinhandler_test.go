package hyperdht_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// A server may be closed by any of its handlers, also by those that decide on callers; they leave nothing behind.
func TestServerMayBeClosedByItsHandlers(t *testing.T) {
	for name, with := range map[string]func(o *hyperdht.ListenOptions, stop func()){
		"Admit": func(o *hyperdht.ListenOptions, stop func()) {
			o.Admit = func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool { stop(); return true }
		},
		"Admit that rejects": func(o *hyperdht.ListenOptions, stop func()) {
			o.Admit = func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool { stop(); return false }
		},
		"Known": func(o *hyperdht.ListenOptions, stop func()) {
			o.Known = func(id.PublicKey) bool { stop(); return true }
		},
		"AdmitLater": func(o *hyperdht.ListenOptions, stop func()) {
			o.AdmitLater = func(a *hyperdht.Admission) { stop(); a.Accept() }
		},
		"Paths": func(o *hyperdht.ListenOptions, stop func()) {
			o.Paths = func(id.PublicKey) hyperdht.PathRule { stop(); return hyperdht.AnyPath }
		},
	} {
		l := newLab(t, 4, open(), open())
		calls := 0
		var opts hyperdht.ListenOptions
		with(&opts, func() {
			calls++
			l.server.Close(nil)
		})
		l.listen(opts)
		l.dial(hyperdht.ConnectOptions{})
		l.run(time.Minute)
		s := l.answerer.node.Status()
		if n := size(l.answerer.node, "callers"); calls == 0 || n != 0 {
			t.Errorf("%s: called %d times, %d callers are left", name, calls, n)
		}
		if s.Peering.WrongTransitions != 0 {
			t.Errorf("%s: %d wrong transitions", name, s.Peering.WrongTransitions)
		}
	}
}

// A dial may be ended, and a server or node closed, by the handler that decides on its punch.
func TestPunchMayBeEndedByItsHandlers(t *testing.T) {
	for name, stop := range map[string]func(l *lab, c *hyperdht.Connection){
		"the dial":            func(l *lab, c *hyperdht.Connection) { c.Destroy(nil) },
		"the dialler's node":  func(l *lab, c *hyperdht.Connection) { l.dialler.node.Close(nil) },
		"the server":          func(l *lab, c *hyperdht.Connection) { l.server.Close(nil) },
		"the answerer's node": func(l *lab, c *hyperdht.Connection) { l.answerer.node.Close(nil) },
		"suspend the dialler": func(l *lab, c *hyperdht.Connection) { l.dialler.node.Suspend(nil) },
		"suspend the server":  func(l *lab, c *hyperdht.Connection) { l.answerer.node.Suspend(nil) },
	} {
		for _, admits := range []bool{true, false} {
			l := newLab(t, 4, cone(), cone())
			var c *hyperdht.Connection
			calls := 0
			decide := func(hyperdht.Punch) bool {
				calls++
				stop(l, c)
				return admits
			}
			var server hyperdht.ListenOptions
			var client hyperdht.ConnectOptions
			if strings.Contains(name, "dial") {
				client.AdmitPunch = decide
			} else {
				server.AdmitPunch = decide
			}
			l.listen(server)
			c = l.dial(client)
			l.run(10 * time.Minute)
			if calls != 1 {
				t.Errorf("%s: called %d times", name, calls)
			}
			for _, a := range []*actor{l.dialler, l.answerer} {
				s := a.node.Status()
				for _, of := range []string{"callers", "sockets for punching", "sessions of callers", "connections"} {
					if n := size(a.node, of); n != 0 && !(of == "connections" && !c.Closed()) {
						t.Errorf("%s, %v: %s has %d %s", name, admits, a.name, n, of)
					}
				}
				if s.Peering.WrongTransitions != 0 {
					t.Errorf("%s, %v: %s made %d wrong transitions", name, admits, a.name, s.Peering.WrongTransitions)
				}
			}
		}
	}
}
