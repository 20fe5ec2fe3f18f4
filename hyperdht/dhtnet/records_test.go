package dhtnet_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

func TestRecordsAreFoundOnceEach(t *testing.T) {
	n, ctx, topic := privateDHT(t), testContext(t), id.Target{7}
	if peers, err := n.Lookup(ctx, topic); err != nil || len(peers) != 0 {
		t.Errorf("before: %v, %v", peers, err)
	}
	var want []id.PublicKey
	for i := range byte(3) {
		keys := id.KeyPairFromSeed(id.Seed{60 + i})
		want = append(want, keys.Public)
		if err := n.Announce(ctx, topic, keys, hyperdht.AnnounceOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	found := func() (keys []id.PublicKey) {
		peers, err := n.Lookup(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			keys = append(keys, p.PublicKey)
		}
		return keys
	}
	equal := func(got, want []id.PublicKey) bool {
		byBytes := func(a, b id.PublicKey) int { return slices.Compare(a[:], b[:]) }
		return slices.Equal(slices.SortedFunc(slices.Values(got), byBytes), slices.SortedFunc(slices.Values(want), byBytes))
	}
	if got := found(); !equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if err := n.Unannounce(ctx, topic, id.KeyPairFromSeed(id.Seed{60})); err != nil {
		t.Fatal(err)
	}
	if got := found(); !equal(got, want[1:]) {
		t.Errorf("after Unannounce: found %v, want %v", got, want[1:])
	}
}

func TestValuesAreStoredAndFound(t *testing.T) {
	n, ctx, keys := privateDHT(t), testContext(t), id.KeyPairFromSeed(id.Seed{70})
	if _, err := n.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{}); !errors.Is(err, hyperdht.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if _, err := n.MutablePut(ctx, keys, 3, []byte("value")); err != nil {
		t.Fatal(err)
	}
	if v, err := n.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{MinSeq: 3}); err != nil || v.Seq != 3 || string(v.Value) != "value" || !v.Verify(keys.Public) {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := n.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{MinSeq: 4}); !errors.Is(err, hyperdht.ErrNotFound) {
		t.Errorf("a later one: %v", err)
	}
	_, err := n.MutablePut(ctx, keys, 3, []byte("other"))
	if refused, ok := errors.AsType[*hyperdht.RefusedError](err); !ok || refused.Code != 16 {
		t.Errorf("another value under the same number: %v", err)
	}
	target, err := n.ImmutablePut(ctx, []byte("for good"))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := n.ImmutableGet(ctx, target); err != nil || string(v) != "for good" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := n.ImmutableGet(ctx, id.Target{1}); !errors.Is(err, hyperdht.ErrNotFound) {
		t.Errorf("a value that was not stored: %v", err)
	}
}

func TestQueriesEndWithTheirContextAndTheirNode(t *testing.T) {
	n := privateDHT(t)
	calls := map[string]func(ctx context.Context) error{
		"Announce": func(ctx context.Context) error {
			return n.Announce(ctx, id.Target{1}, id.KeyPair{}, hyperdht.AnnounceOptions{})
		},
		"FindPeer":   func(ctx context.Context) error { _, err := n.FindPeer(ctx, id.PublicKey{1}); return err },
		"Unannounce": func(ctx context.Context) error { return n.Unannounce(ctx, id.Target{1}, id.KeyPair{}) },
		"Lookup":     func(ctx context.Context) error { _, err := n.Lookup(ctx, id.Target{1}); return err },
		"MutablePut": func(ctx context.Context) error { _, err := n.MutablePut(ctx, id.KeyPair{}, 1, nil); return err },
		"MutableGet": func(ctx context.Context) error {
			_, err := n.MutableGet(ctx, id.PublicKey{1}, hyperdht.MutableGetOptions{})
			return err
		},
		"ImmutablePut": func(ctx context.Context) error { _, err := n.ImmutablePut(ctx, []byte("x")); return err },
		"ImmutableGet": func(ctx context.Context) error { _, err := n.ImmutableGet(ctx, id.Target{1}); return err },
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range calls {
		if err := call(testContext(t)); !errors.Is(err, hyperdht.ErrClosed) {
			t.Errorf("%s on a closed node: %v", name, err)
		}
	}
}

func TestStartWaitsForTheNetwork(t *testing.T) {
	h := udp.New(udp.Options{})
	defer h.Close()
	cfg := hyperdht.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Bootstrap: []string{"no bootstrap node"}}
	if n, err := dhtnet.Start(testContext(t), h, cfg); err == nil || n != nil {
		t.Errorf("with a bad bootstrap node: %v, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Bootstrap = []string{"127.0.0.1:9"} // no node there
	cancel()
	if n, err := dhtnet.Start(ctx, h, cfg); !errors.Is(err, context.Canceled) || n != nil {
		t.Errorf("after the end of its context: %v, %v", n, err)
	}
	cfg.Bootstrap = []string{}
	told := false
	cfg.OnReady = func() { told = true }
	n, err := dhtnet.Start(testContext(t), h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ready := false
	if err := n.Do(testContext(t), func(n *hyperdht.Node) { ready = n.Ready() && told }); err != nil || !ready {
		t.Errorf("ready %v, %v", ready, err)
	}
	h.Close()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := dhtnet.Start(testContext(t), h, cfg); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("on a closed host: %v", err)
	}
}

// impatient is a host on which the caller's context ends while the node binds its sockets, which it counts.
type impatient struct {
	*udp.Host
	cancel func()
	open   int
}

type countedSocket struct {
	host.Socket
	h *impatient
}

func (i *impatient) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	i.cancel()
	s, err := i.Host.OpenSocket(local)
	if err == nil {
		i.open++
		s = countedSocket{s, i}
	}
	return s, err
}

func (s countedSocket) Close() {
	s.h.open--
	s.Socket.Close()
}

func TestStartThatIsGivenUpClosesItsNode(t *testing.T) {
	h := udp.New(udp.Options{})
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	counting := &impatient{Host: h, cancel: cancel}
	cfg := hyperdht.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Bootstrap: []string{"127.0.0.1:9"}}
	if n, err := dhtnet.Start(ctx, counting, cfg); !errors.Is(err, context.Canceled) || n != nil {
		t.Fatalf("%v, %v", n, err)
	}
	h.Do(func() {
		if counting.open != 0 {
			t.Errorf("%d sockets are open", counting.open)
		}
	})
}
