package interop_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// patience bounds every wait for something that takes a working system well under a second, on a busy machine.
const patience = time.Minute

// testnetSize is the number of nodes of private DHTs. On three nodes the packages themselves fail every other time: a node
// gets too few samples of its own address. With four that was not observed.
const testnetSize = 6

// testnet is a private DHT.
type testnet struct {
	bootstrap []string // host:port of its first node
	ports     []string // given to Go programs instead, if set
}

// networks are the two kinds of private DHTs: each has to work for either implementation.
var networks = []struct {
	name  string
	start func(t testing.TB, p *jspeer.Peer) testnet
}{
	{"JavaScript nodes", javaScriptTestnet},
	{"Go nodes", func(t testing.TB, _ *jspeer.Peer) testnet { return goTestnet(t) }},
}

func javaScriptTestnet(_ testing.TB, p *jspeer.Peer) testnet {
	var n testnet
	for _, a := range jspeer.StartTestnet(p, testnetSize).Bootstrap {
		n.bootstrap = append(n.bootstrap, a.AddrPort().String())
	}
	return n
}

func goTestnet(t testing.TB) testnet {
	t.Helper()
	n, _ := goTestnetNodes(t)
	return n
}

// goTestnetNodes returns a private DHT and its nodes.
func goTestnetNodes(t testing.TB) (n testnet, nodes []*goNode) {
	t.Helper()
	h := goHost(t)
	n.bootstrap = []string{}
	for range testnetSize {
		node := startNodeOn(t, h, hyperdht.Config{Bootstrap: n.bootstrap, Mode: hyperdht.Persistent, Reachable: true, WallClock: time.Now})
		if len(n.bootstrap) == 0 {
			h.Do(func() { n.bootstrap = []string{node.Status().Local.String()} })
		}
		nodes = append(nodes, node)
	}
	return n, nodes
}

// dht returns the options of a JavaScript node in the network.
func (tn testnet) dht(more jspeer.Args) jspeer.Args {
	args := jspeer.Args{"bootstrap": tn.bootstrap}
	for name, value := range more {
		args[name] = value
	}
	return args
}

// goNode is a Go node on a machine of its own.
type goNode struct {
	t    testing.TB
	host *udp.Host
	*hyperdht.Node
}

func goHost(t testing.TB) *udp.Host {
	h := udp.New(udp.Options{})
	t.Cleanup(h.Close)
	return h
}

func startNode(t testing.TB, n testnet, cfg hyperdht.Config) *goNode {
	t.Helper()
	cfg.Bootstrap = n.bootstrap
	return startNodeOn(t, goHost(t), cfg)
}

// startNodeOn starts a node, on 127.0.0.1 by default, and waits until it has entered its network.
func startNodeOn(t testing.TB, h *udp.Host, cfg hyperdht.Config) *goNode {
	t.Helper()
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	}
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	n := &goNode{t: t, host: h}
	var err error
	h.Do(func() { n.Node, err = hyperdht.New(h, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a Go node enters its network", ready)
	t.Cleanup(func() {
		closed := make(chan struct{})
		if h.Do(func() { n.Close(func() { close(closed) }) }) {
			await(t, "a Go node closes", closed)
		}
	})
	return n
}

// do runs f on the node's loop.
func (n *goNode) do(f func()) { n.host.Do(f) }

// until waits for a state of the node that no event announces.
func (n *goNode) until(what string, holds func() bool) {
	n.t.Helper()
	done := make(chan struct{})
	var look func()
	look = func() {
		if holds() {
			close(done)
			return
		}
		n.host.AfterFunc(5*time.Millisecond, look)
	}
	n.do(look)
	await(n.t, what, done)
}

// await waits for one value.
func await[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case v := <-from:
		return v
	case <-timeout.C:
		t.Fatalf("%s: nothing within %v", what, patience)
	}
	panic("unreachable")
}

// keys derives a key pair from a name, the same as peers with jspeer.Seed.
func keys(t testing.TB, name string) id.KeyPair {
	t.Helper()
	seed, err := id.ParseKey32(jspeer.Seed(name))
	if err != nil {
		t.Fatal(err)
	}
	return id.KeyPairFromSeed(id.Seed(seed))
}

// key parses a key as peers print it.
func key(t testing.TB, text string) id.PublicKey {
	t.Helper()
	k, err := id.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
