package hyperdht

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSpreadTakesNodesEvenlyAndFromDifferentMachines(t *testing.T) {
	node := func(machine byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, machine}), port)
	}
	var nodes []netip.AddrPort
	for i := range byte(12) {
		nodes = append(nodes, node(i, 1))
	}
	crowd := []netip.AddrPort{node(1, 1), node(1, 2), node(1, 3), node(1, 4), node(1, 5), node(1, 6), node(1, 7), node(2, 1), node(3, 1), node(4, 1)}
	for _, test := range []struct {
		name  string
		nodes []netip.AddrPort
		first []netip.AddrPort
	}{
		{"none", nil, nil},
		{"few", nodes[:3], nodes[:3]},
		{"many", nodes, []netip.AddrPort{nodes[0], nodes[3], nodes[6], nodes[9]}},
		{"most of one machine", crowd, []netip.AddrPort{crowd[0], crowd[7], crowd[8], crowd[9]}},
		{"all of one machine", crowd[:7], []netip.AddrPort{crowd[0], crowd[1], crowd[2], crowd[3]}},
	} {
		before := slices.Clone(test.nodes)
		got := spread(test.nodes, 4)
		if len(got) != len(test.nodes) || !slices.Equal(got[:len(test.first)], test.first) {
			t.Errorf("%s: %v first, want %v", test.name, got, test.first)
		}
		for _, n := range test.nodes {
			if !slices.Contains(got, n) {
				t.Errorf("%s: %v is missing", test.name, n)
			}
		}
		if !slices.Equal(before, test.nodes) {
			t.Errorf("%s: the list itself has changed", test.name)
		}
	}
}
