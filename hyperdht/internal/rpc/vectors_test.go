package rpc

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

var (
	us     = netip.MustParseAddrPort("203.0.113.7:49737")
	client = netip.MustParseAddrPort("198.51.100.20:40123")
)

// recorder is a socket that keeps what it was to send.
type recorder struct {
	name string
	sent *[]sent
}

type sent struct {
	socket string
	to     netip.AddrPort
	hex    string
}

func (r *recorder) LocalAddr() netip.AddrPort { return us }
func (r *recorder) Send(to netip.AddrPort, _ int, b []byte) {
	*r.sent = append(*r.sent, sent{r.name, to, hex.EncodeToString(b)})
}
func (r *recorder) OnReceive(func(netip.AddrPort, []byte)) {}
func (r *recorder) Close()                                 {}

// bench is an endpoint with recording sockets and known secrets, as the vectors were made with.
type bench struct {
	*Endpoint
	t        *testing.T
	sent     []sent
	requests []*Request
	sockets  map[string]host.Socket
}

func newBench(t *testing.T, known, firewalled bool) *bench {
	t.Helper()
	b := &bench{t: t}
	h := simnet.New(simnet.Config{Seed: 1}).AddHost("us", us.Addr())
	e, err := New(h, Config{
		Mode: Ephemeral, Firewalled: &firewalled,
		App: onRequest(func(r *Request) {
			r.Value = slices.Clone(r.Value)
			b.requests = append(b.requests, r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Endpoint = e
	b.sockets = make(map[string]host.Socket)
	for _, name := range []string{"server", "client", "pool"} {
		b.sockets[name] = &recorder{name, &b.sent}
	}
	e.sockets.server, e.sockets.client = b.sockets["server"], b.sockets["client"]
	self := id.NodeID{}
	if known {
		e.standing.role = persistent
		self = id.NodeIDOf(us)
	}
	e.nodes.table = kad.NewTable(self, kad.K)
	e.calls.table.next = 0x1234
	e.answering.tokens = kad.TokensOf(increasing(0x10), increasing(0x80))
	return b
}

func increasing(from byte) (b [32]byte) {
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func (b *bench) receive(socket, packet string, from netip.AddrPort) {
	b.t.Helper()
	raw, err := hex.DecodeString(packet)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Receive(b.sockets[socket], from, raw)
}

func (b *bench) one() sent {
	b.t.Helper()
	if len(b.sent) != 1 {
		b.t.Fatalf("%d packets sent, want one: %v", len(b.sent), b.sent)
	}
	return b.sent[0]
}

func targetOf(t *testing.T, h vectors.Hex) *id.Target {
	if h == nil {
		return nil
	}
	target := id.Target(h.Key(t))
	return &target
}

func TestRequestsLeaveAsInVectors(t *testing.T) {
	v := vectors.Load[struct {
		Requests []struct {
			Name   string
			Sender struct{ Persistent, Firewalled bool }

			SentFromSocket string
			To             vectors.Addr
			Token          vectors.Hex
			Internal       bool
			Command        uint64
			Target, Value  vectors.Hex
			Hex            string

			DecodedWhenReceivedFrom struct {
				Host netip.Addr
				Port uint16
				ID   vectors.Hex
			}
		}
	}](t, "dht-rpc")
	for _, c := range v.Requests {
		t.Run(c.Name, func(t *testing.T) {
			b := newBench(t, c.Sender.Persistent, c.Sender.Firewalled)
			out := RequestOptions{
				To: c.To.AddrPort, Internal: c.Internal, Command: c.Command, Target: targetOf(t, c.Target), Value: c.Value,
			}
			if c.Token != nil {
				token := id.Token(c.Token.Key(t))
				out.Token = &token
			}
			if c.SentFromSocket == "pool" {
				out.Socket = b.sockets["pool"]
			}
			b.Request(out, nil)
			if got, want := b.one(), (sent{c.SentFromSocket, c.To.AddrPort, c.Hex}); got != want {
				t.Errorf("sent %v\nwant %v", got, want)
			}

			at := newBench(t, false, false)
			if c.Token != nil {
				return // it would not be valid there
			}
			from := netip.AddrPortFrom(c.DecodedWhenReceivedFrom.Host, c.DecodedWhenReceivedFrom.Port)
			at.receive("server", c.Hex, from)
			if known := at.Len() == 1; known != (c.DecodedWhenReceivedFrom.ID != nil) {
				t.Errorf("sender enters the table: %v, want %v", known, !known)
			}
			if known := at.nodes.table.Get(id.NodeIDOf(from)) != nil; known != (c.DecodedWhenReceivedFrom.ID != nil) {
				t.Errorf("sender is in the table by its id: %v, want %v", known, !known)
			}
		})
	}
}

func TestResponsesLeaveAsInVectors(t *testing.T) {
	v := vectors.Load[struct {
		Responses []struct {
			Name               string
			Request            string
			RequestArrivedFrom vectors.Addr
			Responder          struct {
				Persistent bool
				ArrivedOn  string
			}
			SentFromSocket string
			SentTo         vectors.Addr
			Hex            string
			Decoded        struct {
				CloserNodes []vectors.Addr
			}
		}
	}](t, "dht-rpc")
	// What the application does where the endpoint does not answer by itself.
	third := netip.MustParseAddrPort("192.0.2.99:777")
	value := increasing(0)
	applications := map[string]func(*Request){
		"user command, reply without value":                  func(r *Request) { r.Reply(nil, ReplyOptions{}) },
		"user command, reply with value":                     func(r *Request) { r.Reply(append(value[:], 32, 33, 34, 35, 36, 37, 38, 39), ReplyOptions{}) },
		"user command, reply with empty value":               func(r *Request) { r.Reply([]byte{}, ReplyOptions{}) },
		"user command, reply without token and closer nodes": func(r *Request) { r.Reply(nil, ReplyOptions{NoToken: true, NoCloser: true}) },
		"user command, error reply":                          func(r *Request) { r.Error(wire.CodeSeqReused, ReplyOptions{}) },
		"reply addressed to a third party":                   func(r *Request) { r.Reply(value[:2], ReplyOptions{To: third, NoToken: true, NoCloser: true}) },
	}
	for _, c := range v.Responses {
		t.Run(c.Name, func(t *testing.T) {
			// The vectors' responders are not firewalled towards the node that asks: only the arrival matters.
			b := newBench(t, c.Responder.Persistent, !c.Responder.Persistent)
			for _, a := range []string{"142.93.90.113:49737", "138.68.147.8:49737", "10.0.0.1:1"} {
				if len(c.Decoded.CloserNodes) > 0 {
					b.AddNode(netip.MustParseAddrPort(a))
				}
			}
			b.receive(c.Responder.ArrivedOn, c.Request, c.RequestArrivedFrom.AddrPort)
			if act := applications[c.Name]; act != nil {
				if len(b.requests) != 1 {
					t.Fatalf("%d requests for the application, want one", len(b.requests))
				}
				act(b.requests[0])
			} else if strings.HasPrefix(c.Name, "user") {
				t.Fatal("no application for this case")
			}
			if got, want := b.one(), (sent{c.SentFromSocket, c.SentTo.AddrPort, c.Hex}); got != want {
				t.Errorf("sent %v\nwant %v", got, want)
			}
		})
	}
}

func TestForwardedRequestsLeaveAsInVectors(t *testing.T) {
	v := vectors.Load[struct {
		Relays []struct {
			RelayPersistent bool
			Request         string
			NewValue        vectors.Hex
			SentTo          vectors.Addr
			SentFromSocket  string
			Hex             string
		}
	}](t, "dht-rpc")
	for _, c := range v.Relays {
		b := newBench(t, c.RelayPersistent, !c.RelayPersistent)
		b.receive("server", c.Request, client)
		r := b.requests[0]
		b.Forward(Forwarded{
			TID: r.TID, Internal: r.Internal, Command: r.Command, Target: r.Target,
			Value: c.NewValue, To: c.SentTo.AddrPort, Socket: r.Socket,
		})
		if got, want := b.one(), (sent{c.SentFromSocket, c.SentTo.AddrPort, c.Hex}); got != want {
			t.Errorf("persistent %v: sent %v\nwant %v", c.RelayPersistent, got, want)
		}
	}
}

func TestRespondEqualsReplyToThirdParty(t *testing.T) {
	const request = "030034123aa0710749c200"
	third := netip.MustParseAddrPort("192.0.2.99:777")
	a, b := newBench(t, true, false), newBench(t, true, false)
	a.receive("server", request, client)
	a.requests[0].Reply([]byte{1, 2}, ReplyOptions{To: third, NoToken: true, NoCloser: true})
	b.Respond(0x1234, third, b.sockets["server"], []byte{1, 2})
	if a.one() != b.one() {
		t.Errorf("responded %v\nwant %v", b.one(), a.one())
	}
}

func TestBadDatagramsAreIgnored(t *testing.T) {
	v := vectors.Load[struct {
		Ignored []struct{ Hex, Note string }
	}](t, "dht-rpc")
	if len(v.Ignored) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Ignored {
		t.Run(c.Note, func(t *testing.T) {
			b := newBench(t, false, true)
			from := client
			if c.Note == "source port 0" {
				from = netip.AddrPortFrom(from.Addr(), 0)
			}
			b.receive("server", c.Hex, from)
			d := b.Stats().Dropped
			if len(b.sent)+len(b.requests) != 0 || d.Unusable+d.Malformed != 1 {
				t.Errorf("sent %v, requests %v, dropped %+v", b.sent, b.requests, d)
			}
		})
	}
}

func TestOddDatagramsAreTolerated(t *testing.T) {
	v := vectors.Load[struct {
		Tolerated []struct {
			Hex, Note string
			Decoded   struct {
				Internal bool
				Command  uint64
			}
		}
	}](t, "dht-rpc")
	if len(v.Tolerated) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Tolerated {
		t.Run(c.Note, func(t *testing.T) {
			b := newBench(t, false, true)
			b.receive("server", c.Hex, client)
			if b.Stats().Received.Requests != 1 || b.Stats().Dropped.Malformed != 0 {
				t.Errorf("stats %+v", b.Stats())
			}
			if got := len(b.sent) + len(b.requests); got != 1 {
				t.Errorf("%d answers and requests, want one", got)
			}
		})
	}
}

func TestExternalMessagesDoNotRefreshSamples(t *testing.T) {
	v := vectors.Load[struct {
		ExternalFlag []struct {
			Firewalled bool
			ArrivedOn  string
			External   bool
		}
	}](t, "dht-rpc")
	if len(v.ExternalFlag) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.ExternalFlag {
		b := newBench(t, false, c.Firewalled)
		self := id.NodeIDOf(client)
		b.AddNode(client)
		ping := wire.Request{To: us, ID: &self, Internal: true, Command: wire.CmdPing}
		b.receive(c.ArrivedOn, hex.EncodeToString(ping.Append(nil)), client)
		if sampled := b.Addr() == us; sampled == c.External {
			t.Errorf("firewalled %v, %s socket: sampled %v", c.Firewalled, c.ArrivedOn, sampled)
		}
	}
}

func TestWindowFollowsVectors(t *testing.T) {
	v := vectors.Load[struct {
		CongestionWindow []struct {
			Op             string
			Times          int
			Total, Current int
			Slots          [windowSlots]int
			Full           bool
		}
	}](t, "dht-rpc")
	var w window
	for i, c := range v.CongestionWindow {
		for range c.Times {
			switch c.Op {
			case "send":
				w.send()
			case "recv":
				w.recv()
			case "drain":
				w.drain()
			default:
				t.Fatalf("unknown op %q", c.Op)
			}
		}
		if want := (window{slots: c.Slots, current: c.Current, total: c.Total}); w != want || w.full() != c.Full {
			t.Fatalf("step %d: %+v full %v, want %+v full %v", i, w, w.full(), want, c.Full)
		}
	}
}

func TestWindowDrainsWithoutTimer(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	e, err := New(net.AddHost("us", us.Addr()), Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &e.calls.window
	for range windowMax {
		w.send()
	}
	net.Run(3 * drainInterval)
	if w.catchUp(e.h.Now()); w.total != windowMax || w.full() {
		t.Errorf("after three drains: %+v", *w)
	}
	net.Run(time.Millisecond + drainInterval)
	if w.catchUp(e.h.Now()); w.total != 0 {
		t.Errorf("after four drains: %+v", *w)
	}
}
