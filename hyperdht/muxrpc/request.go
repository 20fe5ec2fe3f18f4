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

func (r request) size() int {
	return compact.UintSize(r.id) + compact.BytesSize(len(r.method)) + len(r.value)
}

func (r request) append(dst []byte) []byte {
	dst = compact.AppendUint(dst, r.id)
	dst = compact.AppendBytes(dst, r.method)
	return append(dst, r.value...)
}

// parseRequest reads a request, which borrows b.
func parseRequest(b []byte) (request, error) {
	r := compact.NewReader(b)
	m := request{id: r.Uint(), method: r.Bytes(), value: r.Rest()}
	return m, r.Err()
}
