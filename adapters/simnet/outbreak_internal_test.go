package simnet

import "testing"

func TestCutsSeparateTheirSides(t *testing.T) {
	for _, tc := range []struct {
		cut      cut
		from, to uint8
		want     bool
	}{
		{cutBoth, 0, 0, false}, {cutBoth, 1, 1, false}, {cutBoth, 0, 1, true}, {cutBoth, 1, 0, true},
		{cutUp, 0, 0, false}, {cutUp, 1, 1, false}, {cutUp, 0, 1, true}, {cutUp, 1, 0, false},
	} {
		if got := tc.cut.between(tc.from, tc.to); got != tc.want {
			t.Errorf("%v, from side %d to %d: cut %v", tc.cut, tc.from, tc.to, got)
		}
	}
}
