package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// A step is the reaction of a node to a PEER_HANDSHAKE or PEER_HOLEPUNCH message: drop it (the zero step), forward
// it as a request, or send a response. Both carry the tid, command and target of the message.
//
// The normal route of a message and back, with the peerAddress of each leg:
//
//	client ──FROM_CLIENT──▶ relay ──FROM_RELAY(client)──▶ server
//	client ◀──REPLY(server)── relay ◀──FROM_SERVER(client)──┘
type step struct {
	kind   stepKind
	to     netip.AddrPort
	value  []byte
	closer bool // a response that helps the asker to route, with closer nodes
}

type stepKind uint8

const (
	stepDrop stepKind = iota
	stepForward
	stepRespond
)

// relayHandshake is the step of a node on which no server for the target runs. relay is the address from which the server
// announced, invalid if it did not announce here (hyperdht lib/router.js).
func relayHandshake(m wire.Handshake, from, relay netip.AddrPort) step {
	switch m.Mode {
	case wire.FromClient:
		to := relay
		if m.RelayAddr.IsValid() {
			to = m.RelayAddr
		}
		if !to.IsValid() {
			return step{kind: stepRespond, to: from, closer: true}
		}
		fwd := wire.Handshake{Mode: wire.FromRelay, Noise: m.Noise, PeerAddr: from}
		return step{kind: stepForward, to: to, value: fwd.Append(nil)}
	case wire.FromRelay:
		if !relay.IsValid() {
			return step{}
		}
		fwd := wire.Handshake{Mode: wire.FromSecondRelay, Noise: m.Noise, PeerAddr: m.PeerAddr, RelayAddr: from}
		return step{kind: stepForward, to: relay, value: fwd.Append(nil)}
	case wire.FromServer:
		if !m.PeerAddr.IsValid() {
			return step{}
		}
		reply := wire.Handshake{Mode: wire.Reply, Noise: m.Noise, PeerAddr: from}
		return step{kind: stepRespond, to: m.PeerAddr, value: reply.Append(nil)}
	}
	return step{}
}

// handshakeWanted reports whether a server's node would answer a message of this form at all, so that no
// Diffie-Hellman is spent on others.
func handshakeWanted(m wire.Handshake) bool {
	switch m.Mode {
	case wire.FromClient, wire.FromRelay:
		return true
	case wire.FromSecondRelay:
		return m.RelayAddr.IsValid()
	}
	return false
}

// answerHandshake is the step of a server's node once the server has answered with Noise message 2.
func answerHandshake(m wire.Handshake, from netip.AddrPort, noise []byte) step {
	answer := wire.Handshake{Mode: wire.FromServer, Noise: noise, PeerAddr: m.PeerAddr}
	switch m.Mode {
	case wire.FromClient:
		reply := wire.Handshake{Mode: wire.Reply, Noise: noise}
		return step{kind: stepRespond, to: from, value: reply.Append(nil)}
	case wire.FromRelay:
		return step{kind: stepForward, to: from, value: answer.Append(nil)}
	case wire.FromSecondRelay:
		return step{kind: stepForward, to: m.RelayAddr, value: answer.Append(nil)}
	}
	return step{}
}

// relayHolepunch is the step of any node but for a FROM_RELAY message, which only the server's node answers.
func relayHolepunch(m wire.Holepunch, from, relay netip.AddrPort) step {
	switch m.Mode {
	case wire.FromClient:
		to := relay
		if m.PeerAddr.IsValid() {
			to = m.PeerAddr
		}
		if !to.IsValid() {
			return step{}
		}
		fwd := wire.Holepunch{Mode: wire.FromRelay, ID: m.ID, Payload: m.Payload, PeerAddr: from}
		return step{kind: stepForward, to: to, value: fwd.Append(nil)}
	case wire.FromServer:
		to := m.PeerAddr
		if !to.IsValid() {
			to = from // as the reference implementation does, though no caller waits there
		}
		reply := wire.Holepunch{Mode: wire.Reply, ID: m.ID, Payload: m.Payload, PeerAddr: from}
		return step{kind: stepRespond, to: to, value: reply.Append(nil)}
	}
	return step{}
}

// answerHolepunch is the step of a server's node once the incoming attempt has answered a FROM_RELAY message.
func answerHolepunch(m wire.Holepunch, from netip.AddrPort, payload []byte) step {
	answer := wire.Holepunch{Mode: wire.FromServer, Payload: payload, PeerAddr: m.PeerAddr}
	return step{kind: stepForward, to: from, value: answer.Append(nil)}
}
