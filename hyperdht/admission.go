package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
)

// Admission is a caller of a server with ListenOptions.AdmitLater that waits for the decision. Its methods are called on the loop, in the
// handler or later; the first call counts. After AdmissionPatience the caller counts as rejected, as it does when the server closes or
// its room is needed for others: OnOver reports that. The zero Admission waits for nothing, and serves to test a handler.
type Admission struct {
	// Remote is the caller's key, which it has proven, unless the handshake was recorded and is repeated by another one.
	Remote id.PublicKey
	// Payload is the caller's description of itself.
	Payload *HandshakePayload
	// From is the caller's address, as its relay sees it: see ListenOptions.Admit.
	From netip.AddrPort

	ic   *incoming // while it waits
	hs   *noise.Handshake
	over func(error)
}

// Accept answers the caller's handshake.
func (a *Admission) Accept() {
	if ic, hs := a.ic, a.hs; ic != nil {
		a.decided()
		ic.admitted(hs)
	}
}

// Reject leaves the caller without an answer, as ListenOptions.Admit does that returns false.
func (a *Admission) Reject() {
	if ic := a.ic; ic != nil {
		a.decided()
		ic.block()
	}
}

// OnOver sets the handler that runs when the caller no longer waits though neither Accept nor Reject was called, which have no effect
// then. Its argument is ErrTimeout after AdmissionPatience, ErrCrowdedOut if the caller was dropped in favour of others, and
// ErrConnectionClosed if the server was closed or its node suspended. It runs once, at the end of a turn, and not at all after a
// decision. It belongs into the handler of AdmitLater: later, the wait may be over.
func (a *Admission) OnOver(f func(error)) { a.over = f }

// decided ends the wait.
func (a *Admission) decided() {
	a.ic.asked = nil
	a.ic, a.hs, a.over = nil, nil, nil
}

// ask asks the application.
func (ic *incoming) ask(decide func(*Admission), hs *noise.Handshake) {
	ic.become(incomingAsking)
	ic.asked = &Admission{Remote: hs.RemoteStatic(), Payload: publicPayload(ic.payload), From: ic.clientAddr, ic: ic, hs: hs}
	decide(ic.asked)
}

// unask ends the wait for the application's decision, if there is one.
func (ic *incoming) unask(err error) {
	a := ic.asked
	if a == nil {
		return
	}
	over := a.over
	a.decided()
	if over != nil {
		ic.s.p.host.Defer(func() { over(err) })
	}
}

// block rejects a caller on behalf of the application.
func (ic *incoming) block() {
	ic.s.p.stats.HandshakesBlocked++
	ic.refuse()
}
