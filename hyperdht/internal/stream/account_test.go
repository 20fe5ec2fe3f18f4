package stream

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// confined is a node with n connected streams of unproven peers whose upper layers hold what the test says.
func confined(t *testing.T, n int) (*network, *node, []*peer, []int) {
	net := newNetwork(t)
	nd := net.node(1, Config{})
	sock, other := nd.socket(), net.node(2, Config{}).socket()
	above := make([]int, n)
	all := make([]*peer, n)
	for i := range n {
		nd.turn(func() {
			all[i] = record(nd.table.New(nil))
			all[i].Confine(func() int { return above[i] })
			if err := all[i].Connect(sock, uint32(i), other.local); err != nil {
				t.Fatal(err)
			}
		})
	}
	return net, nd, all, above
}

// touch has a turn of the stream end.
func touch(nd *node, p *peer) { nd.turn(func() { p.Resume() }) }

func TestTheOldestOfTheLargestGoesWhenAllHoldTooMuch(t *testing.T) {
	_, nd, all, above := confined(t, maxConfinedTotal/(40<<10)+1)
	for i := range above {
		above[i] = 20 << 10
		if i == 3 || i == 7 {
			above[i] = 50 << 10
		}
		touch(nd, all[i])
	}
	for i := 8; nd.table.Stats().Shed == 0; i++ {
		above[i] = 50 << 10
		touch(nd, all[i])
	}
	for i, p := range all {
		if gone := p.err == ErrShed; gone != (i == 3) {
			t.Errorf("stream %d: closed with %v", i, p.err)
		}
	}
	if n := nd.table.account.total; n > maxConfinedTotal {
		t.Errorf("%d bytes are held", n)
	}
}

func TestAStreamAboveItsLimitEnds(t *testing.T) {
	_, nd, all, above := confined(t, 2)
	above[0] = MaxConfined - 10<<10
	touch(nd, all[0])
	if all[0].Closed() {
		t.Fatal("closed below the limit")
	}
	above[0] = MaxConfined
	touch(nd, all[0])
	if all[0].err != ErrOverLimit || all[1].Closed() || nd.table.Stats().OverLimit != 1 {
		t.Errorf("closed with %v and %v", all[0].err, all[1].err)
	}
}

func TestTrustTakesAStreamOutOfTheAccount(t *testing.T) {
	_, nd, all, above := confined(t, 2)
	above[0] = 40 << 10
	touch(nd, all[0])
	nd.turn(func() { all[0].Trust() })
	above[0] = 1 << 30
	touch(nd, all[0])
	nd.turn(func() { all[1].Destroy(nil) })
	if all[0].Closed() || nd.table.account.total != 0 || len(nd.table.account.streams) != 0 {
		t.Errorf("closed %v, %d bytes of %d streams", all[0].Closed(), nd.table.account.total, len(nd.table.account.streams))
	}
}

// A packet of one byte takes a buffer, and one far away takes a table: the account sees both.
func TestConfinedStreamsCountMemoryNotBytes(t *testing.T) {
	_, nd, all, _ := confined(t, 1)
	p, most := all[0], 0
	nd.turn(func() {
		for i := range 5000 {
			seq := udx.Seq(1 + i*7%8191)
			b := append(udx.Header{Flags: udx.FlagData, StreamID: p.ID(), Seq: seq, Window: 1 << 20}.Append(nil), 'x')
			nd.table.Receive(p.Socket(), p.RemoteAddr(), b)
			most = max(most, p.machine.ReceiveMemory())
		}
	})
	if most == 0 || most > confinedReceive {
		t.Errorf("received packets take %d bytes", most)
	}
	if s := p.Stats(); s.BeyondWindow == 0 || s.Held > most/10 {
		t.Errorf("%+v", s)
	}
}

// Peers of all generations send their first flight before they learn our window, and a page follows once they are trusted.
func TestTrustOpensTheWindow(t *testing.T) {
	d := newDuo(t)
	d.b.turn(func() { d.pb.Confine(nil) })
	data := bulk(1 << 20)
	d.a.turn(func() { d.pa.Write(data) })
	d.run(50 * time.Millisecond)
	d.b.turn(func() { d.pb.Trust() })
	d.run(2 * time.Second)
	if d.pb.got.Len() != len(data) {
		t.Errorf("%d of %d bytes arrived", d.pb.got.Len(), len(data))
	}
}
