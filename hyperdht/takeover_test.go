package hyperdht

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
)

// Where the ways cannot be swapped, as those of a stream that has ended in this turn, the relay stays in reserve.
func TestFailedTakeOverChangesNothing(t *testing.T) {
	h := simnet.New(simnet.Config{Seed: 1}).AddHost("h", netip.MustParseAddr("100.128.0.1"))
	p := &peering{host: h, account: &account{host: h}}
	p.pool = newPool(p)
	rp := &relayPath{p: p}
	h.Do(func() {
		rp.raw = stream.NewTable(h, stream.Config{}).New(nil)
		rp.begin(p.account, relayTable, relayWarm, rp.passed)
		w := &secondWay{rp: rp, c: &Connection{p: p}}
		w.takeOver()
		if !rp.in(relayWarm) || w.keep != nil || p.stats.TakeOvers != 0 {
			t.Errorf("state %v, %d take-overs", rp.state, p.stats.TakeOvers)
		}
	})
}
