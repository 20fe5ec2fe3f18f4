package hyperdht_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

var errNoSockets = errors.New("too many open files")

// fullHost is a host that opens no more sockets once it is full.
type fullHost struct {
	*simnet.Host
	full bool
}

func (h *fullHost) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	if h.full {
		return nil, errNoSockets
	}
	return h.Host.OpenSocket(local)
}

// Without a socket there is nothing to classify, and the caller must learn it: it is not called back.
func TestClassifyingWithoutASocket(t *testing.T) {
	l := newLab(t, 4, cone(), public())
	h := &fullHost{Host: l.net.AddHost("full", netip.AddrFrom4([4]byte{100, 128, 5, 1}))}
	var n *hyperdht.Node
	h.Do(func() { n = node(t, h, hyperdht.Config{Bootstrap: l.bootstrap}) })
	l.run(5 * time.Second)
	h.full = true
	h.Do(func() {
		if err := n.ClassifyNAT(func(hyperdht.NATReport) { t.Error("classified") }); !errors.Is(err, errNoSockets) {
			t.Errorf("failed with %v", err)
		}
	})
	l.run(time.Minute)
}

// A node that has its samples asks no further nodes: each of them is one that others ask, too.
func TestClassifyingAsksAsManyNodesAsItNeeds(t *testing.T) {
	l := newLab(t, 16, cone(), public())
	var report hyperdht.NATReport
	asked := 0
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == l.dialler.host.Addr() && d.From.Port() != mainPort {
			if r, err := wire.ParseRequest(d.Payload); err == nil && r.Internal && r.Command == wire.CmdPing {
				asked++
			}
		}
		return true
	})
	l.dialler.host.Do(func() {
		if err := l.dialler.node.ClassifyNAT(func(r hyperdht.NATReport) { report = r }); err != nil {
			t.Fatal(err)
		}
	})
	l.run(time.Second)
	if report.Kind != hyperdht.NATConsistent || asked != 4 {
		t.Errorf("%v by %d nodes, want 4", report.Kind, asked)
	}
}

func TestMessagesThatCannotBeReadAreCounted(t *testing.T) {
	l := newLab(t, 4, cone(), open())
	l.listen(hyperdht.ListenOptions{})
	c := l.fakeCaller()
	before := l.answerer.node.Status().Peering
	for _, command := range []uint64{wire.CmdPeerHandshake, wire.CmdPeerHolepunch} {
		if answer := c.request(l.answerer.addr(), command, []byte{0xff}); answer != nil {
			t.Errorf("command %d is answered with %x", command, answer)
		}
	}
	after := l.answerer.node.Status().Peering
	if n, m := after.HandshakesInvalid-before.HandshakesInvalid, after.HolepunchesInvalid-before.HolepunchesInvalid; n != 1 || m != 1 {
		t.Errorf("%d handshakes and %d punch rounds are counted, want one each", n, m)
	}
}
