package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// TestReconnectingThroughRememberedRelaysSucceeds dials a peer again and again: then its relays are known, and
// one of them may answer while the lookup that was started beside it has nothing left to try.
func TestReconnectingThroughRememberedRelaysSucceeds(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, 10, simnet.Config{Seed: seed})
		home := situation{nat: simnet.PortRestricted()}
		sh, sn := w.settle("server", home, netip.MustParseAddr("81.2.3.1"), netip.MustParseAddr("192.168.1.10"))
		ch, cn := w.settle("client", home, netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
		w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
		for i := range 4 {
			var err error
			echoed := false
			ch.Do(func() {
				c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
				c.Send([]byte("hello"))
				c.OnMessage(func([]byte) { echoed = true })
				c.OnClose(func(e error) { err = e })
			})
			w.until("it works or fails", time.Minute, func() bool { return echoed || err != nil })
			if err != nil {
				t.Errorf("seed %d, connection %d: %v", seed, i, err)
			}
		}
	}
}
