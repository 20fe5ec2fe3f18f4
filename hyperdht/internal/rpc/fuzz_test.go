package rpc

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

func FuzzReceive(f *testing.F) {
	v := vectors.Load[struct {
		Requests, Responses []struct{ Hex vectors.Hex }
	}](f, "dht-rpc")
	for _, c := range append(v.Requests, v.Responses...) {
		f.Add([]byte(c.Hex), []byte(nil))
	}
	f.Add([]byte(v.Requests[0].Hex), []byte(v.Responses[0].Hex))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		cost.Repeat(t, func() {
			net := simnet.New(simnet.Config{Seed: 1})
			h := net.AddHost("us", us.Addr())
			e, err := New(h, Config{App: onRequest(func(r *Request) { r.Reply(r.Value, ReplyOptions{}) })})
			if err != nil {
				t.Fatal(err)
			}
			h.Do(func() {
				e.calls.table.next = 0x1234
				e.Request(RequestOptions{To: client, Command: 2}, func(Reply, error) {})
				e.Query(QueryConfig{Nodes: []netip.AddrPort{client}, Command: 3})
			})
			h.Do(func() {
				work := cost.Start(t, cost.Bound{StepsPerByte: 32, Steps: 4000, BytesPerByte: 64, Bytes: 64 << 10})
				defer work.Stop()
				for _, b := range [][]byte{first, second} {
					work.Allow(len(b))
					e.Receive(e.ServerSocket(), client, b)
				}
			})
			net.Run(10 * time.Second)
			if e.nodes.table.Len() != e.nodes.list.Len() || e.Len() > 3 {
				t.Errorf("%d nodes in the table, %d in the list", e.nodes.table.Len(), e.nodes.list.Len())
			}
			h.Do(e.Close)
			e.Faults(func(what string) { t.Error(what) })
			if h.Timers() != 0 {
				t.Errorf("%d timers left", h.Timers())
			}
		})
	})
}

func FuzzParseBootstrap(f *testing.F) {
	for _, text := range []string{"88.99.3.86@node1.hyperdht.org:49737", "a:1", "49737", "@:", strings.Repeat("\x80", 2000), strings.Repeat("\x80", 1000) + "@a:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b Bootstrap
		var err error
		cost.Parsing.Check(t, len(text), func() { b, err = ParseBootstrap(text) })
		if err != nil {
			return
		}
		if again, err := ParseBootstrap(b.String()); err != nil || again != b {
			t.Errorf("%q: %+v prints as %v, which reads as %+v, %v", text, b, b, again, err)
		}
	})
}

func TestHostileToAddressesDoNoHarm(t *testing.T) {
	// What nodes say our address is can be anything; it only ever feeds the sampler.
	l := newLab(t, Config{})
	for i := range 40 {
		p := l.peer(silent)
		self := id.NodeIDOf(p.addr)
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(i), 0, 0, 0}), uint16(i))
		m := wire.Request{To: to, ID: &self, Internal: true, Command: wire.CmdPing}
		p.host.Do(func() { p.sock.Send(l.atServer(), 0, m.Append(nil)) })
		l.net.Run(time.Second)
	}
	if l.Host().IsValid() || !l.Ephemeral() {
		t.Errorf("believes to be %v", l.Addr())
	}
}
