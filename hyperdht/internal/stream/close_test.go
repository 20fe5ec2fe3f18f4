package stream

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

func TestBothWaysAndCleanEnd(t *testing.T) {
	d := newDuo(t)
	data := bulk(1 << 20)
	d.a.turn(func() { d.pa.Write(data); d.pa.End() })
	d.b.turn(func() { d.pb.Write(data[:1000]); d.pb.End() })
	d.run(2 * time.Second)
	if !bytes.Equal(d.pb.got.Bytes(), data) || !bytes.Equal(d.pa.got.Bytes(), data[:1000]) {
		t.Fatalf("got %d and %d bytes", d.pb.got.Len(), d.pa.got.Len())
	}
	for _, p := range []*peer{d.pa, d.pb} {
		if p.ends != 1 || p.closes != 1 || p.err != nil || !p.Closed() {
			t.Errorf("ends %d, closes %d, error %v", p.ends, p.closes, p.err)
		}
	}
	d.quiet(d.a, d.b)
}

func TestHalfClosedStreamStaysOpen(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() { d.pa.End() })
	d.run(time.Second)
	if d.pb.ends != 1 || d.pb.closes != 0 || d.pa.closes != 0 {
		t.Fatalf("ends %d, closes %d and %d", d.pb.ends, d.pb.closes, d.pa.closes)
	}
	d.b.turn(func() { d.pb.Write([]byte("late")) })
	d.run(time.Minute)
	if d.pa.got.String() != "late" || d.pa.closes != 0 {
		t.Fatalf("got %q", d.pa.got.String())
	}
	d.b.turn(func() { d.pb.End() })
	d.run(time.Second)
	if d.pa.closes != 1 || d.pb.closes != 1 {
		t.Errorf("closes %d and %d", d.pa.closes, d.pb.closes)
	}
	d.quiet(d.a, d.b)
}

func TestDestroyResetsThePeer(t *testing.T) {
	d := newDuo(t)
	mine := errors.New("mine")
	d.a.turn(func() {
		d.pa.Write(bulk(100))
		d.pa.Destroy(mine)
		if d.pa.closes != 0 {
			t.Error("OnClose was called inside Destroy")
		}
		d.pa.Destroy(errors.New("again"))
	})
	d.run(time.Second)
	if d.pa.closes != 1 || d.pa.err != mine {
		t.Errorf("A: closes %d, error %v", d.pa.closes, d.pa.err)
	}
	if d.pb.closes != 1 || d.pb.err != ErrReset || d.pb.got.Len() != 0 {
		t.Errorf("B: closes %d, error %v, got %d bytes", d.pb.closes, d.pb.err, d.pb.got.Len())
	}
	d.quiet(d.a, d.b)
}

func TestVanishedPeerTimesOutAfterThirteenSeconds(t *testing.T) {
	d := newDuo(t)
	d.sb.Close()
	start := d.now
	var closedAt host.Instant
	d.a.turn(func() {
		d.pa.OnClose(func(err error) { d.pa.err, closedAt = err, d.now })
		d.pa.Write([]byte("anyone?"))
	})
	d.run(time.Minute)
	if d.pa.err != ErrTimeout || closedAt.Sub(start) != 13*time.Second {
		t.Errorf("closed with %v after %v", d.pa.err, closedAt.Sub(start))
	}
	d.b.turn(func() { d.pb.Destroy(nil) })
	d.run(0)
	d.quiet(d.a, d.b)
}

func TestTableCountsRetransmissionsOfClosedStreamsToo(t *testing.T) {
	d := newDuo(t)
	d.sb.Close()
	d.a.turn(func() { d.pa.Write([]byte("anyone?")) })
	d.run(5 * time.Second)
	open := d.a.table.Stats().Retransmits
	d.run(time.Minute)
	if closed := d.a.table.Stats().Retransmits; open == 0 || closed <= open || closed != d.pa.Stats().Retransmits {
		t.Errorf("%d retransmissions while open, %d in the end, the stream says %d", open, closed, d.pa.Stats().Retransmits)
	}
	d.b.turn(func() { d.pb.Destroy(nil) })
	d.run(0)
	d.quiet(d.a, d.b)
}

// The reference keeps no TIME_WAIT and would report a failure in this case (§4.5, §18.1).
func TestClosedStreamRepeatsItsLastAck(t *testing.T) {
	d := newDuo(t)
	lost := 0
	d.a.turn(func() { d.pa.End() })
	d.run(time.Second)
	d.filter = func(from, _ netip.AddrPort, b []byte) bool {
		if from == d.sa.local && lost < 2 { // A's ack of B's END, twice
			lost++
			return false
		}
		return true
	}
	d.b.turn(func() { d.pb.End() })
	d.run(500 * time.Millisecond)
	if d.pa.closes != 1 || lost == 0 {
		t.Fatalf("A is not closed, or nothing was lost")
	}
	d.run(20 * time.Second)
	if d.pb.closes != 1 || d.pb.err != nil {
		t.Errorf("B: closes %d, error %v", d.pb.closes, d.pb.err)
	}
	if s := d.a.table.Stats(); s.Lingered == 0 {
		t.Errorf("no ack was repeated: %+v", s)
	}
	d.quiet(d.a, d.b)
}

func TestClosedStreamIsForgottenAfterAWhile(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() { d.pa.End() })
	d.b.turn(func() { d.pb.End() })
	d.run(time.Second)
	end := udx.Header{Flags: udx.FlagEnd, StreamID: d.pa.ID(), Seq: 0}.Append(nil)
	ack := udx.Header{StreamID: d.pa.ID()}.Append(nil)
	for _, tc := range []struct {
		name    string
		wait    time.Duration
		packet  []byte
		taken   bool
		answers uint64
	}{
		{"an ack is swallowed", 0, ack, true, 0},
		{"an END is answered", 0, end, true, 1},
		{"an END much later is not of this stream", lingerTime, end, false, 1},
	} {
		d.run(tc.wait)
		d.a.turn(func() {
			if got := d.a.table.Receive(d.sa, d.sb.local, tc.packet); got != tc.taken {
				t.Errorf("%s: taken %v, want %v", tc.name, got, tc.taken)
			}
		})
		if got := d.a.table.Stats().Lingered; got != tc.answers {
			t.Errorf("%s: %d answers, want %d", tc.name, got, tc.answers)
		}
	}
	if len(d.a.table.linger.byID) != 0 {
		t.Error("the closed stream is still remembered")
	}
}

func TestLingeringStreamsAreBounded(t *testing.T) {
	var l lingering
	for i := range 3 * maxLingering {
		l.add(&closedStream{id: uint32(i), until: host.Instant(i + 1)})
	}
	if len(l.queue) != maxLingering || len(l.byID) != maxLingering {
		t.Fatalf("%d and %d kept", len(l.queue), len(l.byID))
	}
	if l.find(0, 0) != nil || l.find(3*maxLingering-1, 0) == nil {
		t.Error("not the newest were kept")
	}
}

func TestHandlersSetLateMissNothing(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{})
	sa, sb := a.socket(), b.socket()
	var x, y *Stream
	a.turn(func() { x = a.table.New(nil) })
	b.turn(func() { y = b.table.New(nil) })
	a.turn(func() { x.Connect(sa, y.ID(), sb.local); x.Write([]byte("held")); x.End() })
	b.turn(func() { y.Connect(sb, x.ID(), sa.local); y.End() })
	n.run(time.Second)
	if y.Closed() {
		t.Fatal("closed with data unread")
	}
	var p *peer
	b.turn(func() {
		p = record(y)
		if p.got.Len() != 0 {
			t.Error("data was handed over inside OnData")
		}
	})
	if p.got.String() != "held" || p.ends != 1 || p.closes != 1 {
		t.Errorf("got %q, ends %d, closes %d", p.got.String(), p.ends, p.closes)
	}
	n.run(time.Second)
	var closes int
	a.turn(func() { x.OnData(func([]byte) {}) })
	n.run(time.Second)
	a.turn(func() { x.OnClose(func(err error) { closes++ }) })
	if closes != 1 {
		t.Errorf("a late OnClose was called %d times", closes)
	}
	n.quiet(a, b)
}

func TestDestroyInsideEveryHandler(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(p *peer)
	}{
		{"data", func(p *peer) { p.OnData(func([]byte) { p.Destroy(nil) }) }},
		{"message", func(p *peer) { p.OnMessage(func([]byte) { p.Destroy(nil) }) }},
		{"end", func(p *peer) { p.OnEnd(func() { p.Destroy(nil) }) }},
		{"close", func(p *peer) {
			p.OnMessage(func([]byte) { p.Destroy(nil) })
			p.OnClose(func(error) { p.closes++; p.Destroy(nil); p.Write([]byte("x")); p.End() })
		}},
		{"drain", func(p *peer) {
			p.Write(make([]byte, 1<<20))
			p.OnDrain(func() { p.Destroy(nil) })
		}},
		{"moved", func(p *peer) {
			p.Write([]byte("x"))
			p.ChangeRemote(p.Socket(), p.RemoteID(), p.RemoteAddr(), func() { p.Destroy(nil) })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDuo(t)
			d.b.turn(func() { tc.set(d.pb) })
			d.a.turn(func() { d.pa.Write(bulk(10000)); d.pa.SendMessage([]byte("m")); d.pa.End() })
			d.run(time.Minute)
			if d.pb.closes != 1 || d.pa.closes != 1 {
				t.Errorf("closes %d and %d", d.pb.closes, d.pa.closes)
			}
			d.quiet(d.a, d.b)
		})
	}
}

func TestTableCloseDestroysAll(t *testing.T) {
	d := newDuo(t)
	var extra []*peer
	d.a.turn(func() {
		for range 20 {
			extra = append(extra, record(d.a.table.New(nil)))
		}
		d.a.table.Close()
	})
	d.run(time.Second)
	for i, p := range append(extra, d.pa) {
		if p.closes != 1 || p.err != ErrClosed {
			t.Errorf("stream %d: closes %d, error %v", i, p.closes, p.err)
		}
	}
	if d.pb.err != ErrReset {
		t.Errorf("the peer saw %v", d.pb.err)
	}
	d.a.turn(func() {
		if s := d.a.table.New(nil); !s.Closed() || s.Connect(d.sa, 1, d.sb.local) != ErrClosed {
			t.Error("a closed table made a stream")
		}
	})
	d.quiet(d.a, d.b)
}
