package hyperdht

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type routerVector struct {
	Node   string
	Mode   uint64
	Value  vectors.Hex
	Result struct {
		Action          string
		To              vectors.Addr
		Value           vectors.Hex
		Socket          string
		WithToken       bool
		WithCloserNodes bool
	}
}

type routerVectors struct {
	Handshake, Holepunch []routerVector
}

// The parties of the vectors (spec/vectors/parts/router.js).
var (
	vectorSender    = netip.MustParseAddrPort("198.51.100.20:40123")
	vectorAnnounced = netip.MustParseAddrPort("203.0.113.50:5050")
	vectorAnswer    = []byte{0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97}
)

const (
	nodeUnknown   = "unknown"
	nodeAnnounced = "announced here by a server at 203.0.113.50:5050"
	nodeServer    = "server running on this node"
	nodeDeclining = "server running on this node, handler declines"
)

func (v routerVector) name() string { return fmt.Sprintf("%s/mode %d/%s", v.Node, v.Mode, v.Value) }

// relay is the knowledge of a node of the vector's kind about the target.
func (v routerVector) relay(t *testing.T) netip.AddrPort {
	switch v.Node {
	case nodeAnnounced:
		return vectorAnnounced
	case nodeUnknown, nodeServer, nodeDeclining:
		return netip.AddrPort{}
	}
	t.Fatalf("a node of the kind %q is new to this test", v.Node)
	return netip.AddrPort{}
}

func TestHandshakesTakeTheRouteOfTheOriginal(t *testing.T) {
	for _, v := range vectors.Load[routerVectors](t, "router").Handshake {
		t.Run(v.name(), func(t *testing.T) {
			m, err := wire.ParseHandshake(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			var got step
			switch relay := v.relay(t); v.Node {
			case nodeServer:
				if handshakeWanted(m) {
					got = answerHandshake(m, vectorSender, vectorAnswer)
				}
			case nodeDeclining:
			default:
				got = relayHandshake(m, vectorSender, relay)
			}
			v.check(t, got)
		})
	}
}

func TestHolepunchesTakeTheRouteOfTheOriginal(t *testing.T) {
	for _, v := range vectors.Load[routerVectors](t, "router").Holepunch {
		t.Run(v.name(), func(t *testing.T) {
			m, err := wire.ParseHolepunch(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			got := relayHolepunch(m, vectorSender, v.relay(t))
			if v.Node == nodeServer && m.Mode == wire.FromRelay && m.PeerAddr.IsValid() {
				got = answerHolepunch(m, vectorSender, vectorAnswer)
			}
			v.check(t, got)
		})
	}
}

func (v routerVector) check(t *testing.T, got step) {
	t.Helper()
	want, ok := map[string]stepKind{"none": stepDrop, "reply": stepRespond, "relay": stepForward}[v.Result.Action]
	if !ok {
		t.Fatalf("action %q is new to this test", v.Result.Action)
	}
	if got.kind != want {
		t.Fatalf("kind %d, want %d (%s)", got.kind, want, v.Result.Action)
	}
	if want == stepDrop {
		return
	}
	if got.to != v.Result.To.AddrPort {
		t.Errorf("to %v, want %v", got.to, v.Result.To)
	}
	if !bytes.Equal(got.value, v.Result.Value) || (got.value == nil) != (v.Result.Value == nil) {
		t.Errorf("value %x, want %v", got.value, v.Result.Value)
	}
	if got.closer != v.Result.WithCloserNodes || v.Result.WithToken {
		t.Errorf("closer nodes %v, want %v; a token is never wanted, vector says %v", got.closer, v.Result.WithCloserNodes, v.Result.WithToken)
	}
}
