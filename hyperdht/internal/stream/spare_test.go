package stream

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

type spareOwner struct {
	heard    func()
	answered func(way string, question uint32)
	stalled  func()
}

func (o spareOwner) SpareHeard() { o.heard() }

func (o spareOwner) SpareAnswered(question uint32) { o.answered("spare", question) }

func (o spareOwner) MainAnswered(question uint32) { o.answered("main", question) }

func (o spareOwner) Stalled() { o.stalled() }

func idleOwner() spareOwner { return spareOwner{func() {}, func(string, uint32) {}, func() {}} }

// A packet that has the ways change places is the last one of the way that was in reserve, and no answer of the other.
func TestPacketThatSwapsIsNoAnswer(t *testing.T) {
	d := newDuo(t)
	a2, b2 := d.a.socket(), d.b.socket()
	answers := 0
	d.filter = func(from, _ netip.AddrPort, _ []byte) bool { return from != d.sb.local }
	d.a.turn(func() {
		o := idleOwner()
		o.heard, o.answered = func() { answers++ }, func(string, uint32) { answers++ }
		d.pa.KeepSpare(Way{a2, d.pb.ID(), b2.local}, o)
		d.pa.OnData(func([]byte) {
			if err := d.pa.Swap(); err != nil {
				t.Error(err)
			}
		})
	})
	d.b.turn(func() {
		d.pb.KeepSpare(Way{b2, d.pa.ID(), a2.local}, idleOwner())
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

// A question is answered on its way and on no other, whichever of the two ways the peer sends on, also while both sides send copies.
func TestQuestionsAreAnsweredOnTheirWay(t *testing.T) {
	for _, swapped := range []bool{false, true} {
		d := newDuo(t)
		a2, b2 := d.a.socket(), d.b.socket()
		type answer struct {
			way      string
			question uint32
		}
		var got []answer
		questions := 0
		d.filter = func(_, _ netip.AddrPort, b []byte) bool {
			if udx.Question(b) != 0 && flagsOf(b) == udx.FlagHeartbeat {
				questions++
			}
			return true
		}
		d.a.turn(func() {
			o := idleOwner()
			o.answered = func(way string, question uint32) {
				if question != 0 {
					got = append(got, answer{way, question})
				}
			}
			d.pa.KeepSpare(Way{a2, d.pb.ID(), b2.local}, o)
			d.pa.SetCopyToSpare(true)
		})
		d.b.turn(func() {
			d.pb.KeepSpare(Way{b2, d.pa.ID(), a2.local}, idleOwner())
			if swapped {
				if err := d.pb.Swap(); err != nil {
					t.Fatal(err)
				}
			}
			d.pb.SetCopyToSpare(true)
		})
		d.a.turn(func() { d.pa.Ask(1) })
		d.run(100 * time.Millisecond)
		d.a.turn(func() { d.pa.AskSpare(2) })
		d.run(100 * time.Millisecond)
		if want := []answer{{"main", 1}, {"spare", 2}}; questions != len(want) || !slices.Equal(got, want) {
			t.Errorf("swapped %v: %d questions, answers %v, want %v", swapped, questions, got, want)
		}
	}
}
