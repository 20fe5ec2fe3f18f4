package nat

import (
	"net/netip"
	"testing"
)

func TestSamplerRemembersWhoSawWhatTheOldestFirst(t *testing.T) {
	responder := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 1)
	}
	seen := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(1000+i%3))
	}
	for _, n := range []int{0, 1, 15, 16, 17, 40} {
		var s Sampler
		for i := range n {
			s.Add(seen(i), responder(i))
		}
		got := s.Samples()
		if len(got) != s.Len() || len(got) != min(n, ringSize/2) {
			t.Fatalf("%d samples of %d, %d vote", len(got), n, s.Len())
		}
		for i, x := range got {
			if at := n - len(got) + i; x.Seen != seen(at) || x.From != responder(at) {
				t.Errorf("of %d, sample %d: %v", n, i, x)
			}
		}
	}
}

func TestClassifierRemembersWhatItCounted(t *testing.T) {
	c := NewClassifier(true)
	a, b := netip.MustParseAddrPort("203.0.113.1:1000"), netip.MustParseAddrPort("10.9.0.1:1")
	c.Add(a, b, true)
	c.Add(b, b, true) // the same responder again
	if got := c.Samples(); len(got) != 1 || got[0] != (Sample{Seen: a, From: b}) {
		t.Errorf("samples %v", got)
	}
}
