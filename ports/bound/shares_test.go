package bound_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

func addr(a, b byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, a, b}) }

func key(n int) [32]byte { return [32]byte{byte(n), byte(n >> 8), byte(n >> 16)} }

// strangers and members are the classes of the tests.
const strangers, members = 0, 1

func newShares() *bound.Shares[string] {
	return bound.NewShares[string](8, bound.Class{Kept: 2}, bound.Class{Kept: 4, PerKey: 3})
}

func TestTheOldestOfTheFullestShareGoes(t *testing.T) {
	tests := []struct {
		name string
		add  []bound.Place
		gone []int // the evicted ones, in this order
	}{
		{"there is room", places(8, func(i int) bound.Place { return bound.At(strangers, addr(0, 1), key(i)) }), nil},
		{
			"one address is the fullest",
			append(places(3, func(i int) bound.Place { return bound.At(strangers, addr(byte(i), 1), key(i)) }),
				places(8, func(i int) bound.Place { return bound.At(strangers, addr(9, 1), key(i)) })...),
			[]int{3, 4, 5},
		},
		{
			"keys of one address are no shares of their own",
			append(places(2, func(i int) bound.Place { return bound.At(strangers, addr(0, 1), key(7)) }),
				places(7, func(i int) bound.Place { return bound.At(strangers, addr(1, 1), key(i)) })...),
			[]int{2},
		},
		{
			"addresses of one network share",
			append(places(6, func(i int) bound.Place { return bound.At(strangers, addr(0, byte(i)), key(i)) }),
				places(3, func(i int) bound.Place { return bound.At(strangers, addr(1, 1), key(i)) })...),
			[]int{0},
		},
		{
			"of one address, the key that has two",
			append(places(4, func(i int) bound.Place { return bound.At(strangers, addr(0, 1), key(i)) }),
				places(5, func(i int) bound.Place { return bound.At(strangers, addr(0, 1), key(3+i)) })...),
			[]int{3},
		},
		{"all are equal", places(9, func(i int) bound.Place { return bound.At(strangers, addr(byte(i), 1), key(i)) }), []int{0}},
		{
			"strangers leave what is kept for members",
			append(places(4, func(i int) bound.Place { return bound.Under(members, key(i)) }),
				places(8, func(i int) bound.Place { return bound.At(strangers, addr(byte(i), 1), key(i)) })...),
			[]int{4, 5, 6, 7},
		},
		{
			"members take the room that strangers have taken",
			append(places(8, func(i int) bound.Place { return bound.At(strangers, addr(byte(i), 1), key(i)) }),
				places(7, func(i int) bound.Place { return bound.Under(members, key(i)) })...),
			[]int{0, 1, 2, 3, 4, 8, 9},
		},
		{"a member has too many", places(5, func(i int) bound.Place { return bound.Under(members, key(1)) }), []int{0, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newShares()
			var gone []int
			for i, p := range test.add {
				if _, evicted := s.Add(fmt.Sprint(i), p); evicted != nil {
					var n int
					fmt.Sscan(evicted.Value, &n)
					gone = append(gone, n)
				}
			}
			if !slices.Equal(gone, test.gone) {
				t.Errorf("%v go, want %v", gone, test.gone)
			}
		})
	}
}

func places(n int, at func(int) bound.Place) (all []bound.Place) {
	for i := range n {
		all = append(all, at(i))
	}
	return all
}

func TestWhatMovesCountsElsewhere(t *testing.T) {
	s := newShares()
	it, _ := s.Add("moved", bound.At(strangers, addr(0, 1), key(1)))
	s.Move(it, bound.Under(members, key(1)))
	for i := range 20 {
		s.Add("flood", bound.At(strangers, addr(byte(i), 1), key(i)))
	}
	if !it.Held() || s.In(members) != 1 || s.Len() != 8 {
		t.Errorf("held %v, %d members of %d", it.Held(), s.In(members), s.Len())
	}
	s.Remove(it)
	s.Remove(it)
	s.Move(it, bound.Under(members, key(1)))
	if it.Held() || s.Len() != 7 {
		t.Errorf("held %v, %d in all", it.Held(), s.Len())
	}
}

// model is a simple implementation of Shares.
type model struct {
	limit   int
	classes []bound.Class
	held    []*held
}

type held struct {
	n     int
	class int
	// path are the names of the share on each level.
	path []string
	item *bound.Item[int]
}

// count returns the number of objects in a share.
func (m *model) count(class int, path []string) (n int) {
	for _, h := range m.held {
		if h.class == class && len(h.path) >= len(path) && slices.Equal(h.path[:len(path)], path) {
			n++
		}
	}
	return n
}

// fullestAlong reports whether no share exceeds one of the evicted object's path.
func (m *model) fullestAlong(class int, path []string) bool {
	for depth := range path {
		n := m.count(class, path[:depth+1])
		for _, h := range m.held {
			if h.class == class && slices.Equal(h.path[:min(depth, len(h.path))], path[:depth]) && len(h.path) > depth && m.count(class, h.path[:depth+1]) > n {
				return false
			}
		}
	}
	return true
}

// In any order of operations, the evicted object is the oldest of a share that no other exceeds.
func TestEvictionFollowsTheRuleInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		classes := []bound.Class{{Kept: 5}, {Kept: 10, PerKey: 3}, {}}
		s := bound.NewShares[int](30, classes...)
		m := &model{limit: 30, classes: classes}
		for n := range 3000 {
			if len(m.held) > 0 && r.IntN(4) == 0 {
				i := r.IntN(len(m.held))
				s.Remove(m.held[i].item)
				m.held = slices.Delete(m.held, i, i+1)
				continue
			}
			h := &held{n: n, class: r.IntN(3)}
			a, k := addr(byte(r.IntN(3)), byte(r.IntN(3))), r.IntN(6)
			place := bound.Under(h.class, key(k))
			h.path = []string{fmt.Sprint(k)}
			if h.class != 1 {
				place = bound.At(h.class, a, key(k))
				h.path = []string{bound.Network(a).String(), a.String(), fmt.Sprint(k)}
			}
			m.held = append(m.held, h)
			var evicted *bound.Item[int]
			h.item, evicted = s.Add(n, place)
			perKey := classes[h.class].PerKey > 0 && m.count(h.class, h.path) > classes[h.class].PerKey
			if (evicted != nil) != (perKey || len(m.held) > 30) {
				t.Fatalf("seed %d, step %d: %d held, evicted %v", seed, n, len(m.held), evicted)
			}
			if evicted != nil {
				i := slices.IndexFunc(m.held, func(h *held) bool { return h.item == evicted })
				victim := m.held[i]
				first := slices.IndexFunc(m.held, func(h *held) bool { return h.class == victim.class && slices.Equal(h.path, victim.path) })
				if first != i {
					t.Fatalf("seed %d, step %d: not the oldest of its share goes", seed, n)
				}
				over := m.count(victim.class, nil) - classes[victim.class].Kept
				for class := range classes {
					if !perKey && m.count(class, nil)-classes[class].Kept > over && m.count(class, nil) > 0 {
						t.Fatalf("seed %d, step %d: class %d gives, class %d has more", seed, n, victim.class, class)
					}
				}
				if !perKey && !m.fullestAlong(victim.class, victim.path) {
					t.Fatalf("seed %d, step %d: %v is not the fullest", seed, n, victim.path)
				}
				m.held = slices.Delete(m.held, i, i+1)
			}
			if s.Len() != len(m.held) || s.In(0) != m.count(0, nil) || s.In(1) != m.count(1, nil) {
				t.Fatalf("seed %d, step %d: %d held, want %d", seed, n, s.Len(), len(m.held))
			}
		}
	}
}

// Relays can invent addresses, and peers other than the key's holder can replay its packets: neither uses more than its own
// share.
func TestPlacesThroughRelays(t *testing.T) {
	relay, liar, direct := addr(0, 1), addr(0, 2), netip.Addr{}
	for name, place := range map[string]func(relay, a netip.Addr) bound.Place{
		"relay first": func(relay, a netip.Addr) bound.Place { return bound.Through(strangers, relay, a, key(1)) },
		"key first":   func(relay, a netip.Addr) bound.Place { return bound.UnderThrough(members, key(1), relay, a) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShares()
			honest, _ := s.Add("honest", place(relay, addr(1, 1)))
			for i := range byte(20) {
				s.Add("invented", place(liar, addr(2+i, 1)))
			}
			other, _ := s.Add("direct", place(direct, addr(1, 1)))
			if !honest.Held() || !other.Held() {
				t.Errorf("held: through the other relay %v, through none %v", honest.Held(), other.Held())
			}
			if n := s.Size(place(relay, addr(9, 9)), 1); name == "key first" && n != 3 {
				t.Errorf("the key has %d, its limit is 3", n)
			}
			if n := s.Size(place(relay, addr(9, 9)), 2); n != map[string]int{"relay first": 0, "key first": 1}[name] {
				t.Errorf("%d two steps on", n)
			}
		})
	}
}

// What a key's peer wants to reach has its part of the key's share.
func TestPlacesForAPart(t *testing.T) {
	s := bound.NewShares[string](20, bound.Class{Kept: 20, PerKey: 5, PerPart: 3})
	for name, place := range map[string]func(part int) bound.Place{
		"by key": func(part int) bound.Place { return bound.Under(0, key(1)).For(key(part)) },
		"through": func(part int) bound.Place {
			return bound.UnderThrough(0, key(2), addr(0, 1), addr(1, 1)).For(key(part))
		},
		"another key": func(part int) bound.Place { return bound.Under(0, key(3)).For(key(part)) },
	} {
		first, _ := s.Add(name, place(1))
		for range 3 {
			s.Add(name, place(1))
		}
		if n := s.Size(place(1), 2); n != 3 || first.Held() {
			t.Errorf("%s: a part has %d, its limit is 3; its first is held: %v", name, n, first.Held())
		}
		for part := range 4 {
			s.Add(name, place(2+part))
		}
		if n := s.Size(place(1), 1); n != 5 || s.Size(place(1), 2) != 1 || s.Size(place(5), 2) != 1 {
			t.Errorf("%s: the key has %d, its limit is 5; its first part %d, its last %d", name, n, s.Size(place(1), 2), s.Size(place(5), 2))
		}
	}
	if s.Len() != 15 {
		t.Errorf("%d held", s.Len())
	}
}

func TestQueueMovesToAnEmptierShare(t *testing.T) {
	q := bound.NewQueue[int](10)
	crowded, empty := bound.Through(0, addr(0, 1), addr(0, 9), key(0)), bound.Through(0, addr(0, 2), addr(0, 9), key(0))
	var last *bound.Item[int]
	for i := range 5 {
		last, _ = q.Add(i, crowded)
	}
	q.Move(last, empty)
	if q.Len() != 5 || q.Size(crowded, 1) != 4 || q.Size(empty, 1) != 1 {
		t.Errorf("%d, %d and %d wait", q.Len(), q.Size(crowded, 1), q.Size(empty, 1))
	}
	q.Next()
	if v, _ := q.Next(); v != 4 {
		t.Errorf("%d has the second turn", v)
	}
	if q.Move(last, crowded); q.Len() != 3 {
		t.Error("what waits no longer was moved")
	}
}

func TestQueueGivesTurnsToNetworksAddressesAndKeys(t *testing.T) {
	q := bound.NewQueue[string](100)
	add := func(name string, n int, p bound.Place) {
		for range n {
			q.Add(name, p)
		}
	}
	add("flood", 20, bound.At(0, addr(0, 1), key(0)))
	add("neighbour", 2, bound.At(0, addr(0, 2), key(0)))
	add("other", 2, bound.At(0, addr(1, 1), key(0)))
	var got []string
	for range 8 {
		v, _ := q.Next()
		got = append(got, v)
	}
	want := []string{"flood", "other", "neighbour", "other", "flood", "neighbour", "flood", "flood"}
	if !slices.Equal(got, want) {
		t.Errorf("turns %v, want %v", got, want)
	}
}

func TestFullQueueDropsTheNewestOfTheFullestShare(t *testing.T) {
	q := bound.NewQueue[int](5)
	for i := range 5 {
		q.Add(i, bound.At(0, addr(0, 1), key(0)))
	}
	it, dropped := q.Add(5, bound.At(0, addr(1, 1), key(0)))
	if dropped == nil || dropped.Value != 4 || !it.Held() {
		t.Errorf("%+v dropped", dropped)
	}
	it, dropped = q.Add(6, bound.At(0, addr(0, 1), key(0)))
	if dropped != it || q.Len() != 5 {
		t.Errorf("%+v dropped, %d wait", dropped, q.Len())
	}
	for q.Len() > 0 {
		q.Next()
	}
	if _, ok := q.Next(); ok {
		t.Error("an empty queue has a next one")
	}
}

func TestBucketsRefillAndAreGivenBack(t *testing.T) {
	now := host.Instant(time.Hour)
	r := bound.NewRates[netip.Prefix](2, bound.Pace{Burst: 3, Every: time.Second})
	take := func(a netip.Addr) (n int) {
		for r.Of(now, bound.Host(a)).Take(now) {
			n++
		}
		return n
	}
	if n := take(addr(0, 1)); n != 3 {
		t.Errorf("a burst of %d", n)
	}
	if w := r.Of(now, bound.Host(addr(0, 1))).Wait(now); w != time.Second {
		t.Errorf("wait %v", w)
	}
	now = now.Add(2 * time.Second)
	if n := take(addr(0, 1)); n != 2 {
		t.Errorf("%d after two seconds", n)
	}
	r.Of(now, bound.Host(addr(0, 1))).Return()
	if n := take(addr(0, 1)); n != 1 {
		t.Errorf("%d after one was given back", n)
	}
	now = now.Add(time.Hour)
	if n := take(addr(0, 1)); n != 3 {
		t.Errorf("a burst of %d after an hour", n)
	}
	take(addr(0, 2))
	take(addr(0, 3)) // the third one evicts the first
	if n := take(addr(0, 1)); n != 3 || r.Len(now) != 2 {
		t.Errorf("%d of a forgotten one, %d remembered", n, r.Len(now))
	}
	now = now.Add(3 * time.Second)
	if r.Len(now) != 0 {
		t.Errorf("%d full ones are remembered", r.Len(now))
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := bound.NewRecent[int](3)
	for _, v := range []int{1, 2, 3, 1, 4} {
		r.Add(v)
	}
	if r.Len() != 3 || r.Has(2) || !r.Has(1) || !r.Has(3) || !r.Has(4) {
		t.Errorf("%d remembered", r.Len())
	}
	r.Remove(3)
	r.Remove(3)
	r.Add(5)
	if r.Len() != 3 || r.Has(3) || !r.Has(1) {
		t.Errorf("%d remembered after one was removed", r.Len())
	}
	if r.Clear(); r.Len() != 0 || r.Has(1) {
		t.Errorf("%d remembered after all were removed", r.Len())
	}
}

func TestAddressesOfIPv6ShareByWhatASiteGets(t *testing.T) {
	a := netip.MustParseAddr("2001:db8:1:2:3::4")
	tests := []struct {
		name string
		got  netip.Prefix
		want string
	}{
		{"network", bound.Network(a), "2001:db8:1::/48"},
		{"host", bound.Host(a), "2001:db8:1:2::/64"},
		{"network of IPv4", bound.Network(netip.MustParseAddr("::ffff:192.0.2.7")), "192.0.2.0/24"},
		{"host of IPv4", bound.Host(netip.MustParseAddr("192.0.2.7")), "192.0.2.7/32"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.got.String() != test.want {
				t.Errorf("got %v", test.got)
			}
		})
	}
	if bound.Network(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("invalid addresses do not share")
	}
}

func BenchmarkShares(b *testing.B) {
	s := bound.NewShares[int](1024, bound.Class{})
	for i := range b.N {
		s.Add(i, bound.At(0, addr(byte(i>>8), byte(i)), key(i)))
	}
}
