package udx

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// expect compares a transcript, without the indentation of the source.
func (w *world) expect(want string) {
	w.t.Helper()
	var lines []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	var got []string
	for _, line := range w.log {
		got = append(got, strings.TrimSpace(line))
	}
	w.log = nil
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		w.t.Errorf("transcript:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

func traced(t testing.TB, l link) *world {
	w := pair(t, l, 1)
	w.trace = true
	return w
}

// both checks how the two ends closed.
func (w *world) bothClosed(errA, errB error) {
	w.t.Helper()
	for _, x := range []struct {
		e   *end
		err error
	}{{w.a, errA}, {w.b, errB}} {
		if !x.e.closed || x.e.err != x.err {
			w.t.Errorf("%s: closed %v with %v, want %v", x.e.name, x.e.closed, x.e.err, x.err)
		}
		if at, ok := x.e.NextDeadline(); ok {
			w.t.Errorf("%s: a timer runs on to %v", x.e.name, at)
		}
	}
}

const ms = time.Millisecond

func TestWriteReplyAndEndOneAfterTheOther(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.Write([]byte("hello"))
	w.flush()
	w.run(10 * ms)
	w.b.Write([]byte("world"))
	w.flush()
	w.run(10 * ms)
	w.a.End()
	w.flush()
	w.run(10 * ms)
	if !w.b.eof || w.a.closed || w.b.closed {
		t.Fatal("B has not seen the end, or one side has closed")
	}
	w.b.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		 0.00 A>B DATA seq=0 ack=0 len=5
		 1.00 B>A ack seq=0 ack=1
		10.00 B>A DATA seq=0 ack=1 len=5
		11.00 A>B ack seq=1 ack=1
		20.00 A>B END seq=1 ack=1
		21.00 B>A ack seq=1 ack=2
		30.00 B>A END seq=1 ack=2
		31.00 A>B ack seq=2 ack=2`)
	w.bothClosed(nil, nil)
}

func TestEndRidesOnTheLastPacket(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.Write([]byte("bye"))
	w.a.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		0.00 A>B DATA|END seq=0 ack=0 len=3
		1.00 B>A ack seq=0 ack=1`)
	if string(w.b.got) != "bye" || !w.b.eof {
		t.Errorf("got %q, end %v", w.b.got, w.b.eof)
	}
	// After the peer's END the local one travels alone, so that its loss differs from that of data.
	w.b.Write([]byte("ok"))
	w.b.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		10.00 B>A DATA seq=0 ack=1 len=2
		10.00 B>A END seq=1 ack=1
		11.00 A>B ack seq=1 ack=1
		11.00 A>B ack seq=1 ack=2`)
	w.bothClosed(nil, nil)
}

func TestSimultaneousEnd(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.End()
	w.b.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		0.00 A>B END seq=0 ack=0
		0.00 B>A END seq=0 ack=0
		1.00 B>A ack seq=1 ack=1
		1.00 A>B ack seq=1 ack=1`)
	w.bothClosed(nil, nil)
}

// One packet acks our END and carries the peer's: the ack for it goes out before the close (§19.19).
func TestOnePacketAcksOurEndAndBringsTheirs(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.End()
	w.a.Flush(w.now)
	w.queue = nil
	w.a.Receive(w.now, Header{Flags: FlagEnd, StreamID: idA, Window: DefaultWindow, Seq: 0, Ack: 1}.Append(nil))
	w.a.Flush(w.now)
	w.expect(`
		0.00 A>B END seq=0 ack=0
		0.00 A>B ack seq=1 ack=1`)
	if !w.a.closed || !w.a.eof || w.a.err != nil {
		t.Errorf("closed %v with %v, end %v", w.a.closed, w.a.err, w.a.eof)
	}
}

// B's last ack is lost and B is gone, as every reference peer is. A tries as long as ever, but must not
// report a failure: its END is all that is missing (§18.2).
func TestLostLastAckIsForgiven(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.b.End()
	w.flush()
	w.run(100 * ms)
	w.log = nil
	w.link.filter = func(from *end, _ Packet) bool { return from == w.a }
	w.a.End()
	w.flush()
	w.run(20 * time.Second)
	w.expect(`
		 100.00 A>B END seq=0 ack=1
		 101.00 B>A ack seq=1 ack=1 lost
		 1100.00 A>B END seq=0 ack=1
		 3100.00 A>B END seq=0 ack=1
		 5100.00 A>B END seq=0 ack=1
		 7100.00 A>B END seq=0 ack=1
		 9100.00 A>B END seq=0 ack=1
		11100.00 A>B END seq=0 ack=1`)
	w.bothClosed(nil, nil)
}

// With data missing it is a failure.
func TestLostDataIsNotForgiven(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.b.End()
	w.flush()
	w.run(100 * ms)
	w.link.filter = func(*end, Packet) bool { return false }
	w.a.Write([]byte("x"))
	w.a.End()
	w.flush()
	w.run(20 * time.Second)
	if w.a.err != ErrTimeout {
		t.Errorf("closed %v with %v", w.a.closed, w.a.err)
	}
}

// Neither where END rides on data that is missing with it.
func TestLostDataUnderTheEndIsNotForgiven(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.link.filter = func(from *end, _ Packet) bool { return from == w.b }
	w.a.Write([]byte("x"))
	w.a.End()
	w.b.End()
	w.flush()
	w.run(20 * time.Second)
	if !w.a.eof || w.a.err != ErrTimeout {
		t.Errorf("end %v, closed %v with %v", w.a.eof, w.a.closed, w.a.err)
	}
}

func TestPauseDelaysTheEnd(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.b.Pause()
	w.a.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		0.00 A>B END seq=0 ack=0
		1.00 B>A ack seq=0 ack=1`)
	if w.b.eof {
		t.Error("told during the pause")
	}
	w.b.Resume()
	w.b.Deliver()
	w.b.Flush(w.now)
	if !w.b.eof {
		t.Error("not notified after it")
	}
}

func TestDestroyIsSentOnceAndTakesTheQueueAlong(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.Write(make([]byte, 1<<20))
	w.a.Flush(w.now)
	sent := len(w.log)
	w.a.Destroy()
	w.a.Destroy()
	if want := fmt.Sprintf("DESTROY seq=%d", w.a.out.next); !strings.Contains(w.log[sent], want) {
		t.Errorf("sent %q, want %s: beyond everything queued", w.log[sent], want)
	}
	if len(w.log) != sent+1 || w.a.closed {
		t.Fatalf("%d packets after Destroy, closed told %v", len(w.log)-sent, w.a.closed)
	}
	w.run(20 * time.Second)
	if w.b.err != ErrReset {
		t.Errorf("B: %v", w.b.err)
	}
	if s := w.a.Stats(); s.InFlight != 0 || s.Queued != 0 {
		t.Errorf("A keeps %+v", s)
	}
	w.log = nil
	w.a.Receive(w.now, Header{Flags: FlagHeartbeat}.Append(nil))
	w.a.Write([]byte("x"))
	w.a.End()
	w.a.Flush(w.now)
	w.expect("")
}

func TestStaleDestroyIsIgnored(t *testing.T) {
	for _, tc := range []struct {
		name  string
		seq   Seq
		close bool
	}{{"old", 0, false}, {"next", 1, true}, {"far ahead", 1 << 30, true}} {
		t.Run(tc.name, func(t *testing.T) {
			w := pair(t, link{delay: ms}, 1)
			w.a.Write([]byte("x"))
			w.flush()
			w.run(10 * ms)
			// The ack field of a DESTROY is not looked at first.
			w.b.Receive(w.now, Header{Flags: FlagDestroy, Seq: tc.seq, Ack: 99}.Append(nil))
			if w.b.closed != tc.close {
				t.Errorf("closed %v", w.b.closed)
			}
		})
	}
}

func TestUnconnectedDestroyIsSilent(t *testing.T) {
	w := newWorld(t, link{}, 1)
	w.a.Destroy()
	if w.sent != 0 || !w.a.IsClosed() {
		t.Errorf("%d packets", w.sent)
	}
}

func TestUnansweredPacketIsRetriedForThirteenSeconds(t *testing.T) {
	w := traced(t, link{filter: func(*end, Packet) bool { return false }})
	w.a.Write([]byte("x"))
	w.flush()
	w.runUntil(time.Minute, func() bool { return w.a.closed })
	w.expect(`
		    0.00 A>B DATA seq=0 ack=0 len=1 lost
		 1000.00 A>B DATA seq=0 ack=0 len=1 lost
		 3000.00 A>B DATA seq=0 ack=0 len=1 lost
		 5000.00 A>B DATA seq=0 ack=0 len=1 lost
		 7000.00 A>B DATA seq=0 ack=0 len=1 lost
		 9000.00 A>B DATA seq=0 ack=0 len=1 lost
		11000.00 A>B DATA seq=0 ack=0 len=1 lost`)
	if w.now != host.Instant(13*time.Second) || w.a.err != ErrTimeout {
		t.Errorf("closed at %v with %v", w.now, w.a.err)
	}
}

func TestNothingIsDeliveredAfterTheEnd(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.End()
	w.flush()
	w.run(10 * ms)
	w.log = nil
	for _, h := range []Header{
		{Flags: FlagData, Seq: 1}, {Flags: FlagData, Seq: 9}, {Flags: FlagEnd, Seq: 0}, {Flags: FlagEnd, Seq: 1},
	} {
		w.b.Receive(w.now, append(h.Append(nil), 'x'))
		w.b.Flush(w.now)
	}
	w.expect(strings.Repeat("10.00 B>A ack seq=0 ack=1\n", 4)) // still answered, with the same number
	if len(w.b.got) != 0 {
		t.Errorf("got %q", w.b.got)
	}
	w.b.Receive(w.now, append(Header{Flags: FlagMessage, Seq: 5}.Append(nil), 'm'))
	if len(w.b.msgs) != 1 {
		t.Error("messages stop with the peer's end")
	}
}

func TestHeldDataDelaysTheEndAndTheClose(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.b.Pause()
	w.a.Write([]byte("late"))
	w.a.End()
	w.b.End()
	w.flush()
	w.run(100 * ms)
	if w.b.closed || w.b.eof || len(w.b.got) != 0 || w.a.Stats().InFlight != 0 {
		t.Fatalf("closed %v, end %v, got %q", w.b.closed, w.b.eof, w.b.got)
	}
	w.b.Resume()
	w.b.Deliver()
	w.b.Flush(w.now)
	if string(w.b.got) != "late" || !w.b.eof {
		t.Errorf("got %q", w.b.got)
	}
	w.bothClosed(nil, nil)
}

// What has a number after the END is nonsense: it is neither kept nor acknowledged.
func TestPacketsBeyondTheEndAreForgotten(t *testing.T) {
	w := traced(t, link{delay: ms})
	for _, p := range []Header{{Seq: 2, Flags: FlagData}, {Seq: 1, Flags: FlagData | FlagEnd}, {Seq: 0, Flags: FlagData}} {
		w.b.Receive(0, append(p.Append(nil), 'x'))
	}
	w.b.Flush(0)
	if string(w.b.got) != "xx" || !w.b.eof || w.b.ReceiveMemory() != 0 {
		t.Errorf("got %q, end %v, %d bytes kept", w.b.got, w.b.eof, w.b.ReceiveMemory())
	}
	w.expect(`0.00 B>A ack seq=0 ack=2`)
}

// Its own Destroy is no news for the owner, also where it is called in the handler of the peer's end.
func TestDestroyAsThePeerEndsIsNotToldAsAClose(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.b.onEnd = w.b.Destroy
	w.b.End()
	w.flush()
	w.run(time.Second)
	w.a.End()
	w.flush()
	w.run(time.Second)
	if !w.b.eof || w.b.closed {
		t.Errorf("end told %v, close told %v", w.b.eof, w.b.closed)
	}
}
