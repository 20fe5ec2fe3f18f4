package dhtnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// privateDHT starts a DHT of a few nodes on the loopback, and one node more to work with.
func privateDHT(t testing.TB) *dhtnet.Net {
	t.Helper()
	h, node := privateNode(t)
	return dhtnet.New(h, node)
}

// privateNode is the node of privateDHT, with its host.
func privateNode(t testing.TB) (*udp.Host, *hyperdht.Node) {
	t.Helper()
	h := udp.New(udp.Options{})
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	ready := make(chan struct{}, 8)
	start := func(cfg hyperdht.Config) *hyperdht.Node {
		t.Helper()
		cfg.Listen = loopback
		cfg.OnReady = func() { ready <- struct{}{} }
		var n *hyperdht.Node
		var err error
		h.Do(func() { n, err = hyperdht.New(h, cfg) })
		if err != nil {
			t.Fatal(err)
		}
		<-ready
		return n
	}
	var bootstrap []string
	for range 5 {
		n := start(hyperdht.Config{Bootstrap: append([]string{}, bootstrap...), Mode: hyperdht.Persistent, Reachable: true})
		if bootstrap == nil {
			h.Do(func() { bootstrap = []string{n.Status().Local.String()} })
		}
	}
	node := start(hyperdht.Config{Bootstrap: bootstrap})
	t.Cleanup(func() {
		closed := make(chan struct{})
		h.Post(func() { node.Close(func() { close(closed) }) })
		<-closed
		h.Close()
	})
	return h, node
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

var serial byte

func listen(t testing.TB, n *dhtnet.Net) *dhtnet.Listener {
	t.Helper()
	serial++
	l, err := n.Listen(testContext(t), hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{serial})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// As in the packages, the node's own keys are the identity of a server without others, of a pool's too.
func TestListenWithoutKeysIsUnderThoseOfTheNode(t *testing.T) {
	n := privateDHT(t)
	status, err := n.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	caller := id.KeyPairFromSeed(id.Seed{77})
	for name, listen := range map[string]func(context.Context, hyperdht.ListenOptions) (*dhtnet.Listener, error){
		"node": n.Listen, "pool": n.NewPool().Listen,
	} {
		l, err := listen(testContext(t), hyperdht.ListenOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if key := l.Addr().(dhtnet.Addr).Key; key != status.PublicKey {
			t.Errorf("%s: the server is %s, the node %s", name, key, status.PublicKey)
		}
		if _, err := n.Dial(testContext(t), status.PublicKey, hyperdht.ConnectOptions{Keys: &caller}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Accept(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The records of a node without other keys are those of its own.
func TestRecordsWithoutKeysAreThoseOfTheNode(t *testing.T) {
	n, ctx := privateDHT(t), testContext(t)
	status, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	topic := id.Target(id.Hash([]byte("topic")))
	if err := n.Announce(ctx, topic, id.KeyPair{}, hyperdht.AnnounceOptions{}); err != nil {
		t.Fatal(err)
	}
	if peers, err := n.Lookup(ctx, topic); err != nil || len(peers) != 1 || peers[0].PublicKey != status.PublicKey {
		t.Errorf("announced: %v, %v", peers, err)
	}
	if err := n.Unannounce(ctx, topic, id.KeyPair{}); err != nil {
		t.Fatal(err)
	}
	if peers, err := n.Lookup(ctx, topic); err != nil || len(peers) != 0 {
		t.Errorf("unannounced: %v, %v", peers, err)
	}
	if _, err := n.MutablePut(ctx, id.KeyPair{}, 1, []byte("value")); err != nil {
		t.Fatal(err)
	}
	if v, err := n.MutableGet(ctx, status.PublicKey, hyperdht.MutableGetOptions{}); err != nil || string(v.Value) != "value" {
		t.Errorf("stored: %q, %v", v.Value, err)
	}
}

func TestConnBehavesLikeNetConn(t *testing.T) {
	n := privateDHT(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		l := listen(t, n)
		dialled, err := n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
		if err != nil {
			return nil, nil, nil, err
		}
		accepted, err := l.Accept()
		if err != nil {
			return nil, nil, nil, err
		}
		return dialled, accepted, func() { dialled.Close(); accepted.Close(); l.Close() }, nil
	})
}

func TestHTTPRunsOverHyperDHT(t *testing.T) {
	n := privateDHT(t)
	l := listen(t, n)
	body := strings.Repeat("metric 1\n", 200_000)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s %d\n%s", r.Method, r.URL.Path, len(got), body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.Dial(ctx, l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
		},
	}}
	for i := range 3 {
		r, err := client.Post(fmt.Sprintf("http://service/%d", i), "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("POST /%d %d\n%s", i, len(body), body); string(got) != want {
			t.Fatalf("answer of %d bytes that starts with %.40q, want %d bytes", len(got), got, len(want))
		}
	}
	client.CloseIdleConnections()
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Fatal(err)
	}
}

func TestDialOfAnUnknownKeyFails(t *testing.T) {
	n := privateDHT(t)
	_, err := n.Dial(testContext(t), id.KeyPairFromSeed(id.Seed{99}).Public, hyperdht.ConnectOptions{})
	if !errors.Is(err, hyperdht.ErrPeerNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	n := privateDHT(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := n.Dial(ctx, id.KeyPairFromSeed(id.Seed{98}).Public, hyperdht.ConnectOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAcceptFailsOnceTheListenerIsClosed(t *testing.T) {
	n := privateDHT(t)
	l := listen(t, n)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("second Close: %v", err)
	}
}

func TestReadEndsAtItsDeadlineAndAtTheEnd(t *testing.T) {
	n := privateDHT(t)
	l := listen(t, n)
	c, err := n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	c.SetReadDeadline(time.Time{})
	if _, err := peer.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := peer.(*dhtnet.Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "last words" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := c.Write([]byte("still open this way")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	got, err = io.ReadAll(peer)
	if err != nil || string(got) != "still open this way" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A closed side reads no more: later data is dropped, and does not hold up the side that writes.
func TestCloseLetsGoOfAPeerThatWrites(t *testing.T) {
	n := privateDHT(t)
	l := listen(t, n)
	c, err := n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	within := func(d time.Duration) error {
		if err := peer.SetWriteDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		_, err := peer.Write(make([]byte, 16<<20)) // more than is buffered anywhere
		return err
	}
	if err := within(time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("writing to a side that does not read: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := within(20 * time.Second); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing to a side that is closed: %v", err)
	}
}

// A connection that breaks says why, to those who read and to those who write.
func TestBrokenConnectionSaysWhy(t *testing.T) {
	h, node := privateNode(t)
	n := dhtnet.New(h, node)
	l := listen(t, n)
	c, err := n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan struct{})
	h.Do(func() { node.Suspend(func() { close(silent) }) })
	<-silent
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, hyperdht.ErrSuspended) {
		t.Errorf("read: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, hyperdht.ErrSuspended) {
		t.Errorf("write: %v", err)
	}
}
