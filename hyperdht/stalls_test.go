package hyperdht_test

import (
	"bytes"
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
		{name: "a page, and then nothing", size: page, last: 17 * time.Second},
		{name: "a full packet, and then nothing", size: 1100, last: 17 * time.Second},
		{name: "requests", size: 100, next: 150, every: 5 * time.Second, last: 12 * time.Second},
		{name: "requests in haste", size: 100, next: 150, every: 1500 * time.Millisecond, last: 5 * time.Second},
		{name: "pages that end with a short packet", size: page, next: page + 300, every: 5 * time.Second, last: 17 * time.Second},
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

// A peer that fills no packets is not taken for one whose message was lengthened unless it also pauses, twice within a message.
func TestMessagesInShortPacketsEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		pauses []time.Duration // behind the pieces of a message
		reader bool            // it is the reader who pauses
		ends   bool
	}{
		{name: "without pauses", pauses: slices.Repeat([]time.Duration{400 * time.Millisecond}, 20), ends: true},
		{name: "with a pause", pauses: []time.Duration{10 * time.Second, 400 * time.Millisecond}, ends: true},
		{name: "with pauses", pauses: []time.Duration{600 * time.Millisecond, 400 * time.Millisecond, 600 * time.Millisecond, 400 * time.Millisecond}},
		{name: "to a reader that pauses", pauses: slices.Repeat([]time.Duration{2 * time.Second}, 4), reader: true, ends: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTalk(t, nil)
			w.connect()
			w.send("hello")
			var reason error
			w.at(func() { w.accepted.OnClose(func(err error) { reason = err }) })
			w.dialler.host.Do(func() { w.dialled.SetKeepAlive(0) })
			for range 3 { // each message may pause
				var frame []byte
				w.dialler.host.Do(func() { frame = w.dialled.Frame(make([]byte, 100*len(test.pauses)+80)) })
				for i := range test.pauses {
					w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[100*i:][:100]) })
					if w.run(10 * time.Millisecond); test.reader {
						w.at(w.accepted.Pause)
						w.run(test.pauses[i])
						w.at(w.accepted.Resume)
						continue
					}
					w.run(test.pauses[i])
				}
				w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[100*len(test.pauses):]) })
				w.run(2 * time.Second)
			}
			switch {
			case test.ends && (len(w.got) != 4 || w.accepted.Closed()):
				t.Errorf("%d messages, %v", len(w.got), reason)
			case !test.ends && reason != hyperdht.ErrUnendedMessage:
				t.Errorf("%d messages, %v", len(w.got), reason)
			}
		})
	}
}
