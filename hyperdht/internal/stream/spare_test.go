package stream

import (
	"net/netip"
	"testing"
	"time"
)

type spareOwner struct {
	heard   func()
	stalled func()
}

func (o spareOwner) SpareHeard()    { o.heard() }
func (o spareOwner) SpareAnswered() { o.heard() }
func (o spareOwner) Stalled()       { o.stalled() }

// A packet that has the ways change places is the last one of the way that was in reserve, and no answer of the other.
func TestPacketThatSwapsIsNoAnswer(t *testing.T) {
	d := newDuo(t)
	a2, b2 := d.a.socket(), d.b.socket()
	answers := 0
	d.filter = func(from, _ netip.AddrPort, _ []byte) bool { return from != d.sb.local }
	d.a.turn(func() {
		d.pa.KeepSpare(Way{a2, d.pb.ID(), b2.local}, spareOwner{func() { answers++ }, func() {}})
		d.pa.OnData(func([]byte) {
			if err := d.pa.Swap(); err != nil {
				t.Error(err)
			}
		})
	})
	d.b.turn(func() {
		d.pb.KeepSpare(Way{b2, d.pa.ID(), a2.local}, spareOwner{func() {}, func() {}})
		d.pb.SetCopyToSpare(true)
		d.pb.Write([]byte("hello"))
	})
	d.run(100 * time.Millisecond)
	if d.pa.Socket() != a2 {
		t.Fatal("the ways have not changed places")
	}
	if answers != 0 {
		t.Errorf("%d answers", answers)
	}
}
