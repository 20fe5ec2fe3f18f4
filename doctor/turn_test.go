package doctor

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// Each TURN server is tried, and the findings say which way connections take.
func TestTURNServersAreTried(t *testing.T) {
	tests := []struct {
		name     string
		nat      simnet.NAT
		password string
		findings string
		says     []string
	}{
		{"UDP is blocked, and a TURN server relays", simnet.UDPBlocked(), "password", "note turn_used", []string{
			"turns:turn.example:443 relays after", "Connection to the scraper, over a TURN server", "the secret is accepted",
		}},
		{"UDP is blocked, and the credentials are wrong", simnet.UDPBlocked(), "passport", "problem bootstrap_unreachable, problem turn_failed", []string{
			"the password is wrong", "Check --turn.server",
		}},
		{"a TURN server that is not needed fails", simnet.PortRestricted(), "passport", "warning turn_failed", []string{"the secret is accepted", "not needed now"}},
		{"a TURN server that is not needed relays", simnet.PortRestricted(), "password", "", []string{"the secret is accepted", "relays after"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 12)
			w.scraper(w.behind("scraper", simnet.PortRestricted()), true)
			server, machine := w.public("turn"), w.behind("client", test.nat)
			pipes := simpipe.New(w.net, simpipe.Config{})
			running := simturn.Start(w.net, pipes, server, 443, simturn.Config{Users: map[string]string{"alice": "password"}})
			at := netip.AddrPortFrom(server.Addr(), 443)
			cfg := Config{Targets: theScraper()}
			cfg.Node.TURN = dhtprom.TURNConfig{
				Servers: []domain.TURNServer{{URI: "turns:turn.example:443", Username: "alice", Password: test.password}},
				Dial:    func(host.Host, turn.URI) pipe.Dialer { return pipes.Dialer(machine, at) },
			}
			r := w.examine(machine, cfg)
			check(t, r, test.findings, test.says...)
			if n := running.Stats().Allocations; n > 0 {
				t.Errorf("%d allocations are left", n)
			}
			w.keep(t, test.name, r)
		})
	}
}
