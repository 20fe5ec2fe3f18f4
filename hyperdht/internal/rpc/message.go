package rpc

import (
	"net/netip"
	"sync"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// message is memory for one message that is read or built. All nodes of the program use the same, one after the other: that of a node
// would have to be waited for each time, like all that was not used for long.
type message struct {
	response wire.Response
	built    []byte
}

// messages are those that are not in use. What a node does does not depend on which one it gets.
var messages = sync.Pool{New: func() any { return new(message) }}

// release ends the use of a message, and frees the memory that a hostile one needed.
func (m *message) release() {
	closer := m.response.Closer
	if cap(closer) > 2*maxCloser {
		closer = nil
	}
	m.response = wire.Response{Closer: closer[:0]}
	messages.Put(m)
}

// send sends what was built, and ends the use.
func (m *message) send(s host.Socket, to netip.AddrPort) {
	s.Send(to, 0, m.built)
	m.release()
}
