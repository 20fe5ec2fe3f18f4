package hyperdht_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

func TestServerIsAnnouncedOnlyWhenADHTNodeHasItsRecord(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 70})
	cut := true
	h := w.host("server")
	w.net.SetFilter(func(d simnet.Datagram) bool { return !cut || d.From.Addr() != h.Addr() && d.To.Addr() != h.Addr() })
	n := w.node(h, hyperdht.Config{})
	var told []bool
	var announced []error
	var server *hyperdht.Server
	h.Do(func() {
		n.OnReach(func(answering bool) { told = append(told, answering) })
		var err error
		server, err = n.Listen(hyperdht.ListenOptions{Keys: keyPair(1), OnConnection: func(*hyperdht.Connection) {}}, func(err error) { announced = append(announced, err) })
		if err != nil {
			t.Fatal(err)
		}
	})
	w.net.Run(10 * time.Minute)
	if len(announced) != 0 || server.Announcement() != (hyperdht.Announcement{}) {
		t.Errorf("announced %v without a network: %+v", announced, server.Announcement())
	}
	if s := n.Status(); !s.Ready || !s.Silent || s.Announced != 0 || s.Bootstrap != 1 || !slices.Equal(told, []bool{false}) {
		t.Errorf("told %v, status %+v", told, s)
	}
	cut = false
	w.until("it is announced", 30*time.Second, func() bool { return len(announced) > 0 })
	w.net.Run(5 * time.Second)
	if a := server.Announcement(); announced[0] != nil || a.Nodes != 3 || !a.Ever || n.Status().Silent || !slices.Equal(told, []bool{false, true}) {
		t.Errorf("announced %v, told %v: %+v", announced, told, a)
	}
	cut = true
	w.net.Run(time.Minute)
	if a := server.Announcement(); a.Nodes != 0 || !a.Ever || a.Silent < 50*time.Second || !n.Status().Silent {
		t.Errorf("a minute without a network: %+v, silent %v", a, n.Status().Silent)
	}
	cut = false
	w.net.Run(time.Minute)
	if a := server.Announcement(); a.Nodes != 3 || a.Silent != 0 || len(announced) != 1 || !slices.Equal(told, []bool{false, true, false, true}) {
		t.Errorf("a minute later: %+v, announced %v, told %v", a, announced, told)
	}
}

func TestServerInANetworkOfItsOwnIsAnnouncedAtOnce(t *testing.T) {
	w := newWorld(t, 1, simnet.Config{Seed: 71})
	told := false
	n := w.nodes[0]
	n.OnReach(func(bool) { told = true })
	w.listen(w.net.HostAt(n.Status().Public.Addr()), n, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.Run(time.Minute)
	if told || n.Status().Silent {
		t.Error("a node that others enter by reports that no node answers")
	}
	ch, cn := w.join("client")
	if !w.canConnect(ch, cn) {
		t.Error("it cannot be reached")
	}
}

func TestServerThatIsClosedBeforeItIsAnnouncedSaysSo(t *testing.T) {
	w := newWorld(t, 1, simnet.Config{Seed: 72})
	h := w.host("server")
	n := w.node(h, hyperdht.Config{Bootstrap: []string{"203.0.113.9:1"}})
	var announced []error
	closed := false
	h.Do(func() {
		s, err := n.Listen(hyperdht.ListenOptions{Keys: keyPair(1)}, func(err error) { announced = append(announced, err) })
		if err != nil {
			t.Fatal(err)
		}
		s.Close(func() { closed = true })
	})
	w.net.Run(20 * time.Second)
	if !closed || len(announced) != 1 || !errors.Is(announced[0], hyperdht.ErrClosed) {
		t.Errorf("closed %v, announced %v", closed, announced)
	}
}

func TestConnectSaysThatNoDHTNodeAnswers(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 73})
	dead := []string{"203.0.113.9:1"}
	for _, tt := range []struct {
		name      string
		bootstrap []string
		want      error
	}{
		{"nodes answer", nil, hyperdht.ErrPeerNotFound},
		{"none answers", dead, hyperdht.ErrNoDHTNode},
	} {
		h := w.host(tt.name)
		n := w.node(h, hyperdht.Config{Bootstrap: tt.bootstrap})
		if got := w.fails(h, n); !errors.Is(got, tt.want) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	h := w.net.AddHost("six", netip.MustParseAddr("2001:db8::1"))
	n := w.node(h, hyperdht.Config{Bootstrap: dead})
	if got := w.fails(h, n); !errors.Is(got, hyperdht.ErrNoIPv4) || !errors.Is(got, hyperdht.ErrNoDHTNode) {
		t.Errorf("without an IPv4 address: %v", got)
	}
}

// fails returns how an attempt to connect to an unused key ends.
func (w *world) fails(h *simnet.Host, n *hyperdht.Node) (failure error) {
	w.t.Helper()
	closed := false
	h.Do(func() {
		n.Connect(keyPair(99).Public, hyperdht.ConnectOptions{}).OnClose(func(err error) { closed, failure = true, err })
	})
	w.until("the attempt ends", time.Minute, func() bool { return closed })
	return failure
}
