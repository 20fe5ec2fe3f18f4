package host_test

import (
	"bytes"
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Simulated runs are replayed from their seed, so a draw takes as many bytes as its number has, in a fixed order.
func TestNumbersAreDrawnFromAsManyBytesAsTheyHave(t *testing.T) {
	source := bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})
	if n := host.DrawUint16(source); n != 0x0201 {
		t.Errorf("%#x", n)
	}
	if n := host.DrawUint32(source); n != 0x06050403 {
		t.Errorf("%#x", n)
	}
	if n := host.DrawUint64(source); n != 0x0e0d0c0b0a090807 {
		t.Errorf("%#x", n)
	}
	var b [3]byte
	if host.Draw(source, b[:]); b != [3]byte{15, 16, 17} {
		t.Errorf("%v", b)
	}
}

func TestFailedSourceOfRandomnessStopsTheProgram(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a draw without randomness returns")
		}
	}()
	host.DrawUint32(bytes.NewReader([]byte{1, 2, 3}))
}
