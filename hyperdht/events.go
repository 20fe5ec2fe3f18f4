package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// AttemptStep is one step of making a connection, or of its end.
type AttemptStep uint8

// The steps, in the order in which they usually come.
const (
	// Those of the side that dials:

	// AttemptStarted: the search for the key begins.
	AttemptStarted AttemptStep = iota
	// AttemptRecord: Node holds the key's record, and so leads to the server.
	AttemptRecord
	// AttemptSearched: all nodes near the key were asked, or Err says why not.
	AttemptSearched
	// AttemptHandshake: our handshake has left for the server, through Node.
	AttemptHandshake
	// AttemptUnanswered: nothing that makes sense came back through Node, see Err.
	AttemptUnanswered
	// AttemptAnswered: the server's handshake came back through Node, which sees the server at Addr and us at
	// Seen. Theirs is what the server says of its NAT; unknown is usual, it finds out when it has to.
	AttemptAnswered
	// AttemptWaiting: we are reachable, so the server is to come to us.
	AttemptWaiting
	// AttemptLAN: the server shares our public address, so its local address Addr is pinged.
	AttemptLAN
	// AttemptLANFailed: nobody answered there.
	AttemptLANFailed
	// AttemptProbing: the probe round begins: through Node both sides tell each other about their NATs.
	AttemptProbing
	// AttemptProbed: one such message was answered. Ours and Theirs are the NATs as they are known now.
	AttemptProbed
	// AttemptAgreed: the server punches, too.
	AttemptAgreed

	// Those of both sides:

	// AttemptPunching: the probes begin. Ours and Theirs decide how.
	AttemptPunching
	// AttemptPunchFailed: hole punching is given up, see Err.
	AttemptPunchFailed
	// AttemptRelay: the blind relay with key Relay is asked to carry the connection.
	AttemptRelay
	// AttemptRelayPaired: it does.
	AttemptRelayPaired
	// AttemptRelayFailed: it does not, or does no longer.
	AttemptRelayFailed
	// AttemptPath: packets go by Path to Addr from now on. A relayed connection may find a better path later.
	AttemptPath
	// AttemptTried: packets go by Path to Addr, too, until the other side answers on one of the ways.
	AttemptTried
	// AttemptFirstPacket: the first data of the other side has arrived.
	AttemptFirstPacket
	// AttemptOpen: it was decrypted, so the other side is who it should be.
	AttemptOpen
	// AttemptWay: a way to the server that was considered has the Outcome. All of them are reported when the connection opens, or
	// fails after the server has answered the handshake; one whose outcome changes later is reported again. Addr is invalid where
	// no address is known, Tried is when the first packet left on it, and Answered when the first sign of life came.
	AttemptWay
	// AttemptClosed: the connection is over, or never was one. PacketsReceived and PacketsSent are what its stream
	// has seen.
	AttemptClosed

	// Those of the side that is dialled:

	// AttemptReceived: somebody's handshake came in, through Node or from itself. Theirs is what it says of its
	// NAT.
	AttemptReceived
	// AttemptRefused: the firewall does not let it in, so it gets no answer; or it makes no sense.
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

// String is the step in words.
func (s AttemptStep) String() string { return attemptSteps[s] }

// AttemptEvent is what a node tells its host's trace about the making of connections. Fields that a step has no use
// for are zero.
type AttemptEvent struct {
	// Attempt numbers the attempts of a node, dialled and received ones.
	Attempt uint64
	// Step is what has happened; it says what the other fields mean.
	Step AttemptStep
	// Key is the other side's; zero while a caller has not proven one.
	Key id.PublicKey
	// Node is the DHT node that the step is about.
	Node netip.AddrPort
	// Addr is an address of the other side, Seen one of ours as others see it.
	Addr, Seen netip.AddrPort
	// Relay is the key of the blind relay.
	Relay id.PublicKey
	// Ours and Theirs are the NATs in front of the two sockets that are to meet.
	Ours, Theirs NATKind
	// Path is the path that the step is about.
	Path Path
	// Err is why a step failed; nil where it did not.
	Err error

	// Outcome is that of a way, Tried when the first packet left on it, Answered when the first came; zero for never.
	Outcome         WayOutcome
	Tried, Answered host.Instant

	// PacketsSent and PacketsReceived are those of a connection that is over.
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

// trail names an attempt in the trace of a host.
type trail struct {
	p       *peering
	attempt uint64
	key     id.PublicKey
}

func (p *peering) newTrail(key id.PublicKey) trail {
	p.attempts++
	return trail{p, p.attempts, key}
}

// note tells the trace of a step.
func (t *trail) note(e AttemptEvent) {
	e.Attempt, e.Key = t.attempt, t.key
	t.p.host.Trace(e)
}

// kindOf is the kind of NAT that a peer says it has; later kinds count as random, as in the original.
func kindOf(f wire.Firewall) NATKind { return NATKind(min(f, wire.FirewallRandom)) }
