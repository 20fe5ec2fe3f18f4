package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// AttemptStep is one step of a connection attempt, or the end of its connection.
type AttemptStep uint8

// The steps, in the order in which they usually come.
const (
	// Those of the side that dials:

	// AttemptStarted: the search for the key begins.
	AttemptStarted AttemptStep = iota
	// AttemptRecord: Node holds the key's record, and so leads to the server.
	AttemptRecord
	// AttemptSearched: all nodes near the key were queried, or the query failed with Err.
	AttemptSearched
	// AttemptHandshake: our handshake has left for the server, through Node.
	AttemptHandshake
	// AttemptUnanswered: no valid answer came back through Node, see Err.
	AttemptUnanswered
	// AttemptAnswered: the server's handshake came back through Node, which sees the server at Addr and us at
	// Seen. The server's NAT is as it claims: usually unknown, since servers classify it only when needed.
	AttemptAnswered
	// AttemptWaiting: we are reachable, so the server is expected to connect to us.
	AttemptWaiting
	// AttemptLAN: the server shares our public address, so its local address Addr is pinged.
	AttemptLAN
	// AttemptLANFailed: the ping was not answered.
	AttemptLANFailed
	// AttemptProbing: the probe round begins: through Node both sides exchange descriptions of their NATs.
	AttemptProbing
	// AttemptProbed: one such message was answered. The event has the kinds of both NATs as far as known.
	AttemptProbed
	// AttemptAgreed: the server punches, too.
	AttemptAgreed

	// Those of both sides:

	// AttemptPunching: the probes begin. The kinds of the two NATs select the strategy.
	AttemptPunching
	// AttemptPunchFailed: hole punching is given up, see Err.
	AttemptPunchFailed
	// AttemptRelay: the blind relay with key Relay is asked to carry the connection.
	AttemptRelay
	// AttemptRelayPaired: the relay has paired the two sides.
	AttemptRelayPaired
	// AttemptRelayFailed: the relay did not pair the sides, or was lost later.
	AttemptRelayFailed
	// AttemptPath: packets go by Path to Addr from now on. A relayed connection may find a better path later.
	AttemptPath
	// AttemptTried: packets go by Path to Addr, too, until the other side answers on one of the paths.
	AttemptTried
	// AttemptFirstPacket: the first data of the other side has arrived.
	AttemptFirstPacket
	// AttemptOpen: the data was decrypted, so the other side holds the expected key.
	AttemptOpen
	// AttemptWay: a way to the server that was considered has the Outcome. All of them are reported when the connection opens, or
	// fails after the server has answered the handshake; one whose outcome changes later is reported again. Addr is invalid where
	// no address is known, Tried is when the first packet left on it, and Answered when the first sign of life came.
	AttemptWay
	// AttemptClosed: the connection has closed, or the attempt has failed. PacketsReceived and PacketsSent count the packets of
	// its stream.
	AttemptClosed

	// Those of the side that is dialled:

	// AttemptReceived: a caller's handshake came in, through Node or directly. The caller's NAT is as it
	// claims.
	AttemptReceived
	// AttemptRefused: the firewall rejects the caller, or the handshake is malformed; there is no answer.
	AttemptRefused
	// AttemptAborted: the caller was answered and no path to it was found.
	AttemptAborted
)

var attemptSteps = [...]string{
	AttemptStarted: "started", AttemptRecord: "record", AttemptSearched: "searched", AttemptHandshake: "handshake",
	AttemptUnanswered: "unanswered", AttemptAnswered: "answered", AttemptWaiting: "waiting", AttemptLAN: "lan",
	AttemptLANFailed: "lan-failed", AttemptProbing: "probing", AttemptProbed: "probed", AttemptAgreed: "agreed",
	AttemptPunching: "punching", AttemptPunchFailed: "punch-failed", AttemptRelay: "relay", AttemptRelayPaired: "relay-paired",
	AttemptRelayFailed: "relay-failed", AttemptPath: "path", AttemptTried: "tried", AttemptFirstPacket: "first-packet", AttemptOpen: "open",
	AttemptWay:    "way",
	AttemptClosed: "closed", AttemptReceived: "received", AttemptRefused: "refused", AttemptAborted: "aborted",
}

// String returns the step as text.
func (s AttemptStep) String() string { return attemptSteps[s] }

// AttemptEvent is one step of a connection attempt in the host's trace. Fields that do not apply to a step
// are zero.
type AttemptEvent struct {
	// Attempt numbers the attempts of a node, dialled and received ones.
	Attempt uint64
	// Step is the kind of event; it determines the meaning of the other fields.
	Step AttemptStep
	// Key is the public key of the other side; zero while a caller has not proven one.
	Key id.PublicKey
	// Node is the DHT node involved.
	Node netip.AddrPort
	// Addr is an address of the other side, Seen one of this node as others see it.
	Addr, Seen netip.AddrPort
	// Relay is the key of the blind relay.
	Relay id.PublicKey
	// The kinds of NAT in front of the local socket and of the peer's.
	Ours, Theirs NATKind
	// Path is the path involved.
	Path Path
	// Err is the reason for a failed step; nil otherwise.
	Err error

	// Outcome is the outcome of a way, Tried the time of the first packet sent on it, Answered that of the first received; zero for
	// never.
	Outcome         WayOutcome
	Tried, Answered host.Instant

	// PacketsSent and PacketsReceived are the counters of a closed connection.
	PacketsSent, PacketsReceived uint64
}

// AppendText writes the event for logs and transcripts.
func (e AttemptEvent) AppendText(b []byte) ([]byte, error) {
	b = append(append(b, "connection "...), e.Step.String()...)
	if e.Key != (id.PublicKey{}) {
		b = append(append(b, " peer="...), e.Key.Short()...)
	}
	for _, a := range []struct {
		name string
		addr netip.AddrPort
	}{{" node=", e.Node}, {" addr=", e.Addr}, {" seen=", e.Seen}} {
		if a.addr.IsValid() {
			b = a.addr.AppendTo(append(b, a.name...))
		}
	}
	if e.Relay != (id.PublicKey{}) {
		b = append(append(b, " relay="...), e.Relay.Short()...)
	}
	switch e.Step {
	case AttemptProbed, AttemptPunching:
		b = append(append(b, " ours="...), e.Ours.String()...)
		b = append(append(b, " theirs="...), e.Theirs.String()...)
	case AttemptAnswered, AttemptReceived:
		b = append(append(b, " theirs="...), e.Theirs.String()...)
	}
	if e.Path != PathNone {
		b = append(append(b, " path="...), e.Path.String()...)
	}
	if e.Step == AttemptWay {
		b = append(append(b, " outcome="...), e.Outcome.String()...)
	}
	if e.Err != nil {
		b = append(append(b, " error="...), '"')
		b = append(append(b, e.Err.Error()...), '"')
	}
	return b, nil
}

// attemptTrace records the steps of one attempt in the trace of a host.
type attemptTrace struct {
	p       *peering
	attempt uint64
	key     id.PublicKey
}

func (p *peering) newAttemptTrace(key id.PublicKey) attemptTrace {
	p.attempts++
	return attemptTrace{p, p.attempts, key}
}

// note records a step.
func (t *attemptTrace) note(e AttemptEvent) {
	e.Attempt, e.Key = t.attempt, t.key
	t.p.host.Trace(e)
}

// kindOf returns the kind of NAT that a peer claims; unknown values count as random, as in the reference implementation.
func kindOf(f wire.Firewall) NATKind { return NATKind(min(f, wire.FirewallRandom)) }
