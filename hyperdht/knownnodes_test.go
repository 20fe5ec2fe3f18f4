package hyperdht_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// finds reports whether a node finds a value that another one has stored.
func (w *world) finds(h *simnet.Host, n *hyperdht.Node, target id.Target) bool {
	w.t.Helper()
	var failure error
	done := false
	h.Do(func() {
		n.ImmutableGet(target, func(_ []byte, err error) { failure, done = err, true })
	})
	w.until("a lookup ends", time.Minute, func() bool { return done })
	return failure == nil
}

// stores puts a value into the DHT and returns its target.
func (w *world) stores(value string) (target id.Target) {
	w.t.Helper()
	h, n := w.join("writer")
	done := false
	h.Do(func() {
		n.ImmutablePut([]byte(value), func(at id.Target, err error) {
			if err != nil {
				w.t.Error(err)
			}
			target, done = at, true
		})
	})
	w.until("a value is stored", time.Minute, func() bool { return done })
	return target
}

func TestSavedNodesAreAWayInWithoutBootstrapNodes(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 70})
	target := w.stores("a value")
	saved := w.nodes[5].Nodes()
	if len(saved) < 10 {
		t.Fatalf("a node of twelve lists %v", saved)
	}
	h := w.host("later")
	n := w.node(h, hyperdht.Config{Bootstrap: []string{}, Nodes: saved})
	w.until("it is ready", time.Minute, n.Ready)
	if got := n.Nodes(); len(got) < 10 {
		t.Errorf("it knows %v", got)
	}
	if !w.finds(h, n, target) {
		t.Error("it does not find what is stored")
	}
}

func TestAddedNodesAreWhereLookupsBegin(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 71})
	target := w.stores("a value")
	h := w.host("alone")
	n := w.node(h, hyperdht.Config{Bootstrap: []string{}})
	w.until("it is ready", time.Minute, n.Ready)
	if w.finds(h, n, target) || len(n.Nodes()) != 0 {
		t.Fatalf("a node without others knows %v", n.Nodes())
	}
	h.Do(func() {
		n.AddNode(netip.MustParseAddrPort("[2001:db8::1]:49737")) // no address of a node
		n.AddNode(w.nodes[3].Status().Public)
	})
	if got, want := n.Nodes(), []netip.AddrPort{w.nodes[3].Status().Public}; !slices.Equal(got, want) {
		t.Errorf("it knows %v, want %v", got, want)
	}
	if !w.finds(h, n, target) {
		t.Error("it does not find what is stored")
	}
}

func TestFilteredNodesAreNotAsked(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 72})
	avoided := w.nodes[4].Status().Public
	h := w.host("choosy")
	n := w.node(h, hyperdht.Config{FilterNode: func(a netip.AddrPort) bool { return a != avoided }})
	w.until("it is ready", time.Minute, n.Ready)
	var asked []netip.AddrPort
	h.Do(func() {
		n.Lookup(id.Target{1}, func(f hyperdht.Found) { asked = append(asked, f.From) }, nil)
	})
	w.net.Run(10 * time.Second)
	if got := n.Nodes(); len(got) < 9 || slices.Contains(got, avoided) {
		t.Errorf("it knows %v, and should not know %v", got, avoided)
	}
	if slices.Contains(asked, avoided) {
		t.Errorf("it has asked %v", avoided)
	}
}

func TestOnlyPersistentNodesHaveAnID(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 73})
	s := w.nodes[2].Status()
	if own, ok := w.nodes[2].ID(); !ok || own != id.NodeIDOf(s.Public) || s.ID != own {
		t.Errorf("a persistent node at %v: %v, %v, status %v", s.Public, own, ok, s.ID)
	}
	_, n := w.join("ephemeral")
	if _, ok := n.ID(); ok || n.Status().ID != (id.NodeID{}) {
		t.Errorf("an ephemeral node has the id %v", n.Status().ID)
	}
}
