package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The parts of an incoming attempt.

// arrival is the route of message 1.
type arrival struct {
	direct     bool           // without a relay in between
	socket     host.Socket    // on which it arrived
	node       netip.AddrPort // through which message 1 came; invalid if directly
	clientAddr netip.AddrPort // the caller, as its relay sees it
	serverAddr netip.AddrPort // our address, as the relay sees it
}

func arrivalOf(r *rpc.Request, m wire.Handshake) arrival {
	a := arrival{direct: !m.PeerAddr.IsValid(), socket: r.Socket, node: r.From, clientAddr: m.PeerAddr, serverAddr: r.To}
	if a.direct {
		a.node, a.clientAddr = netip.AddrPort{}, r.From
	}
	return a
}

// behindOneAddress reports whether the caller is seen at our own address.
func (a *arrival) behindOneAddress() bool { return a.clientAddr.Addr() == a.serverAddr.Addr() }

// pendingReply is the answer to message 1, and the routes on which copies of the message came and that wait for it.
type pendingReply struct {
	reply   []byte // nil is silence
	waiting []func()
}

// maxRelayedAnswers bounds the routes on which one message 1 may wait for its answer; callers use three.
const maxRelayedAnswers = 16

// wait runs f once the answer is decided, unless too many wait.
func (p *pendingReply) wait(f func()) {
	if len(p.waiting) < maxRelayedAnswers {
		p.waiting = append(p.waiting, f)
	}
}

// decide sets the reply, nil for silence, and runs the waiting functions.
func (p *pendingReply) decide(reply []byte) {
	p.reply = reply
	waiting := p.waiting
	p.waiting = nil
	for _, f := range waiting {
		f()
	}
}

// punchSide is the server's side of a punch.
type punchSide struct {
	box      *wire.PunchBox // nil before there may be a punch
	puncher  *puncher
	viaPunch bool // the answer leaves from the puncher's socket, so that the caller learns its mapping
	requests *rpc.CallGroup
	round    uint64
	nats     natKinds // as far as a punch has found them
}

// verified reports whether a host has echoed a token of the punch.
func (p *punchSide) verified(host netip.Addr) bool {
	return p.puncher != nil && p.puncher.isVerified(host)
}

// replySocket returns the socket for the answer; nil is the socket on which the request came in.
func (p *punchSide) replySocket() host.Socket {
	if p.viaPunch && p.puncher != nil && !p.puncher.over() {
		return p.puncher.socket()
	}
	return nil
}

// advance records the number of a round of the caller. It reports false for one that is older than the last.
func (p *punchSide) advance(round uint64) bool {
	p.round = max(p.round, round)
	return round == p.round
}

// relaying is the server's side of a path over a blind relay.
type relaying struct {
	relayChoice
	relayPath  *relayPath
	relayLater bool              // the relay is joined once the caller has proven to have received our answer
	heldRelay  func(*Connection) // likewise, where no round of a punch shows that; nil if it is not held back
}

// carries reports whether a packet came over the relay.
func (r *relaying) carries(sock host.Socket, from netip.AddrPort) bool {
	return r.relayPath != nil && r.relayPath.carries(sock, from)
}
