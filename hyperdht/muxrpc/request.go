package muxrpc

import "github.com/dhtprom/dhtprom/hyperdht/compact"

// request is message type 0:
//
//	uint id (0: event) · string method · value to the end
type request struct {
	id     uint64
	method []byte
	value  []byte
}

func (m request) size() int {
	return compact.UintSize(m.id) + compact.BytesSize(len(m.method)) + len(m.value)
}

func (m request) append(dst []byte) []byte {
	dst = compact.AppendUint(dst, m.id)
	dst = compact.AppendBytes(dst, m.method)
	return append(dst, m.value...)
}

// parseRequest reads a request, which borrows b.
func parseRequest(b []byte) (request, error) {
	r := compact.NewReader(b)
	m := request{id: r.Uint(), method: r.Bytes(), value: r.Rest()}
	return m, r.Err()
}
