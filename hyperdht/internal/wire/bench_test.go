package wire

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// benchResponse is a typical answer to a lookup: an id, a token and twenty closer nodes.
func benchResponse() Response {
	m := Response{TID: 7, To: netip.MustParseAddrPort("203.0.113.9:40000"), ID: &id.NodeID{1}, Token: &id.Token{2}}
	for i := range byte(20) {
		m.Closer = append(m.Closer, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, i}), 49737))
	}
	return m
}

func BenchmarkResponseParse(b *testing.B) {
	packet := benchResponse().Append(nil)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseResponse(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResponseAppend(b *testing.B) {
	m := benchResponse()
	buf := make([]byte, 0, 2048)
	b.SetBytes(int64(m.Size()))
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

func BenchmarkRequestParse(b *testing.B) {
	packet := Request{TID: 7, To: netip.MustParseAddrPort("203.0.113.9:40000"), Command: CmdLookup, Target: &id.Target{3}}.Append(nil)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(packet); err != nil {
			b.Fatal(err)
		}
	}
}
