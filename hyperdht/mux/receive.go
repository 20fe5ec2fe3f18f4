package mux

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// receive handles a frame of the pipe. Empty frames are ignored.
func (m *Mux) receive(frame []byte) {
	if m.dead || len(frame) == 0 {
		return
	}
	r := compact.NewReader(frame)
	m.item(r.Uint(), &r, 0)
}

// item handles what follows a channel number: a type and its payload. depth counts the batches around it.
func (m *Mux) item(channel uint64, r *compact.Reader, depth int) {
	kind := r.Uint()
	if r.Err() != nil {
		m.violated("frame without channel and type")
		return
	}
	if channel == 0 {
		m.controlItem(kind, r, depth)
		return
	}
	end := m.remoteEnd(channel)
	switch {
	case end == nil:
		m.stats.UnknownChannel++
	case end.offered:
		m.hold(end, kind, r.Rest())
	default:
		end.channel.deliver(kind, r.Rest())
	}
}

// remoteEnd looks up a number of the other side.
func (m *Mux) remoteEnd(number uint64) *remoteEnd {
	if number > maxNumbers {
		return nil
	}
	return m.remote[int(number)]
}

func (m *Mux) controlItem(kind uint64, r *compact.Reader, depth int) {
	switch kind {
	case controlBatch:
		m.receiveBatch(r, depth+1)
	case controlOpen:
		m.receiveOpen(r)
	case controlReject:
		m.receiveReject(r)
	case controlClose:
		m.receiveClose(r)
	default:
		m.stats.UnknownControl++
	}
}

// receiveBatch handles the items of a batch. If there are several, the frames sent in response leave as a batch too.
// A last item whose length exceeds the input is truncated, as in the reference implementation.
func (m *Mux) receiveBatch(r *compact.Reader, depth int) {
	if depth > maxNesting {
		m.violated("batches nested more than %d deep", maxNesting)
		return
	}
	channel := r.Uint()
	corked := false
	for r.Len() > 0 && !m.dead {
		n := r.Uint()
		if n == 0 {
			channel = r.Uint()
			continue
		}
		item := r.Fixed(int(min(n, uint64(r.Len()))))
		if r.Err() != nil {
			break
		}
		if r.Len() > 0 && !corked {
			corked = true
			m.Cork()
		}
		in := compact.NewReader(item)
		m.item(channel, &in, depth)
	}
	if r.Err() != nil {
		m.violated("malformed batch")
	}
	if corked {
		m.Uncork()
	}
}

func (m *Mux) receiveOpen(r *compact.Reader) {
	number := r.Uint()
	protocol, id := r.Bytes(), r.OptionalBytes()
	handshake := r.Rest()
	if r.Err() != nil {
		m.violated("malformed open")
		return
	}
	// The number must be a free one or the next higher one.
	next := uint64(m.numbers) + 1
	switch {
	case number == 0 || number > next || number > maxNumbers || m.remoteEnd(number) != nil:
		m.violated("open of number %d", number)
		return
	case number == next:
		m.numbers++
	}
	n := int(number)
	if len(protocol) > MaxName || len(id) > MaxName || len(m.remote) >= MaxChannels {
		m.reject(n)
		return
	}
	info := m.identity(keyOf(string(protocol), id))
	if len(info.outgoing) == 0 {
		end := &remoteEnd{}
		m.remote[n] = end
		m.offer(info, end, n, handshake)
		return
	}
	local := info.outgoing[0]
	info.outgoing = info.outgoing[1:]
	slot := &m.local[local-1]
	slot.waiting = nil
	c := slot.channel
	if c == nil {
		// Closed before the answer came. The close is on its way; the other side will take it for this one.
		m.free = append(m.free, local-1)
		m.collect(info)
		return
	}
	m.remote[n] = &remoteEnd{channel: c}
	c.remoteID = n
	c.complete(handshake)
}

func (m *Mux) receiveReject(r *compact.Reader) {
	number := r.Uint()
	if r.Err() != nil || number == 0 || number > uint64(len(m.local)) || m.local[number-1].waiting == nil {
		m.violated("reject of number %d", number)
		return
	}
	slot := &m.local[number-1]
	info := slot.waiting
	info.outgoing = slices.DeleteFunc(info.outgoing, func(n int) bool { return n == int(number) })
	slot.waiting = nil
	m.free = append(m.free, int(number)-1)
	if slot.channel != nil {
		slot.channel.close(byPeer)
	}
	m.collect(info)
}

func (m *Mux) receiveClose(r *compact.Reader) {
	number := r.Uint()
	if r.Err() != nil {
		m.violated("malformed close")
		return
	}
	end := m.remoteEnd(number)
	switch {
	case end == nil:
		m.stats.UnknownChannel++
	case end.channel != nil:
		end.channel.close(byPeer)
	default:
		// Closed while its open waits for a handler. The other side keeps the number until it has an answer.
		info, n := end.identity, int(number)
		info.incoming = slices.DeleteFunc(info.incoming, func(i int) bool { return i == n })
		m.reject(n)
	}
}
