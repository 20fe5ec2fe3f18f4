package stream

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

func TestUnknownPacketsAreLeftToOthers(t *testing.T) {
	d := newDuo(t)
	known := udx.Header{StreamID: d.pa.ID()}.Append(nil)
	unknown := udx.Header{StreamID: d.pa.ID() + 1}.Append(nil)
	version := bytes.Clone(known)
	version[1] = 2
	for _, tc := range []struct {
		name  string
		b     []byte
		taken bool
	}{
		{"known stream", known, true},
		{"unknown stream", unknown, false},
		{"other version", version, false},
		{"short", known[:19], false},
		{"empty", nil, false},
		{"holepunch", []byte{0}, false},
		{"dht", append([]byte{3}, make([]byte, 40)...), false},
	} {
		d.a.turn(func() {
			if got := d.a.table.Receive(d.sa, d.sb.local, tc.b); got != tc.taken {
				t.Errorf("%s: taken %v", tc.name, got)
			}
		})
	}
}

func TestUnconnectedStreamWithoutFirewallSwallows(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{})
	sa, sb := a.socket(), b.socket()
	var pa, pb *peer
	b.turn(func() { pb = record(b.table.New(nil)) })
	a.turn(func() {
		pa = record(a.table.New(nil))
		pa.Connect(sa, pb.ID(), sb.local)
		pa.Write([]byte("early"))
	})
	n.run(500 * time.Millisecond)
	if pb.got.Len() != 0 || b.table.Stats().Refused != 1 || len(b.others) != 0 {
		t.Fatalf("got %q, stats %+v, %d datagrams passed on", pb.got.String(), b.table.Stats(), len(b.others))
	}
	b.turn(func() { pb.Connect(sb, pa.ID(), sa.local) })
	n.run(3 * time.Second)
	if pb.got.String() != "early" {
		t.Errorf("got %q after connect", pb.got.String())
	}
}

func TestFirewallConnectsOnTheFirstPacket(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{})
	sa, sb := a.socket(), b.socket()
	var pa, pb *peer
	asked := 0
	b.turn(func() {
		pb = record(b.table.New(func(s host.Socket, from netip.AddrPort) bool {
			asked++
			if s != host.Socket(sb) || from != sa.local {
				t.Errorf("asked about %v from %v", s.LocalAddr(), from)
			}
			return pb.Connect(s, pa.ID(), from) == nil
		}))
	})
	a.turn(func() {
		pa = record(a.table.New(nil))
		pa.Connect(sa, pb.ID(), sb.local)
		pa.Write([]byte("first"))
	})
	n.run(100 * time.Millisecond)
	if pb.got.String() != "first" || !pb.Connected() || asked != 1 {
		t.Fatalf("got %q, asked %d times", pb.got.String(), asked)
	}
	// On its own socket it is not asked any more, whatever the source.
	b.turn(func() {
		b.table.Receive(sb, netip.MustParseAddrPort("9.9.9.9:9"), udx.Header{Flags: udx.FlagHeartbeat, StreamID: pb.ID()}.Append(nil))
	})
	n.run(100 * time.Millisecond)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if s := pa.Stats(); s.InFlight != 0 || s.PacketsReceived != 2 {
		t.Errorf("A got %d packets and has %d bytes in flight", s.PacketsReceived, s.InFlight)
	}
}

func TestFirewallIsAskedForEveryKindOnAForeignSocket(t *testing.T) {
	d := newDuo(t)
	other := d.b.socket()
	var asked int
	accept := false
	d.pb.admission.firewall = func(s host.Socket, from netip.AddrPort) bool {
		asked++
		if s != host.Socket(other) {
			t.Error("asked about the stream's own socket")
		}
		return accept
	}
	kinds := []udx.Flags{0, udx.FlagData, udx.FlagEnd, udx.FlagSACK, udx.FlagMessage, udx.FlagHeartbeat, udx.FlagDestroy}
	for _, f := range kinds {
		d.b.turn(func() {
			if !d.b.table.Receive(other, d.sa.local, udx.Header{Flags: f, StreamID: d.pb.ID()}.Append(nil)) {
				t.Errorf("a refused packet with flags %d was passed on", f)
			}
		})
	}
	if asked != len(kinds) || len(d.pb.msgs) != 0 || d.pb.Closed() || d.pb.Stats().PacketsReceived != 0 {
		t.Fatalf("asked %d times for %d packets", asked, len(kinds))
	}
	accept = true
	d.b.turn(func() {
		d.b.table.Receive(other, d.sa.local, udx.Header{Flags: udx.FlagMessage, StreamID: d.pb.ID()}.Append(nil))
	})
	if len(d.pb.msgs) != 1 || d.pb.msgs[0] != "" {
		t.Errorf("messages %q, want one empty", d.pb.msgs)
	}
}

func TestWatchedRemoteHasForeignAddressesAskedFor(t *testing.T) {
	d := newDuo(t)
	foreign := netip.MustParseAddrPort("203.0.113.9:9")
	var asked []netip.AddrPort
	d.pb.admission.firewall = func(_ host.Socket, from netip.AddrPort) bool {
		asked = append(asked, from)
		return true
	}
	receive := func(from netip.AddrPort) {
		d.b.turn(func() {
			d.b.table.Receive(d.pb.Socket(), from, udx.Header{Flags: udx.FlagMessage, StreamID: d.pb.ID()}.Append(nil))
		})
	}
	receive(foreign)
	if asked != nil {
		t.Fatalf("asked about %v, though the remote is not watched", asked)
	}
	d.b.turn(d.pb.WatchRemote)
	receive(d.sa.local)
	receive(foreign)
	if len(asked) != 1 || asked[0] != foreign {
		t.Errorf("asked about %v, want %v alone", asked, foreign)
	}
}

func TestFirewallMayDestroy(t *testing.T) {
	d := newDuo(t)
	other := d.b.socket()
	d.pb.admission.firewall = func(host.Socket, netip.AddrPort) bool { d.pb.Destroy(nil); return true }
	d.b.turn(func() {
		d.b.table.Receive(other, d.sa.local, append(udx.Header{Flags: udx.FlagData, StreamID: d.pb.ID()}.Append(nil), 'x'))
	})
	d.run(time.Second)
	if d.pb.closes != 1 || d.pb.got.Len() != 0 || d.pa.err != ErrReset {
		t.Errorf("closes %d, got %q, peer %v", d.pb.closes, d.pb.got.String(), d.pa.err)
	}
	d.quiet(d.a, d.b)
}

// Data may arrive, and its end, before Connect (§2.2).
func TestEarlyDataIsAckedOnConnect(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{})
	sa, sb := a.socket(), b.socket()
	var pa, pb *peer
	b.turn(func() { pb = record(b.table.New(func(host.Socket, netip.AddrPort) bool { return true })) })
	a.turn(func() {
		pa = record(a.table.New(nil))
		pa.Connect(sa, pb.ID(), sb.local)
		pa.Write([]byte("early"))
		pa.End()
	})
	n.run(500 * time.Millisecond)
	if pb.got.String() != "early" || pb.ends != 0 || pa.Stats().InFlight == 0 {
		t.Fatalf("got %q, ends %d", pb.got.String(), pb.ends)
	}
	b.turn(func() { pb.Connect(sb, pa.ID(), sa.local) })
	n.run(100 * time.Millisecond)
	if pb.ends != 1 || pa.Stats().InFlight != 0 || pa.Stats().Timeouts != 0 {
		t.Errorf("ends %d, stats %+v", pb.ends, pa.Stats())
	}
}

func TestFirstPacketsThatBeginOtherwiseAreRefused(t *testing.T) {
	n := newNetwork(t)
	a := n.node(1, Config{})
	sa, from := a.socket(), netip.MustParseAddrPort("192.0.2.7:1000")
	var p *peer
	var asked []bool
	a.turn(func() {
		p = record(a.table.New(func(host.Socket, netip.AddrPort) bool {
			asked = append(asked, p.First())
			return true
		}))
		p.Expect([]byte("opening"))
	})
	packet := func(seq udx.Seq, payload string) []byte {
		h := udx.Header{Flags: udx.FlagData, StreamID: p.ID(), Window: udx.DefaultWindow, Seq: seq}
		return append(h.Append(nil), payload...)
	}
	for _, b := range [][]byte{
		packet(0, "openinG, forged"), packet(0, "open"), packet(0, ""), // never reach the firewall
		udx.Header{Flags: udx.FlagEnd, StreamID: p.ID(), Window: udx.DefaultWindow}.Append(nil),
		packet(1, " and more"), udx.Header{StreamID: p.ID()}.Append(nil), // reach it, and are not first
		packet(0, "opening"), packet(2, " of it"),
	} {
		a.turn(func() { a.table.Receive(sa, from, b) })
	}
	if want := []bool{false, false, true, false}; !slices.Equal(asked, want) {
		t.Errorf("the firewall is asked about %v, want %v", asked, want)
	}
	if got := p.got.String(); got != "opening and more of it" || a.table.Stats().Refused != 4 {
		t.Errorf("got %q, %d packets were refused", got, a.table.Stats().Refused)
	}
}
