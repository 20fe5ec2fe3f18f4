package doctor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// The report has the router's answer and its meaning, and no mapping is left.
func TestRouterIsAskedForAMapping(t *testing.T) {
	tests := []struct {
		name string
		how  simnet.PortMapping
		says []string
	}{
		{"the router maps by PCP", simnet.PortMapping{PCP: true, Lifetime: 5 * time.Minute}, []string{"maps a UDP port of this machine to 81.2.3.", "for 5m0s (PCP)", "reach this machine directly"}},
		{"the router maps by NAT-PMP", simnet.PortMapping{NATPMP: true}, []string{"for 10m0s (NAT-PMP)"}},
		{"the router refuses", simnet.PortMapping{PCP: true, Refuse: true}, []string{"the router refuses: not authorized (PCP result 2)", "allow port mappings (PCP, NAT-PMP)"}},
		{"the router is behind a NAT", simnet.PortMapping{PCP: true, External: netip.MustParseAddr("100.64.3.2")}, []string{"its external address is 100.64.3.2", "cannot make this machine reachable"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 12)
			w.scraper(w.behind("scraper", simnet.PortRestricted()), true)
			router := w.net.AddRouter("router", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.200"))
			machine := router.AddHost("client", netip.MustParseAddr("192.168.9.10"))
			router.MapPorts(netip.MustParseAddr("192.168.9.1"), test.how)
			r := w.examine(machine, Config{Targets: theScraper()})
			check(t, r, "", append(test.says, "the secret is accepted")...)
			if m := r.PortMapping; m == nil || m.Router != netip.MustParseAddr("192.168.9.1") || m.OK != (m.Problem == "") {
				t.Errorf("the router's answer is %+v", m)
			}
			if list := router.StaticMappings(); len(list) > 0 {
				t.Errorf("the mappings %v are left", list)
			}
			w.keep(t, test.name, r)
		})
	}
}

func TestRouterIsNotAskedAgainstTheConfiguration(t *testing.T) {
	w := newWorld(t, 12)
	w.scraper(w.behind("scraper", simnet.PortRestricted()), true)
	router := w.net.AddRouter("router", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.200"))
	machine := router.AddHost("client", netip.MustParseAddr("192.168.9.10"))
	router.MapPorts(netip.MustParseAddr("192.168.9.1"), simnet.PortMapping{PCP: true})
	cfg := Config{Targets: theScraper()}
	cfg.Node.PortMapping = dhtprom.MapNever
	if r := w.examine(machine, cfg); r.PortMapping != nil || router.MapRequests() > 0 {
		t.Errorf("%d requests, %+v", router.MapRequests(), r.PortMapping)
	}
}
