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

// session is a server's side of one connection attempt, from message 1 of the handshake until a path
// appears or 10 s after the attempt has failed (hyperdht lib/server.js, _addHandshake).
type session struct {
	machine[sessionState]
	s     *Server
	trail trail
	id    int
	key   string // the bytes of message 1
	paths PathRule
	arrival
	admission
	// allowance limits what the caller's datagrams make this node send, answers and packets of the stream alike: whoever sent
	// them may have forged their source, or invented the address that a relay would name.
	allowance udx.Allowance

	pendingReply
	payload *wire.NoisePayload // what the caller said; nil before it is read, and once nothing can come of the attempt
	keys    *noise.Result      // likewise
	raw     *stream.Stream     // until a direct path has been found, or none will be
	punchSide
	relaying

	accepted *Connection // once there is a path
	opening  machine[openingState]
	conn     *Connection // accepted, if its first path was over a relay
}

type sessionState uint8

const (
	sessionArrived sessionState = iota
	sessionQueued
	sessionPreparing
	sessionWaiting
	sessionPunching
	sessionBusy
	sessionJoining
	sessionRelayed
	sessionRemembered
	sessionForgotten
)

var sessionTable = &table[sessionState]{Name: "session", States: []rule[sessionState]{
	sessionArrived: {
		Name: "arrived", Why: "is queued, read or dropped in the same turn",
		Next: []sessionState{sessionQueued, sessionPreparing, sessionRemembered, sessionForgotten},
	},
	sessionQueued: {
		Name: "queued", Limit: callerPatience,
		Next: []sessionState{sessionPreparing, sessionRemembered, sessionForgotten},
	},
	sessionPreparing: {
		Name: "preparing", Limit: localValidation, EndedBy: "the check of our own addresses",
		Next: []sessionState{sessionWaiting, sessionRemembered, sessionForgotten},
	},
	sessionWaiting: {
		Name: "waiting", Limit: prepunchTimeout,
		Next: []sessionState{sessionPunching, sessionBusy, sessionJoining, sessionRelayed, sessionRemembered, sessionForgotten},
	},
	sessionPunching: {
		Name: "punching", Limit: guessLimit, EndedBy: "the puncher",
		Next: []sessionState{sessionJoining, sessionRemembered, sessionForgotten},
	},
	sessionBusy: {
		Name: "busy", Limit: maxRetryAfter + queueGrace,
		Next: []sessionState{sessionBusy, sessionPunching, sessionJoining, sessionRelayed, sessionRemembered, sessionForgotten},
	},
	sessionJoining: {
		Name: "joining", Limit: relayTimeout, EndedBy: "the relay path",
		Next: []sessionState{sessionRemembered, sessionForgotten},
	},
	sessionRelayed: {
		Name: "relayed", Limit: searchLimit,
		Next: []sessionState{sessionPunching, sessionBusy, sessionRemembered, sessionForgotten},
	},
	sessionRemembered: {Name: "remembered", Limit: sessionClearWait, Next: []sessionState{sessionForgotten}},
	sessionForgotten:  {Name: "forgotten"},
}}

// passed ends a state at its deadline.
func (h *session) passed(s sessionState) {
	switch s {
	case sessionQueued:
		h.s.p.stats.Refused.Queue++
		h.s.forget(h)
	case sessionRemembered:
		h.s.forget(h)
	default:
		h.abort()
	}
}

// settled reports whether the attempt has come to its end.
func (h *session) settled() bool { return h.in(sessionRemembered, sessionForgotten) }

// answered calls f once the reply is known, or is known to be silence.
func (h *session) answered(f func()) {
	if !h.in(sessionArrived, sessionQueued, sessionPreparing) {
		f()
		return
	}
	h.wait(f)
}

// send sends an answer, unless it exceeds the allowance.
func (h *session) send(s step, r *rpc.Request, sock host.Socket) {
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
func (h *session) proven(from netip.Addr) bool {
	return h.verified(from) || h.clientAddr.Addr() == from && h.s.announcer.isRelay(h.node)
}

// abort ends an attempt that led nowhere, unless a relay carries the connection or may still do so.
func (h *session) abort() {
	h.endPuncher()
	switch {
	case h.conn != nil:
		h.settle()
	case h.relayPath != nil:
		h.become(sessionJoining)
	case h.raw != nil:
		h.s.p.stats.SessionsAborted++
		h.trail.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr})
		h.raw.Destroy(nil)
	}
}

// rawClosed hears of the end of a raw stream that never became a connection.
func (h *session) rawClosed() {
	if h.raw == nil {
		return
	}
	h.raw = nil
	h.endPuncher()
	h.settle()
}

// unopened reports whether the caller has a connection that is not open yet: it counts until that opens or ends.
func (h *session) unopened() bool { return h.accepted != nil && !h.accepted.open && !h.accepted.closed }

// settle ends the attempt. Retransmissions of message 1 are answered for a while.
func (h *session) settle() {
	if h.raw == nil {
		h.payload, h.keys = nil, nil
	}
	if !h.unopened() {
		h.s.p.intake.release(h)
	}
	if !h.settled() {
		h.become(sessionRemembered)
		h.s.p.intake.remember(h)
	}
}

// evict gives a caller up for another one. What it has open stays open.
func (h *session) evict() {
	switch c := h.accepted; {
	case c == nil:
		h.trail.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr, Err: ErrCrowdedOut})
		h.drop()
	case c.open:
		h.abort() // the search for a better path
	default:
		c.Destroy(ErrCrowdedOut)
	}
}

// drop forgets the session, and ends what has no connection yet, at once.
func (h *session) drop() {
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
