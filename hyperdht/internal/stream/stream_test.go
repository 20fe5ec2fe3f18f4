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
)

func bulk(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	r.Read(b)
	return b
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
