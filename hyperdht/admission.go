package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
)

// Admission is a caller of a server with ListenOptions.AdmitLater that waits for the decision. Its methods are called on the loop, in the
// handler or later; the first call counts. After AdmissionPatience the caller counts as rejected, as it does when the server closes or
// its room is needed for others. The zero Admission waits for nothing, and serves to test a handler.
type Admission struct {
	// Remote is the caller's key, which it has proven, unless the handshake was recorded and is repeated by another one.
	Remote id.PublicKey
	// Payload is the caller's description of itself.
	Payload *HandshakePayload
	// From is the caller's address, as its relay sees it: see ListenOptions.Admit.
	From netip.AddrPort

	ic *incoming
	hs *noise.Handshake
}

func (a *Admission) undecided() bool { return a.ic != nil && a.ic.in(incomingAsking) }

// Accept answers the caller's handshake.
func (a *Admission) Accept() {
	if a.undecided() {
		a.ic.admitted(a.hs)
	}
}

// Reject leaves the caller without an answer, as ListenOptions.Admit does that returns false.
func (a *Admission) Reject() {
	if a.undecided() {
		a.ic.block()
	}
}

// block rejects a caller on behalf of the application.
func (ic *incoming) block() {
	ic.s.p.stats.HandshakesBlocked++
	ic.refuse()
}
