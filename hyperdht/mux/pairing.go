package mux

// identityKey names a channel for both sides.
type identityKey struct{ protocol, id string }

func keyOf(protocol string, id []byte) identityKey {
	return identityKey{protocol: protocol, id: string(id)}
}

// identity pairs the opens of both sides that have the same protocol and id.
type identity struct {
	key      identityKey
	open     int        // channels open or opening here
	outgoing []int      // our numbers that the other side has not answered
	incoming []int      // numbers of the other side that wait for a local channel
	taken    []*Channel // channels that took one of those and become open when the handler is finished
	pairing  int        // handlers that are not finished
}

// identity returns the entry of a key.
func (m *Mux) identity(key identityKey) *identity {
	info := m.identities[key]
	if info == nil {
		info = &identity{key: key}
		m.identities[key] = info
	}
	return info
}

// collect removes an unused identity.
func (m *Mux) collect(info *identity) {
	if info.open == 0 && info.pairing == 0 && len(info.outgoing) == 0 && len(info.incoming) == 0 {
		delete(m.identities, info.key)
	}
}

// Opened reports whether a channel of this protocol and id is open or opening on this side.
func (m *Mux) Opened(protocol string, id []byte) bool {
	info := m.identities[keyOf(protocol, id)]
	return info != nil && info.open > 0
}

// Handle sets the handler for channels that the other side opens and this side has not opened. With a nil id it
// handles all ids that have no handler of their own. The handler accepts by opening the channel.
func (m *Mux) Handle(protocol string, id []byte, f func(*Offer)) {
	m.handlers[keyOf(protocol, id)] = f
}

// Unhandle removes a handler.
func (m *Mux) Unhandle(protocol string, id []byte) { delete(m.handlers, keyOf(protocol, id)) }

// Offer is an open of the other side that waits for an answer. Opening a channel of its protocol and id accepts
// it; what is not accepted when the handler is finished is rejected.
type Offer struct {
	mux  *Mux
	info *identity
	held bool
	done bool
}

// Protocol returns the protocol of the channel.
func (o *Offer) Protocol() string { return o.info.key.protocol }

// ID returns a copy of the id of the channel, empty for none.
func (o *Offer) ID() []byte { return []byte(o.info.key.id) }

// Hold keeps the offer open when the handler returns, until Release. The messages of the other side are kept
// meanwhile, and the pipe is paused when they become many. Call it in the handler.
func (o *Offer) Hold() { o.held = true }

// Release finishes a handler that holds the offer: an accepted channel becomes open, and the callbacks for that
// run in this call; anything else is rejected. Calling it again is harmless.
func (o *Offer) Release() {
	if o.done || !o.held {
		return
	}
	o.held = false
	o.finish()
}

// finish settles the opens of an identity after a handler.
func (o *Offer) finish() {
	m, info := o.mux, o.info
	if o.done || m.dead {
		return
	}
	o.done = true
	info.pairing--
	for len(info.taken) > 0 && !m.dead {
		c := info.taken[0]
		info.taken = info.taken[1:]
		if !c.closed {
			end := m.remote[c.remoteID]
			handshake := end.handshake
			end.handshake = nil
			c.complete(handshake)
		}
	}
	if info.pairing > 0 || m.dead {
		return
	}
	for len(info.incoming) > 0 {
		number := info.incoming[0]
		info.incoming = info.incoming[1:]
		m.reject(number)
	}
	m.collect(info)
}

// offer calls the handler for an open that matches no local channel. number is the other side's, and end is
// its entry.
func (m *Mux) offer(info *identity, end *remoteEnd, number int, handshake []byte) {
	f := m.handlers[info.key]
	if f == nil {
		f = m.handlers[identityKey{protocol: info.key.protocol}]
	}
	if f == nil || m.offers >= maxOffers {
		m.reject(number)
		m.collect(info)
		return
	}
	end.offered, end.identity = true, info
	end.handshake = append([]byte{}, handshake...)
	end.cost = len(handshake)
	m.held += end.cost
	m.offers++
	info.incoming = append(info.incoming, number)
	info.pairing++
	o := &Offer{mux: m, info: info}
	f(o)
	if !o.held {
		o.finish()
	}
}

// hold keeps a message for a channel that is not paired yet.
func (m *Mux) hold(end *remoteEnd, msgType uint64, payload []byte) {
	cost := messageCost + len(payload)
	if m.held+cost > maxHeld {
		m.violated("too much sent before the channel was answered")
		return
	}
	end.messages = append(end.messages, heldMessage{msgType: msgType, payload: append([]byte{}, payload...)})
	end.cost += cost
	m.held += cost
	if m.held > pauseAt && !m.paused {
		m.paused = true
		m.pipe.Pause()
	}
}

// release ends the wait of an offered number and frees its held messages.
func (m *Mux) release(end *remoteEnd) {
	end.offered, end.identity, end.handshake, end.messages = false, nil, nil, nil
	m.offers--
	m.held -= end.cost
	end.cost = 0
	if m.paused && m.held <= pauseAt && !m.dead {
		m.paused = false
		m.pipe.Resume()
	}
}

// reject answers an open of the other side with a reject.
func (m *Mux) reject(number int) {
	m.dropRemote(number)
	m.stats.Rejected++
	m.control(controlReject, number)
}

// dropRemote frees a number of the other side.
func (m *Mux) dropRemote(number int) {
	end := m.remote[number]
	if end == nil {
		return
	}
	delete(m.remote, number)
	if end.offered {
		m.release(end)
	}
}
