package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

func bulk(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	r.Read(b)
	return b
}

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
		{"an END much later is not ours", lingerTime, end, false, 1},
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
	d.pb.firewall = func(s host.Socket, from netip.AddrPort) bool {
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

func TestFirewallMayDestroy(t *testing.T) {
	d := newDuo(t)
	other := d.b.socket()
	d.pb.firewall = func(host.Socket, netip.AddrPort) bool { d.pb.Destroy(nil); return true }
	d.b.turn(func() {
		d.b.table.Receive(other, d.sa.local, append(udx.Header{Flags: udx.FlagData, StreamID: d.pb.ID()}.Append(nil), 'x'))
	})
	d.run(time.Second)
	if d.pb.closes != 1 || d.pb.got.Len() != 0 || d.pa.err != ErrReset {
		t.Errorf("closes %d, got %q, peer %v", d.pb.closes, d.pb.got.String(), d.pa.err)
	}
	d.quiet(d.a, d.b)
}

// Data may arrive, and its end, before anybody connects (§2.2).
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

func TestWriteReportsBackPressureAndDrain(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() {
		if !d.pa.Write(make([]byte, 1000)) {
			t.Error("a small write met back-pressure")
		}
		if d.pa.Write(make([]byte, 1<<20)) {
			t.Error("a megabyte met none")
		}
	})
	if d.pa.drains != 0 {
		t.Fatal("drained at once")
	}
	d.run(time.Second)
	if d.pa.drains != 1 || d.pb.got.Len() != 1000+1<<20 {
		t.Errorf("drains %d, got %d bytes", d.pa.drains, d.pb.got.Len())
	}
}

func TestPauseShrinksTheWindowAndResumeReopensIt(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{ReceiveBuffer: 64 << 10})
	sa, sb := a.socket(), b.socket()
	var pa, pb *peer
	a.turn(func() { pa = record(a.table.New(nil)) })
	b.turn(func() { pb = record(b.table.New(nil)) })
	a.turn(func() { pa.Connect(sa, pb.ID(), sb.local) })
	b.turn(func() { pb.Connect(sb, pa.ID(), sa.local); pb.Pause() })
	data := bulk(300 << 10)
	a.turn(func() { pa.Write(data); pa.End() })
	n.run(5 * time.Second)
	held := pb.Stats().Held
	if pb.got.Len() != 0 || held == 0 || held > 64<<10+64<<10 {
		t.Fatalf("got %d bytes and holds %d", pb.got.Len(), held)
	}
	b.turn(func() {
		pb.Resume()
		if pb.got.Len() != 0 {
			t.Error("data was handed over inside Resume")
		}
	})
	n.run(100 * time.Millisecond)
	if !bytes.Equal(pb.got.Bytes(), data) || pb.ends != 1 {
		t.Errorf("got %d bytes of %d, ends %d", pb.got.Len(), len(data), pb.ends)
	}
	if s := pa.Stats(); s.Timeouts != 0 {
		t.Errorf("the pause cost timeouts: %+v", s)
	}
}

func TestMessages(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() {
		for _, m := range []string{"one", "", "three"} {
			if !d.pa.SendMessage([]byte(m)) {
				t.Errorf("message %q was refused", m)
			}
		}
		if d.pa.SendMessage(make([]byte, MaxMessage+1)) {
			t.Error("a message beyond a datagram was taken")
		}
	})
	d.run(100 * time.Millisecond)
	if got := strings.Join(d.pb.msgs, ","); got != "one,,three" {
		t.Errorf("messages %q", got)
	}
	d.a.turn(func() {
		d.pa.Destroy(nil)
		if d.pa.SendMessage(nil) {
			t.Error("a closed stream took a message")
		}
	})
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

func TestLocalMisuseIsRefused(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() {
		fresh := d.a.table.New(nil)
		for _, tc := range []struct {
			name string
			got  error
			want error
		}{
			{"connect twice", d.pa.Connect(d.sa, 1, d.sb.local), ErrConnected},
			{"port 0", fresh.Connect(d.sa, 1, netip.AddrPortFrom(d.sb.local.Addr(), 0)), ErrBadRemote},
			{"no socket", fresh.Connect(nil, 1, d.sb.local), ErrBadRemote},
			{"change before connect", fresh.ChangeRemote(d.sa, 1, d.sb.local, nil), ErrNotConnected},
		} {
			if !errors.Is(tc.got, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, tc.got, tc.want)
			}
		}
		fresh.Destroy(nil)
		if err := fresh.Connect(d.sa, 1, d.sb.local); err != ErrClosed {
			t.Errorf("connect after close: %v", err)
		}
		d.pa.End()
		if d.pa.Write([]byte("x")) {
			t.Error("a write after End was taken")
		}
	})
}

func TestKeepaliveSendsHeartbeats(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() { d.pa.SetKeepalive(5 * time.Second) })
	d.run(21 * time.Second)
	beats := 0
	for _, line := range d.log {
		if strings.Contains(line, "flags=32") {
			beats++
		}
	}
	if beats != 4 || d.pa.Stats().PacketsReceived != 4 {
		t.Errorf("%d heartbeats, %d answers", beats, d.pa.Stats().PacketsReceived)
	}
	d.a.turn(func() { d.pa.SetKeepalive(0) })
	d.run(time.Minute)
	if d.timers != 0 {
		t.Error("the timer runs on")
	}
}

// One turn with many packets costs one acknowledgement.
func TestAcksOfATurnMerge(t *testing.T) {
	d := newDuo(t)
	d.log = nil
	d.b.turn(func() {
		for i := range 10 {
			p := append(udx.Header{Flags: udx.FlagData, StreamID: d.pb.ID(), Seq: udx.Seq(i), Window: 1 << 20}.Append(nil), 'x')
			d.b.table.Receive(d.sb, d.sa.local, p)
		}
	})
	if len(d.log) != 1 || !strings.Contains(d.log[0], "ack=10") {
		t.Errorf("sent %q", d.log)
	}
}

func TestWritesOfATurnShareAPacket(t *testing.T) {
	d := newDuo(t)
	d.log = nil
	d.a.turn(func() {
		for range 100 {
			d.pa.Write([]byte("0123456789"))
		}
	})
	if len(d.log) != 1 || !strings.Contains(d.log[0], "len=1000") {
		t.Errorf("sent %q", d.log)
	}
}

func TestTraceTellsLifeOfAStream(t *testing.T) {
	d := newDuo(t)
	d.a.turn(func() { d.pa.ChangeRemote(d.sa, 7, d.sb.local, nil); d.pa.Destroy(ErrTimeout) })
	got := strings.Join(d.a.trace, "\n")
	for _, want := range []string{"stream connected id=", "stream moved id=", " remote=7 to=10.0.0.2:1000", "stream closed id=", `error="udx: no answer from the peer"`} {
		if !strings.Contains(got, want) {
			t.Errorf("trace lacks %q:\n%s", want, got)
		}
	}
}
