package hyperdht

import "net/netip"

// WriteRaw sends bytes on the stream below the encryption, as a peer that keeps to no protocol may.
func (c *Connection) WriteRaw(b []byte) { c.raw.Write(b) }

// Frame encrypts a message, to be written raw.
func (c *Connection) Frame(msg []byte) []byte {
	frame, err := c.sec.Append(nil, msg)
	if err != nil {
		panic(err)
	}
	return frame
}

// PreviewFrame is the frame of a message that Frame would return.
func (c *Connection) PreviewFrame(msg []byte) []byte {
	sec := *c.sec
	frame, err := sec.Append(nil, msg)
	if err != nil {
		panic(err)
	}
	return frame
}

// CallersThrough returns how many callers of the server count for a relay.
func (s *Server) CallersThrough(relay netip.Addr) (n int) {
	for _, h := range s.incoming {
		if h != nil && h.origin.relay == relay {
			n++
		}
	}
	return n
}

// ConnectionState is the state of a connection.
type ConnectionState uint8

const (
	connectionConnecting ConnectionState = iota
	connectionStarted
	connectionOpen
	connectionClosed
)

// ConnectionTable lists the states at the ends of turns: a way that is chosen by its first packet starts and opens in one.
var ConnectionTable = &table[ConnectionState]{Name: "connection", States: []rule[ConnectionState]{
	connectionConnecting: {Name: "connecting", Why: "until there is a path, or the search for one ends, which has limits", Next: []ConnectionState{connectionStarted, connectionOpen, connectionClosed}},
	connectionStarted:    {Name: "started", Why: "until the first packet of the other side has decrypted, or the stream below closes", Next: []ConnectionState{connectionOpen, connectionClosed}},
	connectionOpen:       {Name: "open", Why: "until both sides have ended, one destroys it, or nothing comes from the other", Next: []ConnectionState{connectionClosed}},
	connectionClosed:     {Name: "closed"},
}}

// State returns the state of the connection.
func (c *Connection) State() ConnectionState {
	switch {
	case c.closed:
		return connectionClosed
	case c.open:
		return connectionOpen
	case c.started:
		return connectionStarted
	}
	return connectionConnecting
}

// PairState is the state of a token at a relay, and of its pair.
type PairState uint8

const (
	pairWaiting PairState = iota
	pairActive
	pairEnded
)

// PairTable lists the states of pairs.
var PairTable = &table[PairState]{Name: "relay pair", States: []rule[PairState]{
	pairWaiting: {Name: "waiting", Limit: relayWaitTime, Next: []PairState{pairActive, pairEnded}},
	pairActive:  {Name: "active", Why: "until a side leaves or withdraws it, its room is needed, or it carries nothing for a minute", Next: []PairState{pairEnded}},
	pairEnded:   {Name: "ended"},
}}

// Pair is a pair of a relay.
type Pair struct {
	relay *RelayServer
	pair  *relayPair
}

// Pairs lists the pairs of a relay.
func (r *RelayServer) Pairs() (all []Pair) {
	for _, p := range r.pairs {
		all = append(all, Pair{r, p})
	}
	return all
}

// State returns the state of the pair.
func (p Pair) State() PairState {
	switch {
	case p.relay.pairs[p.pair.token] != p.pair:
		return pairEnded
	case p.pair.counts != nil:
		return pairActive
	}
	return pairWaiting
}
