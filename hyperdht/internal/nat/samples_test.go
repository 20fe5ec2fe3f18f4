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

func TestAMachineHasAShareOfTheSamples(t *testing.T) {
	right, wrong := netip.MustParseAddrPort("203.0.113.1:7"), netip.MustParseAddrPort("198.51.100.1:9")
	machine := func(n, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, byte(n)}), uint16(port))
	}
	for _, test := range []struct {
		name      string
		others    int
		votes     int
		concludes netip.AddrPort
	}{
		{name: "alone", votes: 16, concludes: wrong},
		{name: "beside one", others: 1, votes: 1},
		{name: "beside five", others: 5, votes: 1, concludes: right},
		{name: "beside six", others: 6, votes: 2, concludes: right},
		{name: "beside thirteen", others: 13, votes: 3, concludes: right},
	} {
		var s Sampler
		for i := range test.others {
			s.AddFrom(right, machine(i+1, 1))
		}
		for i := range 40 {
			s.AddFrom(wrong, machine(100, i+1))
		}
		votes := 0
		for _, v := range s.Samples() {
			if v.From.Addr() == machine(100, 1).Addr() {
				votes++
			}
		}
		if votes != test.votes || s.Addr() != test.concludes {
			t.Errorf("%s: %d votes, %v; want %d, %v", test.name, votes, s.Addr(), test.votes, test.concludes)
		}
		// Its view of us changes: the newest counts.
		if test.others > 0 {
			s.AddFrom(right, machine(100, 1))
			if last := s.Samples()[s.Len()-1]; last.Seen != right {
				t.Errorf("%s: the newest sample is %v", test.name, last)
			}
			if left := s.Samples()[test.others:]; test.votes > 1 && left[0].From != machine(100, 42-test.votes) {
				t.Errorf("%s: %v is left of it, want the newest", test.name, left)
			}
		}
	}
}

// A machine that was alone at first has its share only once others have voted.
func TestAMachineThatWasAloneLosesItsSurplusOfSamples(t *testing.T) {
	right, wrong := netip.MustParseAddrPort("203.0.113.1:7"), netip.MustParseAddrPort("198.51.100.1:9")
	var s Sampler
	for port := range uint16(10) {
		s.AddFrom(right, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, 100}), port+1))
	}
	for i := range byte(3) {
		s.AddFrom(right, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, i}), 1))
	}
	for port := range uint16(10) {
		s.AddFrom(wrong, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, 100}), port+1))
		if s.Addr() != right {
			t.Fatalf("%v after %d false samples of one machine of four: %v", s.Addr(), port+1, s.Samples())
		}
	}
	if s.Len() != 4 {
		t.Errorf("%d samples of 4 machines", s.Len())
	}
}

// An address that was preset is no machine, and does not take votes from the only one.
func TestAPresetAddressLeavesTheOnlyMachineItsSamples(t *testing.T) {
	preset, seen := netip.MustParseAddrPort("203.0.113.1:7"), netip.MustParseAddrPort("198.51.100.1:9")
	var s Sampler
	s.Add(preset, netip.AddrPort{})
	for range 16 {
		s.AddFrom(seen, netip.MustParseAddrPort("192.0.2.1:49737"))
	}
	if s.Addr() != seen {
		t.Errorf("%v of %v", s.Addr(), s.Samples())
	}
}
