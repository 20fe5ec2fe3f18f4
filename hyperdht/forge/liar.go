package forge

import (
	"io"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// RelayLie selects how a Liar treats handshakes that it should forward.
type RelayLie uint8

// The lies of relays. Hole-punch messages are dropped by all but Misname.
const (
	// Swallow drops handshakes.
	Swallow RelayLie = iota
	// Garble answers them with noise.
	Garble
	// Replay forwards the first handshake with a server, and answers all later ones with the server's reply to that one.
	Replay
	// Strand forwards handshakes as an honest relay does.
	Strand
	// Misname forwards handshakes and hole-punch messages, and names false addresses of the client to the server and of the
	// server to the client.
	Misname
	relayLies
)

// RelayLies lists all of them.
func RelayLies() []RelayLie {
	all := make([]RelayLie, relayLies)
	for i := range all {
		all[i] = RelayLie(i)
	}
	return all
}

// Falsehood selects the false part of a false address.
type Falsehood bool

// The falsehoods.
const (
	FalsePort        Falsehood = false
	FalseHostAndPort Falsehood = true
)

// Mask returns a false address for a true one, and the true one for a false one.
func Mask(a netip.AddrPort, f Falsehood) netip.AddrPort {
	ip := a.Addr().Unmap().As4()
	if f == FalseHostAndPort {
		ip[0] ^= 0x40
	}
	return netip.AddrPortFrom(netip.AddrFrom4(ip), a.Port()^0x0155)
}

// Liar is a DHT node of an attacker. Its datagrams have the form of the protocol and false contents: it tells requesters a false
// address of their own, names nodes of the attacker and addresses without a node as the closest, gives another token each time,
// claims to know every peer, and takes every record for itself.
type Liar struct {
	Self netip.AddrPort
	// Closer are the nodes that it names. The nearest to a target are not sorted out: all of them are false.
	Closer []netip.AddrPort
	// Hosts makes false addresses of requesters differ in the host, too.
	Hosts  bool
	Relays RelayLie
	Random io.Reader

	servers map[id.Target]netip.AddrPort // those that announced themselves here
	replies map[id.Target][]byte         // of servers to the first handshake, for Replay
}

// Sent is a datagram that a Liar sends.
type Sent struct {
	To      netip.AddrPort
	Payload []byte
}

// maxServers bounds what a Liar remembers.
const maxServers = 1024

// Receive returns the datagrams that a request is answered or forwarded with. Payloads are valid until the next call.
func (l *Liar) Receive(from netip.AddrPort, request []byte) []Sent {
	m, err := wire.ParseRequest(request)
	if err != nil {
		return nil
	}
	if m.Internal {
		return l.internal(from, &m)
	}
	if m.Target == nil {
		return nil
	}
	switch m.Command {
	case wire.CmdPeerHandshake:
		return l.handshake(from, &m)
	case wire.CmdPeerHolepunch:
		return l.holepunch(from, &m)
	case wire.CmdFindPeer:
		return l.answer(from, &m, l.record())
	case wire.CmdLookup:
		return l.answer(from, &m, wire.AppendLookupReply(nil, [][]byte{l.record()}, 0))
	case wire.CmdAnnounce:
		if len(l.servers) < maxServers {
			if l.servers == nil {
				l.servers, l.replies = map[id.Target]netip.AddrPort{}, map[id.Target][]byte{}
			}
			l.servers[*m.Target] = from
		}
	}
	return l.answer(from, &m, nil)
}

// internal answers PING, PING_NAT and FIND_NODE. DELAYED_PING and DOWN_HINT get no answer.
func (l *Liar) internal(from netip.AddrPort, m *wire.Request) []Sent {
	switch m.Command {
	case wire.CmdPing, wire.CmdFindNode:
		return l.answer(from, m, nil)
	case wire.CmdPingNAT:
		v, err := wire.ParsePingNAT(m.Value)
		if err != nil || v.Port == 0 {
			return nil
		}
		return l.answer(netip.AddrPortFrom(from.Addr(), v.Port), m, nil)
	}
	return nil
}

// answer is a response to a request.
func (l *Liar) answer(to netip.AddrPort, m *wire.Request, value []byte) []Sent {
	node := id.NodeIDOf(l.Self)
	r := wire.Response{TID: m.TID, To: Mask(to, Falsehood(l.Hosts)), ID: &node, Value: value}
	if m.Target != nil {
		r.Closer = l.Closer
		if !m.Internal {
			var token id.Token
			l.draw(token[:])
			r.Token = &token
		}
	}
	return []Sent{{to, r.Append(nil)}}
}

// record returns a peer record with an unused key and relays that do not exist.
func (l *Liar) record() []byte {
	var p wire.Peer
	l.draw(p.PublicKey[:])
	for range 3 {
		var b [6]byte
		l.draw(b[:])
		p.RelayAddrs = append(p.RelayAddrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{30 + b[0]%64, b[1], b[2], b[3]}), 1024+uint16(b[4])<<4))
	}
	return p.Append(nil)
}

func (l *Liar) draw(b []byte) {
	if _, err := io.ReadFull(l.Random, b); err != nil {
		panic("forge: no randomness: " + err.Error())
	}
}

// name returns the address that the liar names for a peer's.
func (l *Liar) name(a netip.AddrPort) netip.AddrPort {
	if l.Relays == Misname {
		return Mask(a, Falsehood(l.Hosts))
	}
	return a
}

// handshake lies about the way to a server.
func (l *Liar) handshake(from netip.AddrPort, m *wire.Request) []Sent {
	h, err := wire.ParseHandshake(m.Value)
	if err != nil || l.Relays == Swallow {
		return nil
	}
	reply := func(to netip.AddrPort, noise []byte, server netip.AddrPort) []Sent {
		node := id.NodeIDOf(l.Self)
		value := wire.Handshake{Mode: wire.Reply, Noise: noise, PeerAddr: server}.Append(nil)
		return []Sent{{to, wire.Response{TID: m.TID, To: l.name(to), ID: &node, Value: value}.Append(nil)}}
	}
	switch h.Mode {
	case wire.FromClient:
		server, known := l.servers[*m.Target]
		old := l.replies[*m.Target]
		switch {
		case l.Relays == Garble || !known:
			noise := make([]byte, 150)
			l.draw(noise)
			return reply(from, noise, Mask(from, FalseHostAndPort))
		case l.Relays == Replay && old != nil:
			return reply(from, old, server)
		}
		value := wire.Handshake{Mode: wire.FromRelay, Noise: h.Noise, PeerAddr: l.name(from)}.Append(nil)
		return l.forward(server, m, value)
	case wire.FromServer:
		if !h.PeerAddr.IsValid() {
			return nil
		}
		if l.Relays == Replay && l.replies != nil && l.replies[*m.Target] == nil {
			l.replies[*m.Target] = append([]byte(nil), h.Noise...)
		}
		return reply(l.name(h.PeerAddr), h.Noise, l.name(from))
	}
	return nil
}

// holepunch passes on what Misname has given false addresses.
func (l *Liar) holepunch(from netip.AddrPort, m *wire.Request) []Sent {
	h, err := wire.ParseHolepunch(m.Value)
	if err != nil || l.Relays != Misname || !h.PeerAddr.IsValid() {
		return nil
	}
	peer := l.name(h.PeerAddr)
	switch h.Mode {
	case wire.FromClient:
		h.Mode, h.PeerAddr = wire.FromRelay, l.name(from)
		return l.forward(peer, m, h.Append(nil))
	case wire.FromServer:
		node := id.NodeIDOf(l.Self)
		h.Mode, h.PeerAddr = wire.Reply, l.name(from)
		return []Sent{{peer, wire.Response{TID: m.TID, To: peer, ID: &node, Value: h.Append(nil)}.Append(nil)}}
	}
	return nil
}

// forward passes a request on.
func (l *Liar) forward(to netip.AddrPort, m *wire.Request, value []byte) []Sent {
	return []Sent{{to, wire.Request{TID: m.TID, To: to, Command: m.Command, Target: m.Target, Value: value}.Append(nil)}}
}

// Greeting is a ping that makes an honest node at an address ask for this one and take it into its table.
func (l *Liar) Greeting(to netip.AddrPort, transaction uint16) []byte {
	node := id.NodeIDOf(l.Self)
	return wire.Request{TID: transaction, To: to, ID: &node, Internal: true, Command: wire.CmdPing}.Append(nil)
}
