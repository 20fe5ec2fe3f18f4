package rpc

import (
	"math/rand/v2"
	"testing"
)

func TestSeenFindsWhatWasPut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name string
		next func(i int) addrKey
	}{
		{"neighbours", func(i int) addrKey { return addrKey(0x64400000+i)<<16 | 49737 }},
		{"ports of a host", func(i int) addrKey { return 0x64400001<<16 | addrKey(i+1) }},
		{"any", func(int) addrKey { return addrKey(r.Uint64() >> 16) }},
		{"from zero", func(i int) addrKey { return addrKey(i) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s seen
			want := map[addrKey]int{}
			for i := range maxCandidates {
				key := test.next(i)
				if n, ok := s.get(key); ok {
					t.Fatalf("%x is number %d before it was put", key, n)
				}
				s.put(key, i)
				want[key] = i
			}
			for key, i := range want {
				if n, ok := s.get(key); !ok || n != i {
					t.Fatalf("%x is number %d, %v; want %d", key, n, ok, i)
				}
			}
			if s.n != maxCandidates {
				t.Errorf("%d addresses, want %d", s.n, maxCandidates)
			}
		})
	}
}
