package nat

import (
	"net/netip"
	"slices"
	"testing"
)

func TestFewSamplesDecideOnlyWhenNoMoreAreToBeHad(t *testing.T) {
	const seen = "203.0.113.1:1000"
	type sample struct{ seen, from string }
	tests := []struct {
		name     string
		few      []sample // before Conclude
		after    Kind
		late     []sample // after it
		want     Kind
		addrs    []string
		original Kind // of all samples, without Conclude
	}{
		{name: "none", want: Unknown},
		{name: "one", few: []sample{{seen, "10.9.0.1:1"}}, want: Unknown},
		{name: "one responder twice", few: []sample{{seen, "10.9.0.1:1"}, {seen, "10.9.0.1:1"}}, want: Unknown},
		{
			name: "two agree", few: []sample{{seen, "10.9.0.1:1"}, {seen, "10.9.0.1:2"}},
			after: Consistent, want: Consistent, addrs: []string{seen},
		},
		{
			name: "two differ", few: []sample{{seen, "10.9.0.1:1"}, {"203.0.113.1:1001", "10.9.0.1:2"}},
			after: Random, want: Random, addrs: []string{"203.0.113.1:0"},
		},
		{
			name: "the second comes late", few: []sample{{seen, "10.9.0.1:1"}},
			late: []sample{{seen, "10.9.0.2:1"}}, want: Consistent, addrs: []string{seen},
		},
		{
			name: "two agree, the third lies", few: []sample{{seen, "10.9.0.1:1"}, {seen, "10.9.0.2:1"}}, after: Consistent,
			late: []sample{{"198.51.100.1:9", "10.9.0.3:1"}}, want: Consistent, addrs: []string{seen, "198.51.100.1:9"},
		},
		{
			name: "of two one lies, then two more are honest", few: []sample{{seen, "10.9.0.1:1"}, {"198.51.100.1:9", "10.9.0.2:1"}}, after: Random,
			late: []sample{{seen, "10.9.0.3:1"}, {seen, "10.9.0.4:1"}}, want: Consistent, addrs: []string{seen, "198.51.100.1:9"},
			original: Consistent,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, original := NewClassifier(true), NewClassifier(true)
			add := func(list []sample) {
				for _, s := range list {
					c.Add(netip.MustParseAddrPort(s.seen), netip.MustParseAddrPort(s.from), true)
					original.Add(netip.MustParseAddrPort(s.seen), netip.MustParseAddrPort(s.from), true)
				}
			}
			add(tt.few)
			if c.Firewall() != Unknown {
				t.Fatalf("%v before Conclude", c.Firewall())
			}
			c.Conclude()
			if c.Firewall() != tt.after {
				t.Errorf("%v after Conclude, want %v", c.Firewall(), tt.after)
			}
			add(tt.late)
			if c.Firewall() != tt.want || len(c.Addrs()) != len(tt.addrs) {
				t.Fatalf("%v %v, want %v %v", c.Firewall(), c.Addrs(), tt.want, tt.addrs)
			}
			for i, a := range c.Addrs() {
				if a.String() != tt.addrs[i] {
					t.Errorf("address %d is %v, want %s", i, a, tt.addrs[i])
				}
			}
			if original.Firewall() != tt.original {
				t.Errorf("%v without Conclude, want %v", original.Firewall(), tt.original)
			}
		})
	}
}

func TestConcludeLeavesAFrozenVerdictAlone(t *testing.T) {
	c := NewClassifier(true)
	for _, from := range []string{"10.9.0.1:1", "10.9.0.2:1"} {
		c.Add(netip.MustParseAddrPort("203.0.113.1:1"), netip.MustParseAddrPort(from), true)
	}
	c.Freeze()
	c.Conclude()
	if c.Firewall() != Unknown {
		t.Errorf("%v while frozen", c.Firewall())
	}
	c.Unfreeze()
	if c.Firewall() != Consistent {
		t.Errorf("%v afterwards, want consistent", c.Firewall())
	}
}

func TestInDoubtAConsistentNATIsRandom(t *testing.T) {
	for _, doubt := range []bool{false, true} {
		c := NewClassifier(true)
		if doubt {
			c.Doubt()
		}
		seen := netip.MustParseAddrPort("81.2.3.4:5000")
		for i := range uint16(4) {
			c.Add(seen, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 1000+i), true)
		}
		want, addr := Consistent, seen
		if doubt {
			want, addr = Random, netip.AddrPortFrom(seen.Addr(), 0)
		}
		if c.Firewall() != want || !slices.Equal(c.Addrs(), []netip.AddrPort{addr}) {
			t.Errorf("in doubt %v: %v at %v, want %v at %v", doubt, c.Firewall(), c.Addrs(), want, addr)
		}
	}
}

// Two equal samples and two others are no kind of NAT. More of them decide.
func TestSamplesThatContradictEachOther(t *testing.T) {
	const a, b, c, elsewhere = "203.0.113.1:1", "203.0.113.1:2", "203.0.113.1:3", "198.51.100.1:9"
	for _, test := range []struct {
		name string
		seen []string
		want bool
		then Kind
	}{
		{"all equal", []string{a, a, a, a}, false, Consistent},
		{"all differ", []string{a, b, c, "203.0.113.1:4"}, false, Random},
		{"three", []string{a, a, b}, false, Unknown},
		{"two ports are wrong", []string{a, a, b, c}, true, Random},
		{"two agree on a wrong port", []string{a, a, b, b}, true, Random},
		{"two uplinks", []string{a, a, elsewhere, elsewhere}, false, Consistent},
		{"two hosts are wrong", []string{a, a, elsewhere, "198.51.100.2:9"}, true, Unknown},
		{"and four more decide", []string{a, a, b, b, a, a, a, a}, false, Consistent},
	} {
		classifier := NewClassifier(true)
		for i, seen := range test.seen {
			classifier.Add(netip.MustParseAddrPort(seen), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 1), true)
		}
		if got := classifier.Contradictory(); got != test.want || classifier.Firewall() != test.then {
			t.Errorf("%s: contradictory %v, %v; want %v, %v", test.name, got, classifier.Firewall(), test.want, test.then)
		}
	}
	inDoubt := NewClassifier(true)
	inDoubt.Doubt()
	for i, seen := range []string{a, a, b, c} {
		inDoubt.Add(netip.MustParseAddrPort(seen), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 1), true)
	}
	if inDoubt.Contradictory() {
		t.Error("in doubt, more samples are wanted, which change nothing")
	}
}
