package rpc

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestMemoryOfAMessageRefersToNothingAndIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		named int
		kept  bool
	}{{"as many nodes as are read", maxCloser, true}, {"many more", 3 * maxCloser, false}} {
		t.Run(tt.name, func(t *testing.T) {
			m := &message{response: wire.Response{Closer: make([]netip.AddrPort, tt.named), Value: []byte("x")}}
			m.release()
			if r := m.response; r.Value != nil || len(r.Closer) != 0 || (cap(r.Closer) > 0) != tt.kept {
				t.Errorf("value %q, room for %d nodes", r.Value, cap(r.Closer))
			}
		})
	}
}
