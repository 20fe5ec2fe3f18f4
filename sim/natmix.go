package sim

import (
	"math/rand/v2"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// natMix is the distribution of kinds of routers, in percent. Seventy of a hundred pairs punch without guessing, as in the
// measurements of libp2p (D. Trautwein et al., Large Scale Measurement Campaign on Decentralized NAT Traversal): 84 of a
// hundred routers are consistent. The rest give each remote end another port, some only under load, or let no UDP through.
var natMix = []struct {
	parts int
	simnet.Preset
}{
	{4, simnet.Preset{Name: "open", NAT: simnet.Open()}},
	{4, simnet.Preset{Name: "firewall-only", NAT: simnet.FirewallOnly()}},
	{12, simnet.Preset{Name: "full-cone", NAT: simnet.FullCone()}},
	{8, simnet.Preset{Name: "restricted-cone", NAT: simnet.RestrictedCone()}},
	{30, simnet.Preset{Name: "port-restricted", NAT: simnet.PortRestricted()}},
	{10, simnet.Preset{Name: "port-restricted, random ports", NAT: withPorts(simnet.PortRestricted(), simnet.RandomPort)}},
	{16, simnet.Preset{Name: "masquerade", NAT: simnet.Masquerade()}},
	{4, simnet.Preset{Name: "symmetric", NAT: simnet.Symmetric()}},
	{4, simnet.Preset{Name: "symmetric-random", NAT: simnet.SymmetricRandom()}},
	{3, simnet.Preset{Name: "masquerade-random", NAT: simnet.MasqueradeRandom()}},
	{2, simnet.Preset{Name: "ports shared by four", NAT: shared(4)}},
	{3, simnet.Preset{Name: "udp-blocked", NAT: simnet.UDPBlocked()}},
}

func withPorts(n simnet.NAT, ports simnet.PortChoice) simnet.NAT {
	n.Ports = ports
	return n
}

// shared returns a NAT whose mappings serve n remote ends.
func shared(n int) simnet.NAT {
	nat := withPorts(simnet.PortRestricted(), simnet.RandomPort)
	nat.Shared = n
	return nat
}

func drawFromMix(r *rand.Rand) simnet.Preset {
	part := r.IntN(100)
	for _, kind := range natMix {
		if part -= kind.parts; part < 0 {
			return kind.Preset
		}
	}
	panic("sim: the parts of the mix of NATs are not a hundred")
}

var natMixScenario = &Scenario{
	Name:  "natmix",
	About: "pairs behind routers as they are found: how many meet without a relay, and how many of those at the first try",
	Nodes: 20, Clients: 100, For: 4 * time.Minute,
	Least:  Least{Nodes: 12, Clients: 10, For: 4 * time.Minute},
	Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		r := w.randFor("mix")
		all, able := make([]*pairing, w.opts.Clients), 0
		random := func(n simnet.NAT) bool { return isRandom(n) || n.Shared > 0 }
		w.phase("%d pairs", len(all))
		for i := range all {
			a, b := drawFromMix(r), drawFromMix(r)
			all[i] = &pairing{scraper: a.Name, client: b.Name, at: func(*World) (place, place) { return behind(a.NAT), behind(b.NAT) }}
			if !a.NAT.Block && !b.NAT.Block && !(random(a.NAT) && random(b.NAT)) {
				able++
			}
			w.pairUp(i, all[i], domain.PublicKey{})
		}
		w.meet(all, nil)
		met, first := 0, 0
		var took []time.Duration
		for _, p := range all {
			if p.took == 0 {
				continue
			}
			met++
			took = append(took, p.took)
			if s := p.s.app.Stats().Paths; s.FirstConnected > 0 && s.FirstFailed == 0 {
				first++
			}
		}
		w.result.row("pairs that meet", "%d of %d, of which %d at the first try: %s", met, len(all), first, spread(took))
		w.expect(met >= able, "%d pairs meet, %d could", met, able)
		// Fewer may have drawn too many of those that cannot.
		w.expect(met*100 >= len(all)*90 || len(all) < 1000, "%d of %d pairs meet, 90 of a hundred is the least", met, len(all))
		w.expect(first*100 >= met*95, "%d of %d pairs that meet do so at the first try, 95 of a hundred is the least", first, met)
	},
}
