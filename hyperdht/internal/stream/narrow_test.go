package stream

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// narrowPair is a path between two hosts that carries packets of some size.
type narrowPair struct {
	*duo
	size    int
	shrinks int // to what, in the middle of the next transfer; 0 for not
}

func newNarrowPair(t *testing.T) *narrowPair {
	p := &narrowPair{duo: newDuo(t)}
	p.filter = func(_, _ netip.AddrPort, b []byte) bool { return len(b)+28 <= p.size }
	p.end()
	return p
}

// transfer sends some bytes on new streams, ends them, and returns the size with which they began and the error of the sender's.
func (p *narrowPair) transfer(size int) (began int, err error) {
	p.t.Helper()
	p.size = size
	p.a.turn(func() { p.pa = record(p.a.table.New(nil)) })
	p.b.turn(func() { p.pb = record(p.b.table.New(nil)) })
	p.a.turn(func() { err = p.pa.Connect(p.sa, p.pb.ID(), p.sb.local) })
	p.b.turn(func() { err = errors.Join(err, p.pb.Connect(p.sb, p.pa.ID(), p.sa.local)) })
	if err != nil {
		p.t.Fatal(err)
	}
	began = p.pa.Stats().MTU
	for i := range 50 {
		if i == 25 && p.shrinks > 0 {
			p.size, p.shrinks = p.shrinks, 0
		}
		p.a.turn(func() { p.pa.Write(make([]byte, 5000)) })
		p.run(100 * time.Millisecond)
	}
	err = p.pa.Stream.err
	p.end()
	return began, err
}

func (p *narrowPair) end() {
	p.a.turn(func() { p.pa.Destroy(nil) })
	p.b.turn(func() { p.pb.Destroy(nil) })
	p.run(time.Minute)
}

func (p *narrowPair) wants(size, began int, hole bool) {
	p.t.Helper()
	got, err := p.transfer(size)
	if _, ok := errors.AsType[*udx.BlackHoleError](err); got != began || ok != hole {
		p.t.Errorf("a path of %d bytes: began with %d, want %d; %v", size, got, began, err)
	}
}

func TestNarrowPathsAreRememberedForADay(t *testing.T) {
	p := newNarrowPair(t)
	p.wants(1100, 1200, true)
	p.run(narrowTime - 5*time.Minute)
	p.wants(1100, 576, false)
	p.run(narrowTime - 5*time.Minute)
	p.wants(1100, 576, false) // it was confirmed
	p.run(narrowTime)
	p.wants(1500, 1200, false)
}

func TestNarrowPathsAreForgottenWhenTheyAreWide(t *testing.T) {
	p := newNarrowPair(t)
	p.wants(1100, 1200, true)
	p.wants(1500, 576, false)
	p.wants(1500, 1200, false)
}

// A stream that grew beyond the usual size, and ended because that passes no more, says nothing of the usual size.
func TestNarrowPathsStayNarrowWhenTheyShrinkAgain(t *testing.T) {
	p := newNarrowPair(t)
	p.wants(1100, 1200, true)
	p.shrinks = 1100
	p.wants(1500, 576, true)
	p.wants(1100, 576, false)
}

func TestNarrowPathsAreBounded(t *testing.T) {
	var n narrowPaths
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	for i := range maxNarrow + 1 {
		n.add(host(i), 0)
		n.add(host(1), 0) // again
	}
	if len(n) != maxNarrow || n.has(host(0), 0) || !n.has(host(1), 0) || !n.has(host(maxNarrow), 0) {
		t.Errorf("%d paths: %v", len(n), n)
	}
}
