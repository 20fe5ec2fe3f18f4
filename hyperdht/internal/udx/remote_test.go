package udx

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func TestMachineRefusesMisuse(t *testing.T) {
	w := newWorld(t, link{}, 1)
	if _, err := w.a.ChangeRemote(0, Remote{1, addrB}); err != ErrNotConnected {
		t.Errorf("change before connect: %v", err)
	}
	if err := w.a.Connect(0, Remote{1, netip.AddrPortFrom(addrB.Addr(), 0)}); err != ErrBadRemote {
		t.Errorf("port 0: %v", err)
	}
	if err := w.a.Connect(0, Remote{}); err != ErrBadRemote {
		t.Errorf("no address: %v", err)
	}
	if w.a.SendMessage(nil) {
		t.Error("a message left without a remote")
	}
	if err := w.a.Connect(0, Remote{1, addrB}); err != nil {
		t.Fatal(err)
	}
	if err := w.a.Connect(0, Remote{1, addrB}); err != ErrConnected {
		t.Errorf("connect twice: %v", err)
	}
	w.a.Destroy()
	if err := w.a.Connect(0, Remote{1, addrB}); err != ErrClosed {
		t.Errorf("connect after the close: %v", err)
	}
	if w.a.Write([]byte("x")) {
		t.Error("a closed machine took a write")
	}
}

func TestRedirectRefusesMisuse(t *testing.T) {
	w := newWorld(t, link{delay: ms}, 1)
	other := Remote{77, netip.MustParseAddrPort("10.0.0.3:3000")}
	refuse := func(when string, r Remote, want error) {
		t.Helper()
		if err := w.a.Redirect(w.now, r); err != want {
			t.Errorf("%s: error %v, want %v", when, err, want)
		}
	}
	refuse("before connect", other, ErrNotConnected)
	w.connect()
	refuse("no address", Remote{ID: 77}, ErrBadRemote)
	refuse("port 0", Remote{77, netip.AddrPortFrom(addrB.Addr(), 0)}, ErrBadRemote)
	refuse("the present remote", Remote{idB, addrB}, nil)
	w.link.filter = func(*end, Packet) bool { return false }
	w.a.Write([]byte("x"))
	w.a.Flush(w.now)
	if done, err := w.a.ChangeRemote(w.now, other); done || err != nil {
		t.Fatalf("complete %v, error %v", done, err)
	}
	refuse("while it changes", Remote{idB, addrB}, ErrChanging)
	w.a.Destroy()
	refuse("after the close", other, ErrClosed)
}

func TestConnectSendsOnlyWhatWaited(t *testing.T) {
	w := newWorld(t, link{delay: ms}, 1)
	w.trace = true
	w.a.Connect(0, Remote{idB, addrB})
	w.flush()
	w.expect("")
	w.b.Write([]byte("queued"))
	w.b.Receive(0, append(Header{Flags: FlagData, StreamID: idB, Window: 9999}.Append(nil), 'x'))
	w.flush()
	w.expect("")
	w.b.Connect(0, Remote{idA, addrA})
	w.flush()
	w.expect(`0.00 B>A DATA seq=0 ack=1 len=6`) // data carries the ack that was owed
}

func TestChangeOfRemoteKeepsOldPacketsOnTheOldPath(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	relay := netip.MustParseAddrPort("10.0.0.3:3000")
	var old, direct []Seq
	w.a.route = func(to netip.AddrPort, b []byte) {
		p, _ := ParsePacket(b)
		switch {
		case to == addrB && p.StreamID == idB:
			old = append(old, p.Seq)
		case to == relay && p.StreamID == 77:
			direct = append(direct, p.Seq)
		default:
			t.Errorf("a packet for %x went to %v", p.StreamID, to)
		}
		w.transmit(w.a, to, b)
	}
	w.link.filter = func(from *end, p Packet) bool { return from == w.a }
	w.a.Write(bytes.Repeat([]byte("x"), 3000))
	w.a.Flush(0)
	w.a.Write([]byte("y")) // begun, not sent
	if done, err := w.a.ChangeRemote(0, Remote{77, relay}); done || err != nil {
		t.Fatalf("complete %v, error %v", done, err)
	}
	if _, err := w.a.ChangeRemote(0, Remote{78, relay}); err != ErrChanging {
		t.Errorf("changed twice: %v", err)
	}
	w.a.Write([]byte("z"))
	w.a.SendMessage(nil)
	w.flush()
	w.run(1500 * ms) // a timeout repeats the oldest
	if w.a.moved != 0 {
		t.Fatal("complete before anything was acked")
	}
	w.link.filter = nil
	w.run(3 * time.Second)
	if w.a.moved != 1 || len(w.b.got) != 3002 {
		t.Errorf("complete %d times, got %d bytes", w.a.moved, len(w.b.got))
	}
	for _, s := range old {
		if s > 3 {
			t.Errorf("%d went the old way", s)
		}
	}
	if len(direct) < 2 || direct[0] != 3 { // the message names the next number
		t.Errorf("the new way went %v", direct)
	}
	for _, s := range direct[1:] {
		if s < 4 && count(old, s) < 2 {
			t.Errorf("%d went the new way before it was lost on the old one", s)
		}
	}
}

func count(seqs []Seq, s Seq) (n int) {
	for _, x := range seqs {
		if x == s {
			n++
		}
	}
	return n
}

func TestWhatWasLostOnADeadOldPathArrivesOnTheNewOne(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	relay := netip.MustParseAddrPort("198.51.100.7:7777")
	dead := false
	w.a.route = func(to netip.AddrPort, b []byte) {
		if !dead || to != addrB {
			w.transmit(w.a, to, b)
		}
	}
	dead = true
	w.a.Write(bytes.Repeat([]byte("x"), 3000))
	w.flush()
	if done, err := w.a.ChangeRemote(w.now, Remote{idB, relay}); done || err != nil {
		t.Fatalf("complete %v, error %v", done, err)
	}
	w.a.Write([]byte("y"))
	w.flush()
	w.run(5 * time.Second)
	if w.a.moved != 1 || len(w.b.got) != 3001 {
		t.Errorf("complete %d times, got %d of 3001 bytes", w.a.moved, len(w.b.got))
	}
}

func TestChangeOfRemoteWithNothingInFlightIsComplete(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	if done, err := w.a.ChangeRemote(0, Remote{idB, addrB}); !done || err != nil {
		t.Errorf("complete %v, error %v", done, err)
	}
	if done, err := w.a.ChangeRemote(0, Remote{idB, addrB}); !done || err != nil {
		t.Errorf("again: complete %v, error %v", done, err)
	}
}

// Bulk data across a change of remote under loss.
func TestChangeOfRemoteUnderLoss(t *testing.T) {
	for seed := range uint64(20) {
		w := pair(t, link{delay: 5 * ms, loss: 0.05, jitter: 2 * ms}, seed)
		data := randomBytes(1<<20, seed)
		w.a.Write(data[:700<<10])
		w.flush()
		for i := range 5 {
			w.run(60 * ms)
			w.a.ChangeRemote(w.now, Remote{idB, addrB})
			w.b.ChangeRemote(w.now, Remote{idA, addrA})
			w.a.Write(data[(700+i)<<10 : (701+i)<<10])
			w.flush()
		}
		w.a.Write(data[705<<10:])
		w.a.End()
		w.b.End()
		w.flush()
		w.runUntil(time.Minute, func() bool { return w.a.closed && w.b.closed })
		if !bytes.Equal(w.b.got, data) {
			t.Fatalf("seed %d: got %d bytes", seed, len(w.b.got))
		}
	}
}

func TestKeepaliveBeatsWhileIdle(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.SetKeepalive(0, 100*ms)
	w.run(250 * ms)
	w.a.Write([]byte("x"))
	w.flush()
	w.run(150 * ms)
	w.expect(`
		100.00 A>B HEARTBEAT seq=0 ack=0
		101.00 B>A ack seq=0 ack=0
		200.00 A>B HEARTBEAT seq=0 ack=0
		201.00 B>A ack seq=0 ack=0
		250.00 A>B DATA seq=0 ack=0 len=1
		251.00 B>A ack seq=0 ack=1
		352.00 A>B HEARTBEAT seq=1 ack=0
		353.00 B>A ack seq=0 ack=1`)
	w.link.filter = func(*end, Packet) bool { return false }
	w.run(time.Minute)
	if w.a.closed {
		t.Error("unanswered heartbeats closed the stream")
	}
}
