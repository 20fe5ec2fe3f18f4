package udx

import (
	"bytes"
	"testing"
	"time"
)

func small(buffer int) Config { return Config{ReceiveBuffer: buffer} }

func TestZeroWindowIsProbed(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.Receive(0, Header{StreamID: idA, Window: 0}.Append(nil))
	// What B says from here on is scripted.
	w.link.filter = func(from *end, _ Packet) bool { return false }
	w.run(10 * ms)
	w.a.Write([]byte("x"))
	w.a.Flush(w.now)
	w.run(3500 * ms)
	w.a.Receive(w.now, Header{StreamID: idA, Window: 65536}.Append(nil))
	w.a.Flush(w.now)
	w.run(500 * ms)
	w.expect(`
		  10.00 A>B HEARTBEAT seq=0 ack=0 lost
		1010.00 A>B HEARTBEAT seq=0 ack=0 lost
		3010.00 A>B HEARTBEAT seq=0 ack=0 lost
		3510.00 A>B DATA seq=0 ack=0 len=1 lost`)
}

// With data in flight the probe starts once that is acked.
func TestZeroWindowAfterDataIsProbedLater(t *testing.T) {
	w := traced(t, link{delay: ms, filter: func(*end, Packet) bool { return false }})
	w.a.Write([]byte("x"))
	w.a.Flush(0)
	w.a.Write([]byte("y"))
	w.a.Receive(0, Header{StreamID: idA, Window: 0, Ack: 0}.Append(nil))
	w.a.Flush(0)
	w.run(100 * ms)
	w.a.Receive(w.now, Header{StreamID: idA, Window: 0, Ack: 1}.Append(nil))
	w.a.Flush(w.now)
	w.run(1100 * ms)
	w.expect(`
		   0.00 A>B DATA seq=0 ack=0 len=1 lost
		1100.00 A>B HEARTBEAT seq=1 ack=0 lost`)
}

func TestOldPacketsDoNotMoveTheWindow(t *testing.T) {
	w := pair(t, link{}, 1)
	w.writePackets(3)
	w.a.in.expected = 8 // the peer has sent that much
	for _, tc := range []struct {
		name             string
		seq, ack         Seq
		window, expected uint32
	}{
		{"first", 5, 1, 1000, 1000},
		{"older seq", 4, 2, 2000, 1000},
		{"same seq, older ack", 5, 0, 3000, 1000},
		{"same seq and ack", 5, 2, 4000, 4000},
		{"newer seq, older ack", 6, 1, 5000, 4000},
		{"newer seq", 7, 2, 6000, 6000},
		{"largest", 8, 2, 0xffffffff, 0xffffffff},
		{"beyond a gap", 9, 2, 0, 0xffffffff},
		{"garbled", 1<<25 + 8, 2, 0, 0xffffffff},
	} {
		w.a.Receive(0, Header{StreamID: idA, Seq: tc.seq, Ack: tc.ack, Window: tc.window}.Append(nil))
		if w.a.window.size != tc.expected {
			t.Errorf("%s: window %d, want %d", tc.name, w.a.window.size, tc.expected)
		}
	}
}

func TestTinyWindowStillAllowsOnePacket(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.link.filter = func(from *end, _ Packet) bool { return from == w.b }
	w.a.Receive(0, Header{StreamID: idA, Window: 10}.Append(nil))
	w.a.Write(make([]byte, 5000))
	w.a.Flush(0)
	w.expect(`0.00 A>B DATA seq=0 ack=0 len=1152 lost`)
}

func TestWindowCountsWhatIsNotRead(t *testing.T) {
	w := pair(t, link{delay: ms}, 1, Config{}, small(20000))
	var least, most uint32 = 1 << 31, 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.b {
			least, most = min(least, p.Window), max(most, p.Window)
			if p.Window > 0 && p.Window < minWindow {
				t.Errorf("window %d is neither 0 nor a full packet", p.Window)
			}
		}
		return true
	}
	w.b.Pause()
	w.a.Write(make([]byte, 100000))
	w.flush()
	w.run(5 * time.Second)
	held := w.b.Stats().Held
	if least != 0 || most >= 20000 || held > 20000 || held < 20000-1500 {
		t.Errorf("windows from %d to %d, %d held", least, most, held)
	}
	if s := w.a.Stats(); s.Timeouts != 0 || s.InFlight != 0 {
		t.Errorf("A: %+v", s)
	}
}

func TestReopenedWindowIsAnnounced(t *testing.T) {
	w := pair(t, link{delay: ms}, 1, Config{}, small(20000))
	w.b.Pause()
	data := randomBytes(100000, 1)
	w.a.Write(data)
	w.flush()
	w.run(1500 * ms)
	w.trace = true
	w.b.Resume()
	w.b.Deliver()
	w.b.Flush(w.now)
	w.run(0)
	w.expect(`1500.00 B>A ack seq=0 ack=17`)
	w.run(50 * ms) // far less than the probe's interval
	if !bytes.Equal(w.b.got, data) {
		t.Errorf("got %d bytes", len(w.b.got))
	}
}

func TestLostWindowUpdateIsFoundByProbing(t *testing.T) {
	w := pair(t, link{delay: ms}, 1, Config{}, small(20000))
	w.b.Pause()
	w.a.Write(make([]byte, 100000))
	w.flush()
	w.run(1500 * ms)
	w.link.filter = func(from *end, _ Packet) bool { return from == w.a }
	w.b.Resume()
	w.b.Deliver()
	w.b.Flush(w.now)
	w.run(10 * ms)
	w.link.filter = nil
	w.run(5 * time.Second)
	if len(w.b.got) != 100000 {
		t.Errorf("got %d bytes", len(w.b.got))
	}
}

// Senders before July 2026 probe with data beyond the window; they and ones that ignore windows must
// neither fill memory nor lose what was acked.
func TestSenderThatIgnoresTheWindowIsBounded(t *testing.T) {
	w := newWorld(t, link{}, 1, Config{}, small(10000))
	w.b.Connect(0, Remote{idA, addrA})
	w.b.Pause()
	for s := Seq(0); s < 400; s++ {
		w.b.Receive(0, append(Header{Flags: FlagData, Seq: s}.Append(nil), make([]byte, 1000)...))
		w.b.Receive(0, append(Header{Flags: FlagData, Seq: s + 2}.Append(nil), make([]byte, 1000)...))
		w.b.Flush(0)
	}
	s := w.b.Stats()
	if s.Held > 2*10000+windowSlack || s.Held < 10000 || s.BeyondWindow == 0 {
		t.Errorf("%+v", s)
	}
	acked := int(w.b.in.expected)
	w.b.Resume()
	w.b.Deliver()
	if len(w.b.got) != acked*1000 {
		t.Errorf("acked %d packets, delivered %d bytes", acked, len(w.b.got))
	}
}

func TestReorderQueueIsBoundedByDistance(t *testing.T) {
	w := newWorld(t, link{}, 1)
	for _, tc := range []struct {
		seq  Seq
		kept bool
	}{{maxReorder - 1, true}, {maxReorder, false}, {1 << 30, false}, {1<<31 - 1, false}, {1 << 31, false}} {
		w.b.Receive(0, append(Header{Flags: FlagData, Seq: tc.seq}.Append(nil), 'x'))
		if got := w.b.in.queue.has(tc.seq); got != tc.kept {
			t.Errorf("packet %d: kept %v", tc.seq, got)
		}
	}
	if held, most := w.b.ReceiveMemory(), pagesMemory+pageMemory+smallBuffer; held > most {
		t.Errorf("a packet of one byte that is far ahead takes %d bytes, want at most %d", held, most)
	}
}

func TestPauseInsideDataHoldsTheRest(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.b.onData = func() { w.b.Pause() }
	data := randomBytes(20000, 1)
	w.a.Write(data)
	w.flush()
	for range 100 {
		w.run(20 * ms)
		n := len(w.b.got)
		w.b.Resume()
		w.b.Deliver()
		if len(w.b.got) > n+largeBuffer {
			t.Fatalf("%d bytes came through a pause", len(w.b.got)-n)
		}
		w.b.Flush(w.now)
	}
	if !bytes.Equal(w.b.got, data) {
		t.Errorf("got %d bytes", len(w.b.got))
	}
}

func TestBackPressureFollowsTheQueue(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	n := 0
	for w.a.Write(make([]byte, 1000)) {
		n += 1000
	}
	if n < highWater || n > highWater+w.a.bbr.cwnd+1000 {
		t.Errorf("back-pressure after %d bytes", n)
	}
	w.flush()
	if w.a.drains != 0 {
		t.Error("drained at once")
	}
	w.run(time.Second)
	if w.a.drains != 1 || !w.a.Write([]byte("x")) {
		t.Errorf("drained %d times", w.a.drains)
	}
}

func TestOutstandingPacketsAreBounded(t *testing.T) {
	w := pair(t, link{filter: func(*end, Packet) bool { return false }}, 1)
	w.a.bbr.cwnd = 1 << 30
	w.a.pacer.next = longAgo
	w.a.bbr.pacing = 1 << 40
	for range maxOutstanding + 100 {
		w.a.Write([]byte("x"))
		w.a.Flush(0)
	}
	if n := int(w.a.out.sent - w.a.out.acked); n != maxOutstanding {
		t.Errorf("%d packets outstanding", n)
	}
}

// A peer that has proven nothing is confined. Where its reader pauses, the memory for it is used up before the bytes of its
// window are, as each packet takes a buffer of its own: the window must not promise more than there is room for.
func TestWindowsOfConfinedPeersAreKept(t *testing.T) {
	for _, size := range []int{40, 300, 800, 1100} {
		w := newWorld(t, link{delay: 20 * ms}, 1)
		w.b.Confine(20 << 10)
		w.b.Pause()
		w.connect()
		var data []byte
		for i := range 100 {
			b := randomBytes(size, uint64(i))
			w.a.Write(b)
			data = append(data, b...)
			w.flush()
			w.run(10 * ms)
		}
		w.run(30 * time.Second)
		if w.a.closed || w.b.Stats().BeyondWindow > 2 {
			t.Errorf("size %d: closed with %v, %d packets beyond the window", size, w.a.err, w.b.Stats().BeyondWindow)
			continue
		}
		w.b.Resume()
		w.b.Deliver()
		w.flush()
		w.run(30 * time.Second)
		if !bytes.Equal(w.b.got, data) {
			t.Errorf("size %d: %d of %d bytes arrived, closed %v", size, len(w.b.got), len(data), w.a.err)
		}
	}
}
