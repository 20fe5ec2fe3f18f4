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
	incomingReading
	incomingAsking
	incomingPreparing
	incomingAnswering
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
		Next: []incomingState{incomingQueued, incomingReading, incomingForgotten},
	},
	incomingQueued: {Name: "queued", Limit: callerPatience, Next: []incomingState{incomingReading, incomingForgotten}},
	incomingReading: {
		Name: "reading", Why: "the host ends each computation",
		Next: []incomingState{incomingAsking, incomingPreparing, incomingRemembered, incomingForgotten},
	},
	incomingAsking: {
		Name: "asking", Limit: AdmissionPatience,
		Next: []incomingState{incomingPreparing, incomingRemembered, incomingForgotten},
	},
	incomingPreparing: {
		Name: "preparing", Limit: localValidation, EndedBy: "the check of our own addresses",
		Next: []incomingState{incomingAnswering, incomingRemembered, incomingForgotten},
	},
	incomingAnswering: {
		Name: "answering", Why: "as for reading",
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
	incomingRemembered: {Name: "remembered", Limit: openTimeout, Next: []incomingState{incomingForgotten}},
	incomingForgotten:  {Name: "forgotten"},
}}

// passed ends a state at its deadline.
func (ic *incoming) passed(s incomingState) {
	switch s {
	case incomingQueued:
		ic.s.p.stats.Refused.Queue++
		ic.s.forget(ic)
	case incomingAsking:
		ic.unask(ErrTimeout)
		ic.block()
	case incomingRemembered:
		ic.s.forget(ic)
	default:
		ic.abort()
	}
}

// settled reports whether the attempt has ended.
func (ic *incoming) settled() bool { return ic.in(incomingRemembered, incomingForgotten) }

// answered calls f once the reply, or that there will be none, is known.
func (ic *incoming) answered(f func()) {
	if !ic.in(incomingArrived, incomingQueued, incomingReading, incomingAsking, incomingPreparing, incomingAnswering) {
		f()
		return
	}
	ic.wait(f)
}

// send sends an answer, unless it exceeds the allowance.
func (ic *incoming) send(s step, r *rpc.Request, sock host.Socket) {
	n := len(s.value) + messageOverhead
	if !ic.allowance.Allows(n) {
		ic.s.p.stats.AnswersWithheld++
		return
	}
	ic.allowance.Send(n)
	ic.s.p.perform(s, r, sock)
}

// proven reports whether a packet of the stream shows that the caller receives at the host where it came from: the stream's id
// was sent there through a relay that the server announced to, or the host has echoed a token of the punch.
func (ic *incoming) proven(from netip.Addr) bool {
	return ic.verified(from) || ic.clientAddr.Addr() == from && ic.s.announcer.isRelay(ic.node)
}

// abort ends an attempt without a path, unless a relay carries the connection or may still do so.
func (ic *incoming) abort() {
	ic.endPuncher()
	switch {
	case ic.conn != nil:
		ic.settle()
	case ic.relayPath != nil:
		ic.become(incomingJoining)
	case ic.raw != nil:
		ic.s.p.stats.SessionsAborted++
		ic.attemptTrace.note(AttemptEvent{Step: AttemptAborted, Addr: ic.clientAddr})
		ic.raw.Destroy(nil)
	}
}

// rawClosed is called at the end of a raw stream that never became a connection.
func (ic *incoming) rawClosed() {
	if ic.raw == nil {
		return
	}
	ic.raw = nil
	ic.endPuncher()
	ic.settle()
}

// unopened reports whether the caller has a connection that is not open yet: it counts until that opens or ends.
func (ic *incoming) unopened() bool {
	return ic.accepted != nil && !ic.accepted.open && !ic.accepted.closed
}

// settle ends the attempt. Retransmissions of message 1 are answered for a while, and as long as the caller has a connection that is not open:
// both would send to the caller's one stream if an attempt with other keys followed.
func (ic *incoming) settle() {
	if ic.raw == nil {
		ic.payload, ic.keys = nil, nil
	}
	wait := sessionClearWait
	if ic.unopened() {
		wait = openTimeout
	} else {
		ic.s.p.intake.release(ic)
	}
	if !ic.settled() {
		ic.becomeFor(incomingRemembered, wait)
		ic.s.p.intake.remember(ic)
	}
}

// evict drops a caller in favour of another one. An open connection stays open.
func (ic *incoming) evict() {
	switch c := ic.accepted; {
	case c == nil:
		ic.attemptTrace.note(AttemptEvent{Step: AttemptAborted, Addr: ic.clientAddr, Err: ErrCrowdedOut})
		if ic.asked != nil {
			ic.s.p.stats.Refused.Undecided++
			ic.unask(ErrCrowdedOut)
		}
		ic.drop()
	case c.open:
		ic.abort() // the search for a better path
	default:
		c.Destroy(ErrCrowdedOut)
	}
}

// drop removes the attempt, and ends it at once if it has no connection yet.
func (ic *incoming) drop() {
	ic.unask(ErrConnectionClosed)
	ic.s.forget(ic)
	if ic.raw != nil && ic.conn == nil {
		raw := ic.raw
		ic.raw = nil
		raw.Destroy(nil)
	}
	ic.endPuncher()
	if ic.relayPath != nil && ic.accepted == nil {
		ic.relayPath.close()
	}
}
