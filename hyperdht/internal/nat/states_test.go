package nat

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

var kindTable = &states.Table[Kind]{Name: "classifier", States: []states.Rule[Kind]{
	Unknown:    {Name: Unknown.String(), Why: "until three samples are there, or two and no more are to be had", Next: []Kind{Open, Consistent, Random}},
	Open:       {Name: Open.String(), Why: "until the node is firewalled", Next: []Kind{Unknown, Consistent, Random}},
	Consistent: {Name: Consistent.String(), Why: "until another sample says otherwise, or it is frozen", Next: []Kind{Open, Random}},
	Random:     {Name: Random.String(), Why: "likewise", Next: []Kind{Open, Consistent}},
}}

func TestDocListsTheTables(t *testing.T) { statestest.Doc(t, "doc.go", statestest.Of(kindTable)) }

// A classifier goes through the states of the table and no others, whatever is done to it.
func TestClassifierKeepsToTheTable(t *testing.T) {
	w := statestest.NewWatch(t, kindTable)
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	addr := func(hosts, ports int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(random.IntN(hosts))}), uint16(1+random.IntN(ports)))
	}
	for range 3000 {
		firewalled := random.IntN(4) > 0
		c := NewClassifier(firewalled)
		frozen := false
		for range 12 {
			before := c.Firewall()
			switch random.IntN(12) {
			case 0:
				c.Conclude()
			case 1:
				c.Freeze()
				frozen = true
			case 2:
				c.Unfreeze()
				frozen = false
			case 3:
				if c.Sampled() == 0 {
					c.Doubt()
				}
			case 4:
				firewalled = !firewalled
			default:
				c.Add(addr(2, 3), addr(200, 3), firewalled)
			}
			if after := c.Firewall(); frozen && after != before {
				t.Errorf("frozen as %v, and then %v", before, after)
			}
			w.Step(before, c.Firewall())
		}
	}
}
