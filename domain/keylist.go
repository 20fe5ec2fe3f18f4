package domain

import (
	"bytes"
	"iter"
	"slices"
	"sort"
)

// KeyList is an immutable list of public keys, each once, in the order of their bytes: the keys one after the other. It is comparable.
type KeyList string

// NewKeyList returns the list of some keys.
func NewKeyList(keys []PublicKey) KeyList {
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, func(a, b PublicKey) int { return bytes.Compare(a[:], b[:]) })
	packed := make([]byte, 0, len(keys)*KeySize)
	for _, k := range slices.Compact(sorted) {
		packed = append(packed, k[:]...)
	}
	return KeyList(packed)
}

// KeyListFrom returns the list of packed keys, in any order; a part of a key at the end is dropped.
func KeyListFrom(packed []byte) KeyList {
	keys := make([]PublicKey, 0, len(packed)/KeySize)
	for k := range slices.Chunk(packed[:len(packed)-len(packed)%KeySize], KeySize) {
		keys = append(keys, PublicKey(k))
	}
	return NewKeyList(keys)
}

// Len is the number of keys.
func (l KeyList) Len() int { return len(l) / KeySize }

// Has reports whether a key is in the list.
func (l KeyList) Has(key PublicKey) bool {
	if l == "" {
		return false
	}
	i := sort.Search(l.Len(), func(i int) bool { return l.at(i) >= string(key[:]) })
	return i < l.Len() && l.at(i) == string(key[:])
}

func (l KeyList) at(i int) string { return string(l[i*KeySize : (i+1)*KeySize]) }

// All lists the keys.
func (l KeyList) All() iter.Seq[PublicKey] {
	return func(yield func(PublicKey) bool) {
		for i := range l.Len() {
			if !yield(PublicKey([]byte(l.at(i)))) {
				return
			}
		}
	}
}
