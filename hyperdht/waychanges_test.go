package hyperdht_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

var wayChanges = flag.Int("waychanges", 8, "how many seeds of TestWaysChange to play")

// 1 MiB is sent in each direction, in numbered messages.
const (
	transferMessages = 256
	transferMessage  = 4 << 10
)

// transfer is one direction of a connection.
type transfer struct {
	host       *simnet.Host // of the sender
	from, to   *hyperdht.Connection
	sent, came int
	wrong      error
}

func transferred(n int) []byte {
	b := bytes.Repeat([]byte{byte(n)}, transferMessage)
	binary.LittleEndian.PutUint32(b, uint32(n))
	return b
}

func (t *transfer) receive(b []byte) {
	if t.wrong == nil && !bytes.Equal(b, transferred(t.came)) {
		t.wrong = fmt.Errorf("message %d is not the next one", t.came)
	}
	t.came++
}

// send sends a message unless the last ones are on their way.
func (t *transfer) send() {
	if t.sent < transferMessages && t.from.Unsent() < 64<<10 {
		t.host.Do(func() { t.from.Send(transferred(t.sent)) })
		t.sent++
	}
}

// quality is the quality of a way for some seconds.
type quality int

const (
	good quality = iota
	slow
	lossy
	oneDirection
	dead
	qualities
)

// changingWays is a connection with a relay in reserve, and what becomes of its two ways.
type changingWays struct {
	*relayWorld
	c, s  *hyperdht.Connection
	both  [2]*transfer
	ended [2]error
	rand  *rand.Rand
	ways  [2]quality // direct, and over the relay
	pause time.Duration
}

func newChangingWays(t *testing.T, seed uint64) *changingWays {
	t.Helper()
	w := &changingWays{relayWorld: newRelayWorld(t, seed, hyperdht.RelayConfig{}), rand: rand.New(rand.NewPCG(seed, 0))}
	w.c, w.s = w.reserved(hyperdht.ListenOptions{})
	w.both = [2]*transfer{{host: w.ch, from: w.c, to: w.s}, {host: w.sh, from: w.s, to: w.c}}
	for i, x := range w.both {
		x.host.Do(func() {
			x.from.OnMessage(w.both[1-i].receive)
			x.from.OnClose(func(err error) { w.ended[i] = err })
		})
	}
	w.pause = w.between(2*time.Second, 32*time.Second)
	return w
}

func (w *changingWays) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rand.Int64N(int64(most-least)))
}

// over reports whether either side has ended, or all was sent.
func (w *changingWays) over() bool {
	return w.c.Closed() || w.s.Closed() || w.both[0].sent == transferMessages && w.both[1].sent == transferMessages
}

// run sends for a while.
func (w *changingWays) run(d time.Duration) {
	for end := w.net.Now() + d; w.net.Now() < end && !w.over(); {
		w.both[0].send()
		w.both[1].send()
		w.net.Run(min(500*time.Millisecond, end-w.net.Now()))
	}
}

// set changes a way. Of that over the relay, one of its halves or both.
func (w *changingWays) set(way int, q quality) {
	w.ways[way] = q
	switch half := w.rand.IntN(3); {
	case way == 0:
		w.link(w.ch, w.sh, q)
	case q == good || half == 0:
		w.link(w.ch, w.rh, q)
		w.link(w.sh, w.rh, q)
	case half == 1:
		w.link(w.ch, w.rh, q)
	default:
		w.link(w.sh, w.rh, q)
	}
}

func (w *changingWays) link(a, b *simnet.Host, q quality) {
	w.net.Unblock(a, b)
	w.net.Unblock(b, a)
	l := simnet.Link{Delay: 15 * time.Millisecond}
	switch q {
	case slow:
		l.Delay, l.Jitter = w.between(0, 1500*time.Millisecond), 200*time.Millisecond
	case lossy:
		l.Loss = 0.05 + 0.9*w.rand.Float64()
	case oneDirection:
		if w.rand.IntN(2) == 0 {
			a, b = b, a
		}
		w.net.Block(a, b)
	case dead:
		w.net.Block(a, b)
		w.net.Block(b, a)
	}
	w.net.SetLinks(a, b, l)
}

// play changes the ways until all is sent. One of them is good at any time, and the other one has been for a while before this one
// may change.
func (w *changingWays) play() {
	for !w.over() {
		way := w.rand.IntN(2)
		if w.ways[1-way] != good {
			w.set(1-way, good)
			w.run(w.pause)
		}
		w.set(way, quality(w.rand.IntN(int(qualities))))
		w.run(w.between(100*time.Millisecond, 20*time.Second))
	}
	w.set(0, good)
	w.set(1, good)
}

// judge waits for the end of the transfer. The connection may have ended, with an error on both sides.
func (w *changingWays) judge() {
	arrived := func() bool { return w.both[0].came == transferMessages && w.both[1].came == transferMessages }
	if !w.net.RunUntil(func() bool { return arrived() || w.c.Closed() && w.s.Closed() }, 2*time.Minute) {
		w.t.Errorf("%d and %d messages have arrived, and no more; closed %v and %v", w.both[0].came, w.both[1].came, w.c.Closed(), w.s.Closed())
	}
	if err := errors.Join(w.both[0].wrong, w.both[1].wrong); err != nil {
		w.t.Error(err)
	}
	if !arrived() && (w.ended[0] == nil || w.ended[1] == nil) {
		w.t.Errorf("%d and %d messages have arrived; ended with %v and %v", w.both[0].came, w.both[1].came, w.ended[0], w.ended[1])
	}
}

// The direct path and the relay in reserve are cut, restored, slowed and made to lose packets. What is sent arrives in order, or the
// connection ends with an error. That is so where a way fails before the other one is in use again, in one of fifty runs at most.
func TestWaysChange(t *testing.T) {
	ended := 0
	for seed := range uint64(*wayChanges) {
		t.Run(fmt.Sprint(seed+1), func(t *testing.T) {
			w := newChangingWays(t, seed+1)
			w.play()
			w.judge()
			if w.c.Closed() {
				ended++
				t.Logf("ended with %v and %v", w.ended[0], w.ended[1])
			}
		})
	}
	if ended > *wayChanges/50 {
		t.Errorf("%d of %d connections have ended", ended, *wayChanges)
	}
}
