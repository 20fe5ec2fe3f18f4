package interop_test

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// situations are combinations of reachability that two peers on one machine can assume.
var situations = []struct {
	name       string
	firewalled bool          // they have not found out that they are reachable
	noLocal    bool          // they do not try each other's local addresses
	path       hyperdht.Path // where only one is possible
}{
	// A JavaScript node that has just started may lack samples of its address, and then does not report that it is open.
	{name: "open"},
	{name: "firewalled", firewalled: true},
	{name: "firewalled and not local", firewalled: true, noLocal: true, path: hyperdht.PathPunched},
}

// echoSize is the number of bytes over each connection, in both directions.
const echoSize = 5 << 20

func TestBothImplementationsDialBoth(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("through "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
				for _, s := range situations {
					t.Run(s.name+" on "+host, func(t *testing.T) {
						p := p.For(t)
						dht := jspeer.Args{"host": host}
						if s.firewalled {
							dht["quickFirewall"] = false
						}
						a, b := jspeer.StartNode(p, net.dht(dht)), jspeer.StartNode(p, net.dht(dht))
						ours := startNode(t, net, hyperdht.Config{
							Listen:          netip.AddrPortFrom(netip.MustParseAddr(host), 0),
							NoQuickFirewall: s.firewalled,
						})
						listen := jspeer.Args{"on": a.On, "shareLocalAddress": !s.noLocal}
						var server struct{ PublicKey string }
						p.Call("listen", listen, &server)
						echo := func(to string) {
							t.Helper()
							p.Call("echo", jspeer.Args{
								"on": b.On, "key": to, "bytes": echoSize, "chunk": 50_000, "localConnection": !s.noLocal,
							}, nil)
						}

						w := ours.connect(key(t, server.PublicKey), hyperdht.ConnectOptions{NoLocal: s.noLocal})
						w.echoed(echoSize)
						if path := w.path(); s.path != hyperdht.PathNone && path != s.path {
							t.Errorf("Go to JavaScript went %v, want %v", path, s.path)
						}
						w.end()

						us := ours.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "us"), HideLocalAddrs: s.noLocal})
						echo(us.PublicKey().Hex())
						echo(server.PublicKey)
					})
				}
			}
		})
	}
}

// roles are the dialling and the dialled implementation: a connection must not depend on them.
var roles = []struct {
	name string
	meet func(t *testing.T, net testnet, p *jspeer.Peer) (*wire, jspeerConnection)
}{
	{"Go dialled", func(t *testing.T, net testnet, p *jspeer.Peer) (*wire, jspeerConnection) {
		theirs := jspeer.StartNode(p, net.dht(nil))
		var server struct {
			On        int
			PublicKey string
		}
		p.Call("listen", jspeer.Args{"on": theirs.On, "mode": "hold"}, &server)
		w := startNode(t, net, hyperdht.Config{}).connect(key(t, server.PublicKey), hyperdht.ConnectOptions{})
		there := jspeerConnection{Peer: p}
		if err := p.Await("connection", jspeer.Of(server.On)).Decode(&there); err != nil {
			t.Fatal(err)
		}
		return w, there
	}},
	{"JavaScript dialled", func(t *testing.T, net testnet, p *jspeer.Peer) (*wire, jspeerConnection) {
		server, incoming := startNode(t, net, hyperdht.Config{}).serve(hyperdht.ListenOptions{Keys: keys(t, "server")})
		theirs := jspeer.StartNode(p, net.dht(nil))
		there := jspeerConnection{Peer: p}
		p.Call("connect", jspeer.Args{"on": theirs.On, "key": server.PublicKey().Hex()}, &there)
		w := await(t, "a connection comes in", incoming)
		await(t, "it opens", w.opened)
		return w, there
	}},
}

// jspeerConnection is a connection that a peer holds.
type jspeerConnection struct {
	*jspeer.Peer    `json:"-"`
	On              int    `json:"on"`
	RemotePublicKey string `json:"remotePublicKey"`
	HandshakeHash   string `json:"handshakeHash"`
}

func (c jspeerConnection) do(command string, args jspeer.Args) {
	with := jspeer.Args{"on": c.On}
	for name, value := range args {
		with[name] = value
	}
	c.Call(command, with, nil)
}

// got waits for bytes, in an event of this connection.
func (c jspeerConnection) got(event, text string) {
	want := hex.EncodeToString([]byte(text))
	c.Await(event, func(e jspeer.Event) bool { return e.Of == c.On && strings.Contains(e.String(), `"`+want+`"`) })
}

func (c jspeerConnection) await(event string) jspeer.Event { return c.Await(event, jspeer.Of(c.On)) }

func TestConnectionsAcrossImplementations(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("through "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			for _, role := range roles {
				meet := func(t *testing.T) (*wire, jspeerConnection) { return role.meet(t, net, p.For(t)) }
				t.Run(role.name, func(t *testing.T) {
					t.Run("both know each other", func(t *testing.T) {
						w, there := meet(t)
						var ours [64]byte
						w.n.do(func() { ours = w.c.HandshakeHash() })
						if hex.EncodeToString(ours[:]) != there.HandshakeHash {
							t.Errorf("handshake hashes %x and %s", ours, there.HandshakeHash)
						}
						if want := w.c.PublicKey().Hex(); there.RemotePublicKey != want {
							t.Errorf("we are %s to them, want %s", there.RemotePublicKey, want)
						}
					})
					t.Run("messages go both ways", func(t *testing.T) {
						w, there := meet(t)
						w.send("ordered")
						there.got("data", "ordered")
						there.do("send", jspeer.Args{"bytes": hex.EncodeToString([]byte("answer"))})
						if got := string(await(t, "a message", w.messages)); got != "answer" {
							t.Errorf("got %q", got)
						}
						if !unorderedMessages.in(t, there.Peer) {
							return
						}
						w.sendUnordered("unordered")
						there.got("message", "unordered")
						there.do("send", jspeer.Args{"bytes": hex.EncodeToString([]byte("back")), "unordered": true})
						if got := string(await(t, "an unordered message", w.unordered)); got != "back" {
							t.Errorf("got %q", got)
						}
					})
					t.Run("Go ends", func(t *testing.T) {
						w, there := meet(t)
						w.send("last words")
						w.end()
						there.got("data", "last words")
						there.await("end")
						cleanly(t, there.await("close"))
						if err := await(t, "we close", w.closed); err != nil {
							t.Errorf("we closed with %v", err)
						}
					})
					t.Run("JavaScript ends", func(t *testing.T) {
						w, there := meet(t)
						there.do("send", jspeer.Args{"bytes": hex.EncodeToString([]byte("last words"))})
						there.do("end", nil)
						if got := string(await(t, "a message", w.messages)); got != "last words" {
							t.Errorf("got %q", got)
						}
						await(t, "their end", w.ended)
						w.end()
						if err := await(t, "we close", w.closed); err != nil {
							t.Errorf("we closed with %v", err)
						}
						cleanly(t, there.await("close"))
					})
					t.Run("Go destroys", func(t *testing.T) {
						w, there := meet(t)
						w.destroy()
						there.await("close")
					})
					t.Run("JavaScript destroys", func(t *testing.T) {
						w, there := meet(t)
						there.do("close", nil)
						if err := await(t, "we close", w.closed); err == nil {
							t.Error("their destruction came out as a clean end")
						}
					})
				})
			}
		})
	}
}

// cleanly fails the test if a peer's connection closed with an error.
func cleanly(t *testing.T, e jspeer.Event) {
	t.Helper()
	var facts struct{ Error *struct{ Message string } }
	if err := e.Decode(&facts); err != nil {
		t.Fatal(err)
	}
	if facts.Error != nil {
		t.Errorf("they closed with %s", facts.Error.Message)
	}
}
