package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// A relay answers for many paths of one client at once, on one connection: when it has been off, for example.
func TestRelayServesManyPathsOfOneClientAtOnce(t *testing.T) {
	w := newRelayWorld(t, 20, hyperdht.RelayConfig{})
	w.net.SetLinks(w.sh, w.rh, simnet.Link{Delay: 100 * time.Millisecond})
	const paths = 200
	var tokens [][32]byte
	for i := range byte(paths) {
		tokens = append(tokens, [32]byte{i})
	}
	answers, lost := 0, error(nil)
	w.sh.Do(func() {
		c := w.sn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{})
		m := mux.New(c)
		m.OnClose(func(err error) { lost = err })
		own := c.PublicKey()
		ch, err := m.Open(mux.ChannelOptions{
			Protocol: "blind-relay", ID: own[:], Messages: []func([]byte){func([]byte) { answers++ }, func([]byte) {}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			ch.Send(0, wire.RelayPair{Initiator: true, Token: token, ID: uint32(i)}.Append(nil))
		}
	})
	w.until("all wait", 10*time.Second, func() bool { return w.relay.Stats().Waiting == paths })
	for i, token := range tokens {
		w.relayClient(keyPair(byte(30+i)), token)
	}
	w.until("all are answered", 10*time.Second, func() bool { return answers == paths || lost != nil })
	if lost != nil {
		t.Errorf("%d paths were answered, then: %v; relay %+v", answers, lost, w.relay.Stats())
	}
}
