package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// incoming is a server's side of one connection attempt, from message 1 of the handshake until a path
// is found or 10 s after the attempt has failed (hyperdht lib/server.js, _addHandshake).
type incoming struct {
	machine[incomingState]
	s            *Server
	attemptTrace attemptTrace
	id           int
	key          string // the bytes of message 1
	paths        PathRule
	arrival
	admission
	// allowance limits what the caller's datagrams make this node send, answers and packets of the stream alike: their
	// source may be forged, and the address that a relay names invented.
	allowance udx.Allowance

	pendingReply
	payload *wire.NoisePayload // of message 1; nil before it is read, and once the attempt has failed
	keys    *noise.Result      // likewise
	raw     *stream.Stream     // until a direct path has been found, or none will be
	punchSide
	relaying

	accepted *Connection // once there is a path
	opening  machine[openingState]
	conn     *Connection // accepted, if its first path was over a relay
}

type incomingState uint8

const (
	incomingArrived incomingState = iota
	incomingQueued
	incomingPreparing
	incomingWaiting
	incomingPunching
	incomingBusy
	incomingJoining
	incomingRelayed
	incomingRemembered
	incomingForgotten
)

var incomingTable = &table[incomingState]{Name: "caller", States: []rule[incomingState]{
	incomingArrived: {
		Name: "arrived", Why: "is queued, read or dropped in the same turn",
		Next: []incomingState{incomingQueued, incomingPreparing, incomingRemembered, incomingForgotten},
	},
	incomingQueued: {
		Name: "queued", Limit: callerPatience,
		Next: []incomingState{incomingPreparing, incomingRemembered, incomingForgotten},
	},
	incomingPreparing: {
		Name: "preparing", Limit: localValidation, EndedBy: "the check of our own addresses",
		Next: []incomingState{incomingWaiting, incomingRemembered, incomingForgotten},
	},
	incomingWaiting: {
		Name: "waiting", Limit: prepunchTimeout,
		Next: []incomingState{incomingPunching, incomingBusy, incomingJoining, incomingRelayed, incomingRemembered, incomingForgotten},
	},
	incomingPunching: {
		Name: "punching", Limit: guessLimit, EndedBy: "the puncher",
		Next: []incomingState{incomingJoining, incomingRemembered, incomingForgotten},
	},
	incomingBusy: {
		Name: "busy", Limit: maxRetryAfter + queueGrace,
		Next: []incomingState{incomingBusy, incomingPunching, incomingJoining, incomingRelayed, incomingRemembered, incomingForgotten},
	},
	incomingJoining: {
		Name: "joining", Limit: relayTimeout, EndedBy: "the relay path",
		Next: []incomingState{incomingRemembered, incomingForgotten},
	},
	incomingRelayed: {
		Name: "relayed", Limit: searchLimit,
		Next: []incomingState{incomingPunching, incomingBusy, incomingRemembered, incomingForgotten},
	},
	incomingRemembered: {Name: "remembered", Limit: sessionClearWait, Next: []incomingState{incomingForgotten}},
	incomingForgotten:  {Name: "forgotten"},
}}

// passed ends a state at its deadline.
func (h *incoming) passed(s incomingState) {
	switch s {
	case incomingQueued:
		h.s.p.stats.Refused.Queue++
		h.s.forget(h)
	case incomingRemembered:
		h.s.forget(h)
	default:
		h.abort()
	}
}

// settled reports whether the attempt has ended.
func (h *incoming) settled() bool { return h.in(incomingRemembered, incomingForgotten) }

// answered calls f once the reply, or that there will be none, is known.
func (h *incoming) answered(f func()) {
	if !h.in(incomingArrived, incomingQueued, incomingPreparing) {
		f()
		return
	}
	h.wait(f)
}

// send sends an answer, unless it exceeds the allowance.
func (h *incoming) send(s step, r *rpc.Request, sock host.Socket) {
	n := len(s.value) + messageOverhead
	if !h.allowance.Allows(n) {
		h.s.p.stats.AnswersWithheld++
		return
	}
	h.allowance.Send(n)
	h.s.p.perform(s, r, sock)
}

// proven reports whether a packet of the stream shows that the caller receives at the host where it came from: the stream's id
// was sent there through a relay that the server announced to, or the host has echoed a token of the punch.
func (h *incoming) proven(from netip.Addr) bool {
	return h.verified(from) || h.clientAddr.Addr() == from && h.s.announcer.isRelay(h.node)
}

// abort ends an attempt without a path, unless a relay carries the connection or may still do so.
func (h *incoming) abort() {
	h.endPuncher()
	switch {
	case h.conn != nil:
		h.settle()
	case h.relayPath != nil:
		h.become(incomingJoining)
	case h.raw != nil:
		h.s.p.stats.SessionsAborted++
		h.attemptTrace.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr})
		h.raw.Destroy(nil)
	}
}

// rawClosed is called at the end of a raw stream that never became a connection.
func (h *incoming) rawClosed() {
	if h.raw == nil {
		return
	}
	h.raw = nil
	h.endPuncher()
	h.settle()
}

// unopened reports whether the caller has a connection that is not open yet: it counts until that opens or ends.
func (h *incoming) unopened() bool {
	return h.accepted != nil && !h.accepted.open && !h.accepted.closed
}

// settle ends the attempt. Retransmissions of message 1 are answered for a while.
func (h *incoming) settle() {
	if h.raw == nil {
		h.payload, h.keys = nil, nil
	}
	if !h.unopened() {
		h.s.p.intake.release(h)
	}
	if !h.settled() {
		h.become(incomingRemembered)
		h.s.p.intake.remember(h)
	}
}

// evict drops a caller in favour of another one. An open connection stays open.
func (h *incoming) evict() {
	switch c := h.accepted; {
	case c == nil:
		h.attemptTrace.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr, Err: ErrCrowdedOut})
		h.drop()
	case c.open:
		h.abort() // the search for a better path
	default:
		c.Destroy(ErrCrowdedOut)
	}
}

// drop removes the attempt, and ends it at once if it has no connection yet.
func (h *incoming) drop() {
	h.s.forget(h)
	if h.raw != nil && h.conn == nil {
		raw := h.raw
		h.raw = nil
		raw.Destroy(nil)
	}
	h.endPuncher()
	if h.relayPath != nil && h.accepted == nil {
		h.relayPath.close()
	}
}
