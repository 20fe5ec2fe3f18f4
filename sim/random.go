package sim

import (
	"encoding/binary"
	"math/rand/v2"
)

// randFor returns a source of random choices for one purpose, so that a further choice elsewhere changes none of them.
func (w *World) randFor(what string) *rand.Rand {
	s := w.seedOf("luck " + what)
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:16])))
}
