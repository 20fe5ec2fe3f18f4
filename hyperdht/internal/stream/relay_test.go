package stream

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// triangle is two ends that talk through two legs of a relay.
type triangle struct {
	*network
	a, b, r    *node
	sa, sb, sr *socket
	pa, pb     *peer
	la, lb     *peer // the relay's legs towards A and B
}

func newTriangle(t testing.TB) *triangle {
	n := newNetwork(t)
	x := &triangle{network: n, a: n.node(1, Config{}), b: n.node(2, Config{}), r: n.node(3, Config{})}
	x.sa, x.sb, x.sr = x.a.socket(), x.b.socket(), x.r.socket()
	x.a.turn(func() { x.pa = record(x.a.table.New(nil)) })
	x.b.turn(func() { x.pb = record(x.b.table.New(nil)) })
	x.r.turn(func() {
		// A leg learns its client's address from the client's first packet, as in blind relays.
		x.la = record(x.r.table.New(func(s host.Socket, from netip.AddrPort) bool {
			return x.la.Connect(s, x.pa.ID(), from) == nil
		}))
		x.lb = record(x.r.table.New(func(s host.Socket, from netip.AddrPort) bool {
			return x.lb.Connect(s, x.pb.ID(), from) == nil
		}))
		x.la.RelayTo(x.lb.Stream)
		x.lb.RelayTo(x.la.Stream)
	})
	x.a.turn(func() { x.pa.Connect(x.sa, x.la.ID(), x.sr.local) })
	x.b.turn(func() { x.pb.Connect(x.sb, x.lb.ID(), x.sr.local) })
	return x
}

func TestRelayCarriesStreamsBothWays(t *testing.T) {
	x := newTriangle(t)
	data := bulk(300 << 10)
	x.a.turn(func() { x.pa.Write(data); x.pa.End() })
	x.run(100 * time.Millisecond)
	if x.pb.got.Len() != 0 || x.r.table.Stats().RelayDropped == 0 {
		t.Fatal("packets went to a leg that is not connected")
	}
	x.b.turn(func() { x.pb.Write(data[:1000]); x.pb.SendMessage([]byte("hi")); x.pb.End() })
	x.run(10 * time.Second)
	if !bytes.Equal(x.pb.got.Bytes(), data) || !bytes.Equal(x.pa.got.Bytes(), data[:1000]) || len(x.pa.msgs) != 1 {
		t.Fatalf("got %d and %d bytes, %d messages", x.pb.got.Len(), x.pa.got.Len(), len(x.pa.msgs))
	}
	if x.pa.err != nil || x.pb.err != nil || x.pa.closes != 1 || x.pb.closes != 1 {
		t.Errorf("closed with %v and %v", x.pa.err, x.pb.err)
	}
	if s := x.la.Stats(); s.PacketsSent != 0 || x.la.got.Len() != 0 || x.la.Closed() {
		t.Errorf("the leg took part: %+v", s)
	}
	x.r.turn(func() { x.la.Destroy(nil) })
	x.run(0)
	x.quiet(x.a, x.b, x.r)
}

func TestRelayRewritesNothingButTheID(t *testing.T) {
	x := newTriangle(t)
	x.b.turn(func() { x.pb.SendMessage(nil) })
	x.run(time.Second)
	in := append(udx.Header{Flags: 0xc1, DataOffset: 3, StreamID: x.la.ID(), Window: 77, Seq: 1 << 30, Ack: 1 << 29}.Append(nil), 0, 1, 2, 'x', 'y')
	var out []byte
	x.filter = func(from, to netip.AddrPort, b []byte) bool {
		if from == x.sr.local && to == x.sb.local {
			out = bytes.Clone(b)
		}
		return true
	}
	kept := bytes.Clone(in)
	x.r.turn(func() { x.r.table.Receive(x.sr, x.sa.local, in) })
	want := bytes.Clone(in)
	udx.PutStreamID(want, x.pb.ID())
	if !bytes.Equal(out, want) {
		t.Errorf("sent %x\nwant %x", out, want)
	}
	if !bytes.Equal(in, kept) {
		t.Error("the borrowed datagram was changed")
	}
}

func TestRelayedDestroyClosesTheLegs(t *testing.T) {
	x := newTriangle(t)
	x.b.turn(func() { x.pb.SendMessage(nil) })
	x.a.turn(func() { x.pa.SendMessage(nil) })
	x.run(time.Second)
	x.a.turn(func() { x.pa.Destroy(nil) })
	x.run(time.Second)
	for name, p := range map[string]*peer{"B": x.pb, "leg A": x.la, "leg B": x.lb} {
		if p.closes != 1 || p.err != ErrReset {
			t.Errorf("%s: closes %d, error %v", name, p.closes, p.err)
		}
	}
	x.quiet(x.a, x.b, x.r)
}

func TestDestroyedLegIsSilentAndTakesTheOtherDown(t *testing.T) {
	x := newTriangle(t)
	x.b.turn(func() { x.pb.SendMessage(nil) })
	x.a.turn(func() { x.pa.SendMessage(nil) })
	x.run(time.Second)
	x.log = nil
	x.r.turn(func() { x.la.Destroy(nil) })
	x.run(time.Second)
	if x.la.closes != 1 || x.lb.closes != 1 || len(x.log) != 0 || x.pa.Closed() || x.pb.Closed() {
		t.Errorf("closes %d and %d, sent %q", x.la.closes, x.lb.closes, x.log)
	}
	x.a.turn(func() { x.pa.Write([]byte("x")) })
	x.run(time.Minute)
	if x.pa.err != ErrTimeout || len(x.r.others) == 0 {
		t.Errorf("A closed with %v; the relay passed on %d datagrams", x.pa.err, len(x.r.others))
	}
}

func TestChangeFromRelayToDirect(t *testing.T) {
	x := newTriangle(t)
	x.b.turn(func() { x.pb.SendMessage(nil) })
	x.a.turn(func() { x.pa.Write([]byte("relayed ")) })
	x.run(2 * time.Second)

	// A has a packet on its way through the relay, and loses it there.
	lose := true
	x.filter = func(from, to netip.AddrPort, b []byte) bool {
		if lose && from == x.sr.local && to == x.sb.local && flagsOf(b)&udx.FlagData != 0 {
			lose = false
			return false
		}
		return true
	}
	x.a.turn(func() { x.pa.Write([]byte("lost ")) })
	moved := 0
	x.a.turn(func() {
		if err := x.pa.ChangeRemote(x.sa, x.pb.ID(), x.sb.local, func() { moved++ }); err != nil {
			t.Fatal(err)
		}
		if err := x.pa.ChangeRemote(x.sa, x.pb.ID(), x.sb.local, nil); err != ErrChanging {
			t.Errorf("second change: %v", err)
		}
		x.pa.Write([]byte("direct"))
	})
	if moved != 0 {
		t.Fatal("complete with a packet in flight")
	}
	var direct, relayed int
	x.filter = func(from, to netip.AddrPort, b []byte) bool {
		if from == x.sa.local && flagsOf(b)&udx.FlagData != 0 {
			p, _ := udx.ParsePacket(b)
			switch {
			case to == x.sb.local && p.StreamID == x.pb.ID():
				direct++
			case to == x.sr.local && p.StreamID == x.la.ID():
				relayed++
				if string(p.Payload) != "lost " {
					t.Errorf("%q was sent the old way", p.Payload)
				}
			default:
				t.Errorf("a packet for %x went to %v", p.StreamID, to)
			}
		}
		return true
	}
	x.run(3 * time.Second)
	if x.pb.got.String() != "relayed lost direct" || moved != 1 || relayed == 0 {
		t.Fatalf("got %q, complete %d times, %d retransmissions the old way", x.pb.got.String(), moved, relayed)
	}
	// B answers through the relay until it changes too; then the relay may go.
	x.b.turn(func() {
		done := false
		x.pb.ChangeRemote(x.sb, x.pa.ID(), x.sa.local, func() { done = true })
		if done {
			t.Error("done was called inside ChangeRemote")
		}
		x.b.Post(func() {
			if !done {
				t.Error("with nothing in flight the change was not complete at once")
			}
		})
	})
	x.r.turn(func() { x.la.Destroy(nil) })
	x.a.turn(func() { x.pa.Write([]byte("!")); x.pa.End() })
	x.b.turn(func() { x.pb.End() })
	x.run(time.Second)
	if x.pb.got.String() != "relayed lost direct!" || x.pa.err != nil || x.pa.closes != 1 {
		t.Errorf("got %q, closed %v", x.pb.got.String(), x.pa.err)
	}
	x.quiet(x.a, x.b, x.r)
}

func TestChangeOfSocketMovesOldPacketsToo(t *testing.T) {
	d := newDuo(t)
	second := d.a.socket()
	d.b.turn(func() { d.pb.admission.firewall = func(host.Socket, netip.AddrPort) bool { return true } })
	lost := 0
	d.filter = func(from, _ netip.AddrPort, b []byte) bool {
		if from == d.sa.local && flagsOf(b) == udx.FlagData {
			lost++
			return false
		}
		return true
	}
	d.a.turn(func() { d.pa.Write([]byte("x")) })
	d.a.turn(func() {
		d.pa.admission.firewall = func(host.Socket, netip.AddrPort) bool { return true }
		d.pa.ChangeRemote(second, d.pb.ID(), d.sb.local, nil)
	})
	d.run(2 * time.Second)
	if lost != 1 || d.pb.got.String() != "x" || d.pa.Socket() != host.Socket(second) {
		t.Errorf("lost %d, got %q", lost, d.pb.got.String())
	}
}

func TestRelayToAClosedLeg(t *testing.T) {
	n := newNetwork(t)
	a := n.node(1, Config{})
	var x, y *peer
	a.turn(func() {
		x, y = record(a.table.New(nil)), record(a.table.New(nil))
		y.Destroy(nil)
		x.RelayTo(y.Stream)
	})
	if x.err != ErrReset || x.closes != 1 {
		t.Errorf("closes %d, error %v", x.closes, x.err)
	}
	n.quiet(a)
}
