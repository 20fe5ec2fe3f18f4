package hyperdht_test

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// lengthen changes the length of the next message that one of two nodes sends to the other: its third byte, the highest one. An observer
// that forges the packet, and is faster than the true one, can do that without a key.
func (tk *talk) lengthen(from, to *actor, bits byte) (done *bool) {
	done = new(bool)
	tk.net.SetFilter(func(d simnet.Datagram) bool {
		if *done || d.From.Addr() != from.host.Addr() || d.To.Addr() != to.host.Addr() {
			return true
		}
		if p, err := udx.ParsePacket(d.Payload); err == nil && p.Flags&udx.FlagData != 0 && len(p.Payload) > 3 {
			p.Payload[2] ^= bits
			*done = true
		}
		return true
	})
	return done
}

// A message that was lengthened on the way hides all that follows. The connection ends soon, whichever side receives it, whatever it sends
// from then on, and whatever its keep-alive.
func TestMessageThatWasLengthened(t *testing.T) {
	const page = 20_000
	for _, test := range []struct {
		name  string
		size  int           // of the message
		next  int           // of further ones, 0 for none
		every time.Duration // between them
		last  time.Duration // of the connection, at most
	}{
		{name: "and then nothing", size: 100, last: 12 * time.Second},
		{name: "a page, and then nothing", size: page, last: 15 * time.Second},
		{name: "a full packet, and then nothing", size: 1100, last: 15 * time.Second},
		{name: "requests", size: 100, next: 150, every: 5 * time.Second, last: 12 * time.Second},
		{name: "requests in haste", size: 100, next: 150, every: 1500 * time.Millisecond, last: 5 * time.Second},
		{name: "pages that end with a short packet", size: page, next: page + 300, every: 5 * time.Second, last: 15 * time.Second},
		{name: "requests all the time", size: 100, next: 150, every: 100 * time.Millisecond, last: 15 * time.Second},
		{name: "pages all the time", size: page, next: page, every: 400 * time.Millisecond, last: 15 * time.Second},
	} {
		for _, back := range []bool{false, true} {
			name := test.name + ", to the server"
			if back {
				name = test.name + ", to the dialler"
			}
			t.Run(name, func(t *testing.T) {
				w := newTalk(t, nil)
				w.connect()
				w.send("a message")
				w.run(7 * time.Second)
				from, to, sends, reads := w.dialler, w.answerer, w.dialled, w.accepted
				if back {
					from, to, sends, reads = to, from, reads, sends
				}
				var reason error
				to.host.Do(func() { reads.OnClose(func(err error) { reason = err }) })
				done := w.lengthen(from, to, 1<<5)
				from.host.Do(func() { sends.Send(bytes.Repeat([]byte("x"), test.size)) })
				var again func()
				again = func() {
					sends.Send(bytes.Repeat([]byte("y"), test.next))
					from.host.AfterFunc(test.every, again)
				}
				if test.next > 0 {
					from.host.AfterFunc(test.every, again)
				}
				w.run(test.last)
				if !*done {
					t.Fatal("no message was lengthened")
				}
				if reason != hyperdht.ErrUnendedMessage || !sends.Closed() {
					t.Errorf("after %v: %v, and the other side has closed: %v", test.last, reason, sends.Closed())
				}
				if n := to.node.Status().Peering.ConnectionsBroken; n != 1 {
					t.Errorf("%d connections are reported as broken", n)
				}
			})
		}
	}
}

// A forged packet without the beginning of its message has the receiver take other bytes for a length.
func TestPacketThatWasCut(t *testing.T) {
	w := newTalk(t, nil)
	w.connect()
	w.send("a message")
	var reason error
	w.at(func() { w.accepted.OnClose(func(err error) { reason = err }) })
	cut := false
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == w.dialler.host.Addr() && d.To.Addr() == w.answerer.host.Addr() && !cut && len(d.Payload) > 500 {
			d.Payload[3] = 50 // bytes of padding in front of the payload, of which there is none
			cut = true
		}
		return true
	})
	w.send(strings.Repeat("x", 700))
	w.run(16 * time.Second)
	if !cut || reason != hyperdht.ErrUnendedMessage {
		t.Errorf("cut: %v, %v", cut, reason)
	}
}

// Messages arrive however slow and broken the path is, and whenever the reader pauses.
func TestLongMessagesOnBadPathsEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		link simnet.Link
		away time.Duration // outages
		stop time.Duration // pauses of the reader
	}{
		{name: "slow", link: simnet.Link{Delay: 300 * time.Millisecond, Bandwidth: 5000, Queue: 10_000}},
		{name: "lossy", link: simnet.Link{Delay: 50 * time.Millisecond, Loss: 0.3}},
		{name: "with outages", link: simnet.Link{Delay: 50 * time.Millisecond, Bandwidth: 50_000}, away: 3 * time.Second},
		{name: "narrow, with outages", link: simnet.Link{Delay: 50 * time.Millisecond, Bandwidth: 50_000, MTU: 1000}, away: 3 * time.Second},
		{name: "to a reader that pauses", link: simnet.Link{Delay: 50 * time.Millisecond, Bandwidth: 50_000}, stop: 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTalk(t, nil)
			w.link(test.link)
			for range 3 { // a narrow path is remembered, and the next connection opens
				w.connect()
				w.send("hello")
				w.send(strings.Repeat("x", 1500))
				w.run(20 * time.Second)
			}
			w.got = nil
			var reason error
			w.at(func() { w.accepted.OnClose(func(err error) { reason = err }) })
			const long = 150_001
			w.dialler.host.Do(func() {
				for range 4 {
					w.dialled.Send(make([]byte, long))
					w.dialled.Send([]byte("short"))
				}
			})
			for i := range 300 {
				switch {
				case i%2 == 0:
				case test.away > 0:
					w.apart()
					w.run(test.away)
					w.together()
				case test.stop > 0:
					w.at(w.accepted.Pause)
					w.run(test.stop)
					w.at(w.accepted.Resume)
				}
				w.run(time.Second)
			}
			if len(w.got) != 8 || len(w.got[6]) != long || w.dialled.Closed() || w.accepted.Closed() {
				t.Errorf("%d messages, closed %v and %v: %v", len(w.got), w.dialled.Closed(), w.accepted.Closed(), reason)
			}
		})
	}
}

// Messages arrive whatever the packets and the pauses of the sender.
func TestMessagesInShortPacketsEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		pauses []time.Duration // behind the pieces of a message
		reader bool            // it is the reader who pauses
	}{
		{name: "without pauses", pauses: make([]time.Duration, 20)},
		{name: "with pauses", pauses: slices.Repeat([]time.Duration{10 * time.Second, 400 * time.Millisecond}, 4)},
		{name: "to a reader that pauses", pauses: slices.Repeat([]time.Duration{2 * time.Second}, 4), reader: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newPieces(t)
			for range 3 {
				frame := w.frame(make([]byte, 100*len(test.pauses)+80))
				for i, pause := range test.pauses {
					w.write(frame[100*i:][:100])
					if test.reader {
						w.at(w.accepted.Pause)
					}
					w.run(pause)
					if test.reader {
						w.at(w.accepted.Resume)
					}
				}
				w.write(frame[100*len(test.pauses):])
				w.run(2 * time.Second)
			}
			if len(w.got) != 4 || w.accepted.Closed() {
				t.Errorf("%d messages, %v", len(w.got), w.reason)
			}
		})
	}
}

// pieces is a talk in which the dialler writes raw packets.
type pieces struct {
	*talk
	reason error // for which the answerer's side has closed
}

func newPieces(t *testing.T) *pieces {
	w := &pieces{talk: newTalk(t, nil)}
	w.connect()
	w.talk.send("hello")
	w.at(func() { w.accepted.OnClose(func(err error) { w.reason = err }) })
	w.dialler.host.Do(func() { w.dialled.SetKeepAlive(0) }) // its messages would come between the pieces
	return w
}

func (p *pieces) frame(msg []byte) (frame []byte) {
	p.dialler.host.Do(func() { frame = p.dialled.Frame(msg) })
	return frame
}

// write sends bytes in a packet of their own.
func (p *pieces) write(b []byte) {
	p.dialler.host.Do(func() { p.dialled.WriteRaw(b) })
	p.run(10 * time.Millisecond)
}

// The second packet within a message with which a frame seems to end, ends the connection.
func TestFramesWithinAMessage(t *testing.T) {
	whole := func(w *pieces) [][]byte { return [][]byte{w.frame(make([]byte, 100))} }
	two := func(w *pieces) [][]byte { return [][]byte{append(w.frame(nil), w.frame(make([]byte, 100))...)} }
	split := func(w *pieces) [][]byte {
		b := w.frame(make([]byte, 900))
		return [][]byte{b[:600], b[600:]}
	}
	other := func(n int) func(*pieces) [][]byte { // what begins with no frame
		return func(*pieces) [][]byte { return [][]byte{make([]byte, n)} }
	}
	long := func(n int) func(*pieces) [][]byte { // what seems to begin with a long frame
		return func(*pieces) [][]byte { return [][]byte{bytes.Repeat([]byte{0xf0}, n)} }
	}
	type step = func(*pieces) [][]byte
	longer := func(n int) step { return func(w *pieces) [][]byte { return [][]byte{w.frame(make([]byte, n))} } }
	for _, test := range []struct {
		name  string
		first int // size of the message that is lengthened; 0 for 100
		steps []step
		seen  int // number of steps after which a frame was seen
		ends  int // and those after which the connection ends; 0 for none
	}{
		{name: "frames", steps: []step{whole, whole}, seen: 1, ends: 2},
		{name: "ever longer frames", first: 800, steps: []step{longer(820), longer(850)}, seen: 1, ends: 2},
		{name: "two in a packet", steps: []step{two, whole}, seen: 1, ends: 2},
		{name: "in several packets", steps: []step{split, split}, seen: 1, ends: 2},
		{name: "apart", steps: []step{whole, other(100), other(2), other(300), whole}, seen: 1, ends: 5},
		{name: "what looks like a long one first", steps: []step{long(900), whole, whole, whole}, seen: 3, ends: 4},
		{name: "what looks like a long one later", steps: []step{whole, long(900), whole, whole}, seen: 1, ends: 4},
		{name: "no frames", steps: []step{other(100), long(100), long(100), other(1), other(500)}, seen: 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newPieces(t)
			frame := w.frame(make([]byte, 1000)) // whose pieces seem to begin with long frames
			for _, b := range [][]byte{frame[:200], frame[200:500], frame[500:]} {
				w.write(b)
			}
			frame = w.frame(make([]byte, cmp.Or(test.first, 100)))
			frame[2] ^= 1 << 5
			w.write(frame)
			for i, pieces := range test.steps {
				for _, b := range pieces(w) {
					w.write(b)
				}
				w.run(time.Second)
				idle := false
				w.at(func() { idle = w.accepted.Idle() })
				if closed := test.ends > 0 && i+1 >= test.ends; closed != (w.reason == hyperdht.ErrUnendedMessage) {
					t.Fatalf("after %d: %v", i+1, w.reason)
				} else if seen := !closed && test.ends > 0 && i+1 >= test.seen; idle != seen {
					t.Errorf("after %d: idle: %v", i+1, idle)
				}
			}
		})
	}
}

// By chance, a part of a message looks like a frame: that ends no connection, and does not count in later messages.
func TestMessageThatLooksLikeAFrame(t *testing.T) {
	w := newPieces(t)
	const size, at = 700, 300
	var rest []byte // of a message, which is in one packet with the beginning of the next one
	for range 4 {
		msg := make([]byte, size)
		var frame []byte
		w.dialler.host.Do(func() { frame = w.dialled.PreviewFrame(msg) })
		for i, want := range []byte{100 - 3, 0, 0} {
			msg[at+i-4] = frame[at+i] ^ want // the message begins behind its length and its tag
		}
		frame = w.frame(msg)
		w.write(append(rest, frame[:at-50]...))
		w.write(frame[at-50 : at]) // a short packet, behind which a frame may begin
		w.write(frame[at : at+100])
		rest = frame[at+100:]
	}
	w.write(rest)
	if len(w.got) != 5 || w.accepted.Closed() {
		t.Errorf("%d messages, %v", len(w.got), w.reason)
	}
}
