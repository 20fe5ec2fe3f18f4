package dhtprom_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// closedPatience bounds a call on something closed.
const closedPatience = 5 * time.Second

// returns fails the test if f does not return in time. No call has a context that ends.
func returns(t *testing.T, what string, f func()) {
	t.Helper()
	awaitReturn(t, what, begin(f))
}

func begin(f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	return over
}

func awaitReturn(t *testing.T, what string, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(closedPatience):
		t.Errorf("%s has not returned after %s", what, closedPatience)
	}
}

// things has one of each type that can be closed.
type things struct {
	node     *dhtprom.Node
	client   *client.Client
	scraper  *scraper.Scraper
	net      *dhtnet.Net
	pool     *dhtnet.Pool
	listener *dhtnet.Listener
	dialled  *dhtnet.Conn
	accepted net.Conn
	dht      *node.DHT
	relay    *node.Relay
	session  *scraper.Session
	part     *part.Part
	swarm    *dhtnet.Swarm
	topic    *dhtnet.Topic
}

func newThings(t *testing.T) *things {
	w := newWorld(t)
	x := &things{node: w.node, dht: w.dht, net: w.node.Streams()}
	x.pool = x.net.NewPool()
	var invite string
	x.scraper, invite = w.startScraper(scraperConfig())
	x.client = w.startClient(w.node, context.Background(), client.Config{Invite: invite, Alias: "a", Func: text("x 1\n")})
	x.listener = w.listen(t, x.net, 40)
	var err error
	if x.part, err = part.New(w.node.Host(), "a part", func(done func()) { done() }, nil); err != nil {
		t.Fatal(err)
	}
	peer := scraper.SessionConfig{Seed: domain.SeedFrom([32]byte{43}), Client: x.client.PublicKey()}
	if x.session, err = scraper.StartSession(context.Background(), w.node, peer); err != nil {
		t.Fatal(err)
	}
	if x.relay, err = node.NewRelay(w.node, node.RelayConfig{Seed: domain.SeedFrom([32]byte{42})}); err != nil {
		t.Fatal(err)
	}
	if err := x.relay.Start(w.ctx); err != nil {
		t.Fatal(err)
	}
	x.swarm, x.topic = startSwarm(t, x.net)
	if x.dialled, err = w.newNode().Streams().Dial(w.ctx, x.listener.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	if x.accepted, err = x.listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return x
}

func (w *world) listen(t *testing.T, n *dhtnet.Net, seed byte) *dhtnet.Listener {
	t.Helper()
	l, err := n.Listen(w.ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{seed})})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// methods has calls of all public methods of the types that can be closed.
func (th *things) methods(t *testing.T) map[any]map[string]func() {
	ctx := context.Background()
	refused := func(err error) {
		if err == nil {
			t.Error("a call on something closed reports success")
		}
	}
	return map[any]map[string]func(){
		th.node: {
			"Streams":   func() { th.node.Streams() },
			"Status":    func() { _, err := th.node.Status(ctx); refused(err) },
			"Host":      func() { th.node.Host() },
			"Transport": func() { th.node.Transport() },
			"Stack":     func() { th.node.Stack() },
			"Do":        func() { refused(th.node.Do(ctx, func() error { return nil })) },
			"Close":     func() { _ = th.node.Close() },
		},
		th.client: {
			"PublicKey":  func() { th.client.PublicKey() },
			"SetTargets": func() { refused(th.client.SetTargets(ctx, nil)) },
			"SetSecrets": func() { _, err := th.client.SetSecrets(ctx, nil); _ = err },
			"Collector":  func() { gather(th.client.Collector()) },
			"Gatherer":   func() { th.client.Gatherer() },
			"Start":      func() { refused(th.client.Start(ctx)) },
			"Status":     func() { _, _ = th.client.Status(ctx) },
			"Registered": func() { _ = th.client.Registered(ctx) },
			"Done":       func() { <-th.client.Done() },
			"Close":      func() { _ = th.client.Close() },
		},
		th.scraper: {
			"PublicKey":     func() { th.scraper.PublicKey() },
			"Invite":        func() { _, _ = th.scraper.Invite() },
			"InviteAs":      func() { _, _ = th.scraper.InviteAs("site7") },
			"Loaded":        func() { _ = th.scraper.Loaded(ctx) },
			"SetIdentities": func() { _ = th.scraper.SetIdentities(ctx, scraperConfig().Secrets, nil) },
			"Scrape":        func() { _, err := th.scraper.Scrape(ctx, "a"); refused(err) },
			"Aliases":       func() { _, _ = th.scraper.Aliases(ctx) },
			"Group":         func() { _, _, _ = th.scraper.Group(ctx) },
			"HandOver":      func() { _ = th.scraper.HandOver(ctx) },
			"Handler": func() {
				h, err := th.scraper.Handler(scraper.HandlerConfig{})
				askAll(t, h, err)
			},
			"Web": func() {
				h, err := th.scraper.Web(web.Config{})
				askAll(t, h, err)
			},
			"SetSecrets": func() { _ = th.scraper.SetSecrets(ctx, scraperConfig().Secrets) },
			"PutAlias": func() {
				_, err := th.scraper.PutAlias(ctx, domain.Register{Alias: "b", Key: domain.PublicKey{1}})
				refused(err)
			},
			"Forget":   func() { _, _ = th.scraper.Forget(ctx, "a") },
			"Pin":      func() { _, err := th.scraper.Pin(ctx, "a", domain.PublicKey{1}); refused(err) },
			"Unpin":    func() { _, _ = th.scraper.Unpin(ctx, "a") },
			"Pins":     func() { _, _ = th.scraper.Pins(ctx) },
			"Alias":    func() { _, _ = th.scraper.Alias(ctx, "a") },
			"Stats":    func() { _, _ = th.scraper.Stats(ctx) },
			"Refusals": func() { _, _ = th.scraper.Refusals(ctx) },
			"Start":    func() { refused(th.scraper.Start(ctx)) },
			"Done":     func() { <-th.scraper.Done() },
			"Close":    func() { _ = th.scraper.Close() },
		},
		th.net: {
			"Dial": func() {
				_, err := th.net.Dial(ctx, id.KeyPairFromSeed(id.Seed{99}).Public, hyperdht.ConnectOptions{})
				refused(err)
			},
			"Listen": func() {
				_, err := th.net.Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{98})})
				refused(err)
			},
			"Announce":   func() { refused(th.net.Announce(ctx, id.Target{1}, id.KeyPair{}, hyperdht.AnnounceOptions{})) },
			"Unannounce": func() { refused(th.net.Unannounce(ctx, id.Target{1}, id.KeyPair{})) },
			"Lookup":     func() { _, err := th.net.Lookup(ctx, id.Target{1}); refused(err) },
			"FindPeer":   func() { _, err := th.net.FindPeer(ctx, id.PublicKey{1}); refused(err) },
			"Status":     func() { _, err := th.net.Status(ctx); refused(err) },
			"Nodes":      func() { _, err := th.net.Nodes(ctx); refused(err) },
			"AddNode":    func() { refused(th.net.AddNode(ctx)) },
			"Deciding": func() {
				th.net.Deciding(func(context.Context, *hyperdht.Admission) bool { return true })(&hyperdht.Admission{})
			},
			"NewPool":      func() { th.net.NewPool() },
			"Suspend":      func() { refused(th.net.Suspend(ctx)) },
			"Resume":       func() { refused(th.net.Resume(ctx)) },
			"MutablePut":   func() { _, err := th.net.MutablePut(ctx, id.KeyPair{}, 1, nil); refused(err) },
			"MutableGet":   func() { _, err := th.net.MutableGet(ctx, id.PublicKey{1}, hyperdht.MutableGetOptions{}); refused(err) },
			"ImmutablePut": func() { _, err := th.net.ImmutablePut(ctx, []byte("x")); refused(err) },
			"ImmutableGet": func() { _, err := th.net.ImmutableGet(ctx, id.Target{1}); refused(err) },
			"Swarm":        func() { _, err := th.net.Swarm(ctx, swarm.Config{}); refused(err) },
			"Do":           func() { _ = th.net.Do(ctx, func(*hyperdht.Node) {}) },
			"Close":        func() { _ = th.net.Close() },
		},
		th.pool: {
			"Dial": func() {
				_, err := th.pool.Dial(ctx, id.KeyPairFromSeed(id.Seed{99}).Public, hyperdht.ConnectOptions{})
				refused(err)
			},
			"Listen": func() {
				_, err := th.pool.Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{98})})
				refused(err)
			},
			"Conns": func() { _, err := th.pool.Conns(ctx); refused(err) },
		},
		th.listener: {
			"Accept":  func() { _, err := th.listener.Accept(); refused(err) },
			"Addr":    func() { th.listener.Addr() },
			"Refresh": func() { th.listener.Refresh() },
			"Close":   func() { _ = th.listener.Close() },
		},
		th.dialled:                 connMethods(th.dialled, refused),
		th.accepted.(*dhtnet.Conn): connMethods(th.accepted.(*dhtnet.Conn), refused),
		th.relay: {
			"PublicKey": func() { th.relay.PublicKey() },
			"Stats":     func() { _, _ = th.relay.Stats(ctx) },
			"Start":     func() { refused(th.relay.Start(ctx)) },
			"Done":      func() { <-th.relay.Done() },
			"Close":     func() { _ = th.relay.Close() },
		},
		th.session: {
			"RequestMetrics": func() { _, err := th.session.RequestMetrics(ctx); refused(err) },
			"State":          func() { _, _, _ = th.session.State(ctx) },
			"Peer":           func() { _, _, _ = th.session.Peer(ctx) },
			"Done":           func() { <-th.session.Done() },
			"Close":          func() { _ = th.session.Close() },
		},
		th.swarm: swarmMethods(th.swarm, refused),
		th.topic: topicMethods(th.topic, refused),
		th.part: {
			"Start": func() { refused(th.part.Start(ctx, func(done func(error)) { done(nil) })) },
			"Done":  func() { <-th.part.Done() },
			"Close": func() { _ = th.part.Close() },
		},
		th.dht: {
			"Addrs":     func() { th.dht.Addrs() },
			"Alone":     func() { _, err := th.dht.Alone(ctx); refused(err) },
			"Bootstrap": func() { th.dht.Bootstrap() },
			"Config":    func() { _, _ = th.dht.Config() },
			"Do":        func() { refused(th.dht.Do(ctx, func() error { return nil })) },
			"Close":     func() { _ = th.dht.Close() },
		},
	}
}

// askAll sends a scraper's handler one request of each kind.
func askAll(t *testing.T, h http.Handler, err error) {
	if err != nil {
		t.Error(err)
		return
	}
	for _, path := range []string{"/metrics", "/", "/scrape/a/metrics", "/sd/prometheus", "/-/ready"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
}

func gather(c prometheus.Collector) {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	_, _ = r.Gather()
}

func connMethods(c *dhtnet.Conn, refused func(error)) map[string]func() {
	return map[string]func(){
		"Read":             func() { _, err := io.Copy(io.Discard, c); _ = err },
		"Write":            func() { _, err := c.Write(make([]byte, 4<<20)); refused(err) },
		"Close":            func() { _ = c.Close() },
		"CloseWrite":       func() { _ = c.CloseWrite() },
		"HandshakeHash":    func() { c.HandshakeHash() },
		"Path":             func() { c.Path() },
		"Stats":            func() { c.Stats() },
		"Flush":            func() { refused(c.Flush(context.Background())) },
		"SetKeepAlive":     func() { c.SetKeepAlive(time.Second) },
		"SendUnordered":    func() { refused(c.SendUnordered(nil)) },
		"ReceiveUnordered": func() { _, err := c.ReceiveUnordered(context.Background()); refused(err) },
		"LocalAddr":        func() { c.LocalAddr() },
		"RemoteAddr":       func() { c.RemoteAddr() },
		"SetDeadline":      func() { _ = c.SetDeadline(time.Time{}) },
		"SetReadDeadline":  func() { _ = c.SetReadDeadline(time.Time{}) },
		"SetWriteDeadline": func() { _ = c.SetWriteDeadline(time.Time{}) },
	}
}

func clientConfig() client.Config {
	return client.Config{Alias: "b", Func: text("x 1\n"), Scrapers: []app.ClientScraper{{Key: domain.PublicKey{1}, Secret: domain.SecretFrom([32]byte{1})}}}
}

// checkAll calls every public method of closed values. A new method without a call here fails the test.
func (th *things) checkAll(t *testing.T, closed ...any) {
	t.Helper()
	methods := th.methods(t)
	for _, value := range closed {
		calls, typ := methods[value], reflect.TypeOf(value)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			if name == "Format" {
				continue // prints
			}
			if calls[name] == nil {
				t.Errorf("%s.%s has no call in this test", typ, name)
				continue
			}
			returns(t, typ.String()+"."+name, calls[name])
		}
	}
}

func TestCallsOnAClosedNodeAndAllThatLivesOnItReturn(t *testing.T) {
	x := newThings(t)
	if err := x.node.Close(); err != nil {
		t.Fatal(err)
	}
	x.checkAll(t, x.node, x.client, x.scraper, x.relay, x.session, x.part, x.net, x.pool, x.listener, x.accepted, x.swarm, x.topic)
	if err := x.dht.Close(); err != nil {
		t.Fatal(err)
	}
	x.checkAll(t, x.dht)
}

func TestCallsOnWhatWasClosedByItselfReturn(t *testing.T) {
	x := newThings(t)
	for _, c := range []io.Closer{x.dialled, x.listener, x.client, x.scraper, x.relay, x.session, x.part, x.swarm} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	x.checkAll(t, x.dialled, x.listener, x.client, x.scraper, x.relay, x.session, x.part, x.swarm, x.topic)
}

// Calls in progress when the node closes.
func TestCallsThatWaitReturnWhenTheNodeCloses(t *testing.T) {
	x := newThings(t)
	ctx := context.Background()
	slow := make(chan struct{})
	defer close(slow)
	second := x.net
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-slow })}
	web, err := second.Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{41})})
	if err != nil {
		t.Fatal(err)
	}
	waiting := map[string]<-chan struct{}{
		"Accept":       begin(func() { _, _ = x.listener.Accept() }),
		"Read":         begin(func() { _, _ = x.accepted.Read(make([]byte, 1)) }),
		"Write":        begin(func() { _, _ = x.accepted.Write(make([]byte, 64<<20)) }),
		"Dial":         begin(func() { _, _ = x.net.Dial(ctx, id.KeyPairFromSeed(id.Seed{97}).Public, hyperdht.ConnectOptions{}) }),
		"Listen":       begin(func() { _, _ = x.net.Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{96})}) }),
		"Serve":        begin(func() { _ = server.Serve(web) }),
		"Done":         begin(func() { <-x.client.Done() }),
		"Registered":   begin(func() { _ = x.client.Registered(ctx) }),
		"Swarm.Accept": begin(func() { _, _ = x.swarm.Accept(ctx) }),
		"Scrape":       begin(func() { _, _ = x.scraper.Scrape(ctx, "a") }),
		"StartClient": begin(func() {
			_, _ = client.Start(ctx, x.node, clientConfig())
		}),
	}
	if err := x.node.Close(); err != nil {
		t.Fatal(err)
	}
	for what, over := range waiting {
		awaitReturn(t, what, over)
	}
	returns(t, "http.Server.Shutdown", func() { _ = server.Shutdown(ctx) })
	returns(t, "http.Server.Close", func() { _ = server.Close() })
}

// A node can be closed while its host goes on.
func TestListenerEndsWithItsNode(t *testing.T) {
	x := newThings(t)
	accept := begin(func() {
		if _, err := x.listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	})
	closed := make(chan struct{})
	x.node.Host().Post(func() { x.node.Transport().Close(func() { close(closed) }) })
	awaitReturn(t, "Transport.Close", closed)
	awaitReturn(t, "Accept", accept)
	x.checkAll(t, x.net, x.accepted)
	returns(t, "Listener.Close", func() {
		if err := x.listener.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStoreIsReleasedWhereTheNodeIsClosed(t *testing.T) {
	w := newWorld(t)
	closed := w.newNode()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := scraperConfig()
	cfg.Path = filepath.Join(t.TempDir(), "aliases.db")
	for range 2 {
		if _, err := scraper.Start(w.ctx, closed, cfg); !errors.Is(err, dhtprom.ErrClosed) {
			t.Fatalf("on a closed node: %v", err)
		}
	}
	bad := cfg
	bad.Secrets = nil
	if _, err := scraper.Start(w.ctx, w.node, bad); err == nil {
		t.Fatal("a scraper without secrets")
	}
	s, err := scraper.Start(w.ctx, w.node, cfg)
	if err != nil {
		t.Fatalf("the file stayed locked: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	again, err := scraper.Start(w.ctx, w.node, cfg)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A new public type with methods must be among those closed here, or be a value without waits.
func TestEveryPublicTypeIsClosed(t *testing.T) {
	values := map[string]bool{"Addr": true, "Clock": true, "Config": true, "Status": true, "PortError": true, "StoreError": true, "TargetError": true, "TURNConfig": true}
	known := map[string]bool{}
	for value := range (&things{
		node: &dhtprom.Node{}, client: &client.Client{}, scraper: &scraper.Scraper{}, net: &dhtnet.Net{}, pool: &dhtnet.Pool{}, listener: &dhtnet.Listener{},
		dialled: &dhtnet.Conn{}, accepted: &dhtnet.Conn{}, dht: &node.DHT{}, relay: &node.Relay{}, session: &scraper.Session{}, part: &part.Part{}, swarm: &dhtnet.Swarm{}, topic: &dhtnet.Topic{},
	}).methods(t) {
		known[reflect.TypeOf(value).Elem().Name()] = true
	}
	for _, dir := range []string{".", "client", "scraper", "node", "hyperdht/dhtnet"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Recv == nil || !f.Name.IsExported() {
					continue
				}
				on := f.Recv.List[0].Type
				if p, ok := on.(*ast.StarExpr); ok {
					on = p.X
				}
				if name, ok := on.(*ast.Ident); ok && name.IsExported() && !known[name.Name] && !values[name.Name] {
					t.Errorf("%s: %s.%s has no call on a closed one", file, name.Name, f.Name.Name)
				}
			}
		}
	}
}
