package hyperdht_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

func TestPunchIsTheApplicationsDecision(t *testing.T) {
	type vetoes struct{ dialler, answerer bool }
	for _, tc := range []struct {
		name   string
		vetoes vetoes
		relay  bool
		path   hyperdht.Path // of the connection; none for a dial that fails
		err    error
	}{
		{name: "both agree", path: hyperdht.PathPunched},
		{name: "the dialler does not", vetoes: vetoes{dialler: true}, err: hyperdht.ErrHolepunchAborted},
		{name: "the server does not", vetoes: vetoes{answerer: true}, err: hyperdht.ErrRemoteAborted},
		{name: "the dialler does not, with a relay", vetoes: vetoes{dialler: true}, relay: true, path: hyperdht.PathRelayed},
		{name: "the server does not, with a relay", vetoes: vetoes{answerer: true}, relay: true, path: hyperdht.PathRelayed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, 4, cone(), cone())
			var asked [2][]hyperdht.Punch
			var server hyperdht.ListenOptions
			if !tc.vetoes.dialler { // else the server would send no early probe, which alone can open a path
				server.AdmitPunch = func(p hyperdht.Punch) bool {
					asked[1] = append(asked[1], p)
					return !tc.vetoes.answerer
				}
			}
			if tc.relay {
				l.relay(hyperdht.RelayConfig{})
				server.RelayThrough = throughRelay
			}
			l.listen(server)
			var client hyperdht.ConnectOptions
			if !tc.vetoes.answerer { // else the dialler would not open its NAT early
				client.AdmitPunch = func(p hyperdht.Punch) bool {
					asked[0] = append(asked[0], p)
					return !tc.vetoes.dialler
				}
			}
			c := l.dial(client)
			var ended error
			l.dialler.host.Do(func() { c.OnClose(func(err error) { ended = err }) })
			l.run(time.Minute)
			if c.Path() != tc.path || !errors.Is(ended, tc.err) || c.Closed() != (tc.err != nil) {
				t.Errorf("path %v, closed %v with %v", c.Path(), c.Closed(), ended)
			}
			if tc.vetoes.answerer != (len(asked[0]) == 0) || tc.vetoes.dialler != (len(asked[1]) == 0) {
				t.Fatalf("asked %v", asked)
			}
			for side, at := range [2][2]*actor{{l.dialler, l.answerer}, {l.answerer, l.dialler}} {
				for _, p := range asked[side] {
					if p.LocalNAT != hyperdht.NATConsistent || p.RemoteNAT != hyperdht.NATConsistent {
						t.Errorf("NATs %v and %v", p.LocalNAT, p.RemoteNAT)
					}
					if len(p.LocalAddrs) != 1 || len(p.RemoteAddrs) != 1 || p.LocalAddrs[0].Addr() != at[0].router.Addr() || p.RemoteAddrs[0].Addr() != at[1].router.Addr() {
						t.Errorf("addresses %v and %v, want those of %v and %v", p.LocalAddrs, p.RemoteAddrs, at[0].router.Addr(), at[1].router.Addr())
					}
					if key := at[1].node.PublicKey(); side == 1 && p.RemoteKey != key || side == 0 && p.RemoteKey != keysOf(answererKey).Public {
						t.Errorf("the remote key is %v", p.RemoteKey)
					}
				}
			}
		})
	}
}
