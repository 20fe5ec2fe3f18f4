package hyperdht

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A dial's handshake: the dial finds nodes that know the server, and sends message 1 through them.

// finding is the state of a dial's search for nodes that lead to the server.
type finding struct {
	begun      bool             // else only known addresses are tried
	relays     []netip.AddrPort // known or guessed before the query
	tried      []netip.AddrPort
	candidates []netip.AddrPort
	slots      int // attempts that may still start
	running    int
	query      *rpc.Query // nil when it is over
	passes     int        // left after the current one
	answered   bool       // by any DHT node
	attempts   int
}

// find starts up to two handshakes at a time through nodes that know the server, one more for the relays
// that are known before.
func (c *connector) find() {
	c.relays = slices.Clone(c.opts.RelayAddrs)
	if len(c.relays) == 0 {
		c.relays = slices.Clone(c.p.hints.known.get(c.remote))
	}
	if e, ok := c.p.cfg.Store.Get(c.target); ok && e.Relay.IsValid() {
		c.relays = []netip.AddrPort{e.Relay} // it announced to this very node
	}
	c.candidates = slices.DeleteFunc(slices.Clone(c.relays), func(a netip.AddrPort) bool { return !c.strands(a) }) // after the search
	c.relays = slices.DeleteFunc(c.relays, c.strands)
	c.slots = connectParallel
	if len(c.relays) > 0 {
		c.passes = 1
		c.running++
		c.tryRelays(c.relays)
	}
	c.ask(c.relays)
}

// tryRelays tries known relays one after the other; the first failing one ends the row.
func (c *connector) tryRelays(left []netip.AddrPort) {
	if len(left) == 0 || !c.in(dialFinding) {
		c.running--
		c.next()
		return
	}
	c.tried = append(c.tried, left[0])
	c.attemptThen(left[0], func(ok bool) {
		if !ok {
			left = left[:1]
		}
		c.tryRelays(left[1:])
	})
}

// ask runs a FIND_PEER query, seeded with nodes if there are any.
func (c *connector) ask(seeds []netip.AddrPort) {
	known, found := seeds, false
	var q *rpc.Query
	q = c.p.rpc.Query(rpc.QueryConfig{
		Target: c.target, Command: wire.CmdFindPeer, Nodes: seeds, Retries: connectQueryRetries, Group: c.group,
		NearestFirst: true, Enough: c.enough, Found: func() bool { return found },
		OnReply: func(r *rpc.Reply) {
			if _, err := wire.ParsePeer(r.Value); r.Value == nil || err != nil {
				return
			}
			found = true
			c.note(AttemptEvent{Step: AttemptRecord, Node: r.From})
			if !slices.Contains(known, r.From) && !slices.Contains(c.candidates, r.From) && len(c.candidates) < maxCandidates {
				c.candidates = append(c.candidates, r.From)
				c.next()
			}
		},
		OnDone: func(err error) {
			c.query = nil
			c.answered = c.answered || q.Answers() > 0
			if c.conn.answered {
				return // and so the query was ended
			}
			c.note(AttemptEvent{Step: AttemptSearched, Err: err})
			if err != nil && c.attempts == 0 && c.running == 0 && c.passes == 0 && c.known.pending == 0 {
				c.fail(err)
				return
			}
			c.next()
		},
	})
	c.query = q
}

// enough reports whether one more relay waits while as many handshakes are under way as may be. Looking for further ones
// would take most of the requests of a dial, of which a scraper makes thousands when it starts.
func (c *connector) enough() bool { return c.slots == 0 && len(c.candidates) > 0 }

// next starts waiting attempts while there are slots, and moves on when nothing is left to wait for.
func (c *connector) next() {
	if !c.in(dialFinding) {
		return
	}
	for c.slots > 0 && len(c.candidates) > 0 {
		i := slices.IndexFunc(c.candidates, func(a netip.AddrPort) bool { return !c.strands(a) })
		if i < 0 && (c.query != nil || c.running > 0) {
			break // the search may find others
		}
		node := c.candidates[max(i, 0)]
		c.candidates = slices.Delete(c.candidates, max(i, 0), max(i, 0)+1)
		c.tried = append(c.tried, node)
		c.attempts++
		c.slots--
		c.running++
		c.attemptThen(node, func(bool) {
			c.slots++
			c.running--
			c.next()
		})
	}
	if c.query != nil && !c.enough() {
		rpc.Continue(c.query)
	}
	if c.query != nil || len(c.candidates) > 0 {
		return
	}
	switch {
	case c.running > 0 && (c.attempts > 0 || c.passes == 0):
		// wait for them
	case c.passes > 0:
		c.passes--
		c.ask(nil)
	case c.known.pending > 0:
		// wait for them, too
	case c.attempts > 0:
		c.fail(ErrPeerConnectionFailed)
	case c.answered:
		c.fail(ErrPeerNotFound)
	default:
		c.fail(c.noNode())
	}
}

// strands reports whether a node has led earlier dials of this key to the server and to no connection.
func (c *connector) strands(node netip.AddrPort) bool {
	return c.p.hints.strands(c.remote, node)
}

// noNode returns the error of a dial to which no DHT node answers.
func (c *connector) noNode() error {
	switch {
	case len(c.p.host.Addrs()) == 0:
		return ErrNoIPv4
	case len(c.known.addrs) > 0:
		return ErrNoKnownAddr
	case c.p.rpc.Alone():
		return ErrPeerNotFound // a network of this node alone, which does not know the key
	}
	return ErrNoDHTNode
}

func (c *connector) attemptThen(node netip.AddrPort, done func(ok bool)) {
	c.attempt(node, nil, func() { done(c.conn.answered) })
}

// attempt sends message 1 through a node, from the main socket unless another one is given. done runs when
// the attempt has failed or has become the connection's handshake.
func (c *connector) attempt(node netip.AddrPort, sock host.Socket, done func()) {
	req := wire.Handshake{Mode: wire.FromClient, Noise: c.message}
	c.note(AttemptEvent{Step: AttemptHandshake, Node: node})
	c.p.rpc.Request(rpc.RequestOptions{
		To: node, Command: wire.CmdPeerHandshake, Target: &c.target, Value: req.Append(nil),
		Socket: sock, Follows: true, Group: c.group, Peer: slices.Contains(c.known.addrs, node),
	}, func(r rpc.Reply, err error) {
		if err != nil {
			c.unanswered(node, err)
			done()
			return
		}
		c.receiveHandshake(node, sock, r, done)
	})
}

// unanswered records that an attempt has failed, unless the handshake is done.
func (c *connector) unanswered(node netip.AddrPort, err error) {
	if c.in(dialFinding) {
		c.note(AttemptEvent{Step: AttemptUnanswered, Node: node, Err: err})
	}
}

// receiveHandshake reads an answer to message 1, and calls done once that has been handled. An invalid one only fails its attempt: the
// Noise state stays valid for the others, so a lying relay cannot prevent a connection.
func (c *connector) receiveHandshake(node netip.AddrPort, sock host.Socket, r rpc.Reply, done func()) {
	m, err := wire.ParseHandshake(r.Value)
	if err != nil || m.Mode != wire.Reply || r.From != node || len(m.Noise) == 0 {
		c.badReply(node)
		done()
		return
	}
	hs, message2 := c.noise, bytes.Clone(m.Noise)
	r.Value, m.Noise = nil, nil // borrowed for this turn
	c.replies.add(func() {
		var plain []byte
		var err error
		read := func() {
			switch {
			case !c.in(dialFinding): // another answer was the first, or the dial has ended
			case err != nil:
				c.badReply(node)
			default:
				c.handshakeDone(sock, r, m.PeerAddr, plain)
			}
			done()
			c.replies.next()
		}
		if !c.in(dialFinding) {
			read()
			return
		}
		c.p.host.Compute(func() { plain, err = hs.ReadMessage(message2) }, read)
	})
}

// badReply counts an invalid answer.
func (c *connector) badReply(node netip.AddrPort) {
	if c.in(dialFinding) {
		c.p.stats.HandshakesInvalid++
		c.unanswered(node, ErrBadHandshakeReply)
	}
}

// handshakeDone begins to look for a way to a server that has answered: r is the answer, plain its payload, and seen the server's address
// as the node that answered sees it, invalid if that is the server itself. sock is the one that sent message 1, nil for the main one.
func (c *connector) handshakeDone(sock host.Socket, r rpc.Reply, seen netip.AddrPort, plain []byte) {
	payload, err := wire.ParseNoisePayload(plain)
	switch {
	case err != nil || payload.Version != 1 || payload.Error == wire.ErrorVersionMismatch:
		c.fail(ErrServerIncompatible)
		return
	case payload.Error != wire.ErrorNone || payload.UDX == nil:
		c.fail(ErrServerError)
		return
	}
	c.result, _ = c.noise.Result()
	c.raw.Expect(secret.Opening(secret.Responder, c.result))
	c.raw.GuessRTT(r.RTT) // the way over the relay, and so an upper bound; with repetitions a loose one
	c.become(dialSearching)
	c.conn.answered = true
	c.stopHeadStart()
	c.take(payload, r.From, r.To, seen)
	c.note(AttemptEvent{Step: AttemptAnswered, Node: r.From, Addr: c.serverAddr, Seen: r.To, Theirs: kindOf(payload.Firewall)})
	c.endQuery()
	c.race = race{conn: c.conn, raw: c.raw, remoteID: payload.UDX.ID}
	c.conn.onProof = c.proven
	// The other attempts are not needed any more. Their callbacks run, and find the handshake done.
	c.group.Cancel()
	c.group = c.p.rpc.NewCallGroup()
	switch {
	case c.early != nil:
		c.relayLater()
		c.early.path = c.pathOf(c.early.sock, c.early.to) // of which more is known now
		c.answeredOn(*c.early)
		c.conn.ways.leave(WayUnneeded, PathLAN, PathDirect, PathPunched)
	case !seen.IsValid() && c.opts.Paths != RelayOnly:
		if sock == nil {
			sock = c.p.rpc.Socket()
		}
		c.relayLater()
		c.conn.ways.leave(WayUnneeded, PathLAN, PathPunched)
		c.found(way{sock, r.From, PathDirect})
	default:
		c.findPath()
	}
}
