package app

import (
	"encoding/binary"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

func numbered(n int) (k domain.PublicKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func TestTheKeySilentForLongestIsForgotten(t *testing.T) {
	m := newMembers()
	for n := range maxMembers {
		m.add(numbered(n))
	}
	m.add(numbered(0))
	m.add(numbered(maxMembers))
	for n, want := range map[int]bool{0: true, 1: false, 2: true, maxMembers - 1: true, maxMembers: true, maxMembers + 1: false} {
		if m.has(numbered(n)) != want {
			t.Errorf("key %d is remembered: %v", n, !want)
		}
	}
	if m.order.Len() != maxMembers || len(m.keys) != maxMembers {
		t.Errorf("%d and %d keys are held, at most %d", m.order.Len(), len(m.keys), maxMembers)
	}
}
