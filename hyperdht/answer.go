package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The handshake of an incoming attempt: message 1 is read, and message 2 written.

// read reads message 1, asks the firewall and, if both agree, prepares the answer.
func (h *incoming) read() {
	p := h.s.p
	hs := noise.NewResponder(h.s.cfg.Keys, p.host.Rand())
	plain, err := hs.ReadMessage([]byte(h.key))
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	payload, err := wire.ParseNoisePayload(plain)
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	h.payload = &payload
	h.attemptTrace.key = hs.RemoteStatic()
	h.attemptTrace.note(AttemptEvent{Step: AttemptReceived, Node: h.node, Addr: h.clientAddr, Theirs: kindOf(payload.Firewall)})
	if admit := h.s.cfg.Admit; admit != nil && !admit(hs.RemoteStatic(), publicPayload(h.payload), h.clientAddr) {
		p.stats.HandshakesBlocked++
		h.refuse()
		return
	}
	if rule := h.s.cfg.Paths; rule != nil {
		h.paths = rule(hs.RemoteStatic())
	}
	if !p.intake.hold(h) {
		h.s.forget(h) // so that it may come again
		return
	}
	h.become(incomingPreparing)
	if h.s.cfg.HideLocalAddrs || h.paths == RelayOnly {
		h.answer(hs, nil)
		return
	}
	p.local.validated(func(local []netip.AddrPort) {
		switch {
		case h.over():
		case h.s.quiet():
			h.refuse()
		default:
			h.answer(hs, local)
		}
	})
}

// refuse sends no answer, to retransmissions neither as long as there is room to remember the attempt.
func (h *incoming) refuse() {
	h.attemptTrace.note(AttemptEvent{Step: AttemptRefused, Node: h.node, Addr: h.clientAddr})
	h.settle()
	h.decide(nil)
}

// answer writes message 2 and chooses the path that the NATs of both sides allow.
func (h *incoming) answer(hs *noise.Handshake, local []netip.AddrPort) {
	p := h.s.p
	refusal := wire.ErrorNone
	switch {
	case h.payload.Version != 1:
		refusal = wire.ErrorVersionMismatch
	case h.payload.UDX == nil, h.paths == RelayOnly && h.payload.RelayThrough == nil && len(h.s.cfg.RelayThrough) == 0:
		refusal = wire.ErrorAborted
	}
	if refusal == wire.ErrorNone {
		h.raw = p.cfg.Streams.New(h.firewall)
		h.raw.Confine(nil)
		h.raw.OnClose(func(error) { h.rawClosed() })
	}
	if relays := h.s.cfg.RelayThrough; len(relays) > 0 && h.paths != DirectOnly && refusal == wire.ErrorNone {
		h.choose(p, relays)
	}
	public, isOpen := p.rpc.RemoteAddr()
	reply, err := hs.WriteMessage(h.message2(refusal, public, isOpen, local))
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	keys, _ := hs.Result()
	h.keys = &keys
	if h.raw != nil {
		h.raw.Expect(secret.Opening(secret.Initiator, keys))
	}
	defer h.decide(reply)
	if refusal != wire.ErrorNone {
		h.settle()
		return
	}

	if h.paths == RelayOnly {
		if h.mayJoinRelay() {
			h.startRelay()
		}
		h.become(incomingWaiting)
		return
	}
	if h.payload.Firewall == wire.FirewallOpen || h.direct {
		sock := p.rpc.Socket()
		if h.direct {
			sock = h.socket
		}
		p.stats.PunchesOpen++
		remoteID := h.payload.UDX.ID
		relay, join := h.relayOffer()
		if !h.direct && !h.mayJoinRelay() {
			h.holdRelay()
		}
		h.onSocket(sock, h.clientAddr, PathDirect)
		if h.accepted != nil && !h.direct && relay != (id.PublicKey{}) && h.heldRelay == nil {
			h.reserveRelay(h.accepted, relay, join, remoteID)
		}
		return
	}
	h.relayLater = !h.eager && !isOpen && !h.s.cfg.NeverPunch
	switch {
	case h.relayLater:
	case h.mayJoinRelay():
		h.startRelay()
	default:
		h.holdRelay()
	}
	switch {
	case h.onSameLAN(local):
		// The caller comes over the LAN or punches. The answer names our normal mapping, not the puncher's,
		// so that the caller sees that we share a public address.
		h.setupPuncher()
	case !isOpen && !h.s.cfg.NeverPunch:
		h.viaPunch = h.setupPuncher()
	}
	h.become(incomingWaiting)
}

func (h *incoming) message2(refusal wire.PayloadError, public netip.AddrPort, isOpen bool, local []netip.AddrPort) []byte {
	m := wire.NoisePayload{
		Version:      1,
		Error:        refusal,
		UDX:          &wire.UDXInfo{ReusableSocket: h.s.cfg.ReusableSocket},
		SecretStream: &wire.SecretStreamInfo{},
	}
	if h.raw != nil {
		m.UDX.ID = h.raw.ID()
	}
	switch {
	case h.paths == RelayOnly:
	case isOpen:
		m.Firewall = wire.FirewallOpen
		m.Addrs4 = append(m.Addrs4, public)
	default:
		m.Holepunch = &wire.HolepunchInfo{ID: uint64(h.id), Relays: h.s.announcer.relays}
	}
	m.Addrs4 = append(m.Addrs4, local...)
	if relays := h.s.announcer.relayAddrs; len(relays) > 0 {
		m.RelayAddrs = relays
	}
	m.RelayThrough = h.named()
	return m.Append(nil)
}

// onSameLAN reports whether the caller has the same public address and offers a private one in this node's network.
func (h *incoming) onSameLAN(local []netip.AddrPort) bool {
	if !h.behindOneAddress() || h.s.cfg.HideLocalAddrs {
		return false
	}
	var private []netip.AddrPort
	for _, a := range h.payload.Addrs4[:min(len(h.payload.Addrs4), maxAddrs)] {
		if kad.IsPrivate(a.Addr()) {
			private = append(private, a)
		}
	}
	_, ok := kad.MatchLAN(local, private)
	return ok
}

func (h *incoming) setupPuncher() bool {
	p := h.s.p
	h.requests = p.rpc.NewCallGroup()
	u, err := newPuncher(h.attemptTrace, h.requests, false, h.payload.Firewall)
	if err != nil {
		return false
	}
	h.box = wire.NewPunchBox(h.keys.HolepunchSecret, p.host.Rand())
	h.puncher = u
	if h.eager {
		u.sample()
	}
	u.onConnect = func(s host.Socket, from netip.AddrPort) { h.onSocket(s, from, PathPunched) }
	u.onAbort = h.abort
	return true
}
