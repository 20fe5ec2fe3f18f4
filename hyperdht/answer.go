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

// The handshake of an incoming attempt: message 1 is read, and message 2 written. The Diffie-Hellman operations of both leave the loop, and
// the attempt may be dropped meanwhile: evicted, or with its server.

// read begins to read message 1.
func (ic *incoming) read() {
	ic.become(incomingReading)
	hs := noise.NewResponder(ic.s.cfg.Keys, ic.s.p.drawn())
	message1 := []byte(ic.key)
	var plain []byte
	var err error
	ic.s.p.intake.compute(func() { plain, err = hs.ReadMessage(message1) }, func() {
		if ic.in(incomingReading) {
			ic.readDone(hs, plain, err)
		}
	})
}

// readDone asks the firewall about a caller and, if it agrees, prepares the answer. err is that of reading message 1.
func (ic *incoming) readDone(hs *noise.Handshake, plain []byte, err error) {
	p := ic.s.p
	if err != nil {
		p.stats.HandshakesInvalid++
		ic.refuse()
		return
	}
	payload, err := wire.ParseNoisePayload(plain)
	if err != nil {
		p.stats.HandshakesInvalid++
		ic.refuse()
		return
	}
	ic.payload = &payload
	ic.attemptTrace.key = hs.RemoteStatic()
	ic.attemptTrace.note(AttemptEvent{Step: AttemptReceived, Node: ic.node, Addr: ic.clientAddr, Theirs: kindOf(payload.Firewall)})
	if admit := ic.s.cfg.Admit; admit != nil && !admit(hs.RemoteStatic(), publicPayload(ic.payload), ic.clientAddr) {
		ic.block()
		return
	}
	if !p.intake.hold(ic) {
		ic.s.forget(ic) // so that it may come again
		return
	}
	p.intake.again(ic, ic.other)
	if later := ic.s.cfg.AdmitLater; later != nil {
		ic.ask(later, hs)
		return
	}
	ic.admitted(hs)
}

// admitted prepares the answer to a caller that the application admits.
func (ic *incoming) admitted(hs *noise.Handshake) {
	p := ic.s.p
	if rule := ic.s.cfg.Paths; rule != nil {
		if ic.paths = rule(hs.RemoteStatic()); ic.over() {
			return // the rule has closed the server
		}
	}
	ic.become(incomingPreparing)
	if ic.s.cfg.HideLocalAddrs || ic.paths == RelayOnly {
		ic.answer(hs, nil)
		return
	}
	p.local.validated(func(local []netip.AddrPort) {
		switch {
		case ic.over():
		case ic.s.quiet():
			ic.refuse()
		default:
			ic.answer(hs, local)
		}
	})
}

// refuse sends no answer, to retransmissions neither as long as there is room to remember the attempt.
func (ic *incoming) refuse() {
	ic.attemptTrace.note(AttemptEvent{Step: AttemptRefused, Node: ic.node, Addr: ic.clientAddr})
	ic.settle()
	ic.decide(nil)
}

// draft is message 2 while it is written.
type draft struct {
	hs      *noise.Handshake
	refusal wire.PayloadError
	isOpen  bool             // the state of this node in it
	local   []netip.AddrPort // our addresses, as far as the caller may know them

	reply []byte
	err   error
}

// answer begins to write message 2.
func (ic *incoming) answer(hs *noise.Handshake, local []netip.AddrPort) {
	p := ic.s.p
	refusal := wire.ErrorNone
	switch {
	case ic.payload.Version != 1:
		refusal = wire.ErrorVersionMismatch
	case ic.payload.UDX == nil, ic.paths == RelayOnly && ic.payload.RelayThrough == nil && len(ic.s.cfg.RelayThrough) == 0:
		refusal = wire.ErrorAborted
	}
	if refusal == wire.ErrorNone {
		ic.raw = p.cfg.Streams.New(ic.firewall)
		ic.raw.Confine(nil)
		ic.raw.OnClose(func(error) { ic.rawClosed() })
	}
	if relays := ic.s.cfg.RelayThrough; len(relays) > 0 && ic.paths != DirectOnly && refusal == wire.ErrorNone {
		ic.choose(p, relays)
	}
	public, isOpen := p.rpc.RemoteAddr()
	payload := ic.message2(refusal, public, isOpen, local)
	d := &draft{hs: hs, refusal: refusal, isOpen: isOpen, local: local}
	ic.become(incomingAnswering)
	p.intake.compute(func() { d.reply, d.err = hs.WriteMessage(payload) }, func() {
		if ic.in(incomingAnswering) {
			ic.written(d)
		}
	})
}

// written sends message 2 and chooses the path that the NATs of both sides allow.
func (ic *incoming) written(d *draft) {
	p := ic.s.p
	if d.err != nil {
		p.stats.HandshakesInvalid++
		ic.refuse()
		return
	}
	keys, _ := d.hs.Result()
	ic.keys = &keys
	if ic.raw != nil {
		ic.raw.Expect(secret.Opening(secret.Initiator, keys))
	}
	defer ic.decide(d.reply)
	if d.refusal != wire.ErrorNone {
		ic.settle()
		return
	}

	if ic.paths == RelayOnly {
		if ic.mayJoinRelay() {
			ic.startRelay()
		}
		ic.become(incomingWaiting)
		return
	}
	if ic.payload.Firewall == wire.FirewallOpen || ic.direct {
		sock := p.rpc.Socket()
		if ic.direct {
			sock = ic.socket
		}
		p.stats.PunchesOpen++
		remoteID := ic.payload.UDX.ID
		relay, join := ic.relayOffer()
		if !ic.direct && !ic.mayJoinRelay() {
			ic.holdRelay()
		}
		ic.onSocket(sock, ic.clientAddr, PathDirect)
		if ic.accepted != nil && !ic.direct && relay != (id.PublicKey{}) && ic.heldRelay == nil {
			ic.reserveRelay(ic.accepted, relay, join, remoteID)
		}
		return
	}
	ic.relayLater = !ic.eager && !d.isOpen && !ic.s.cfg.NeverPunch
	switch {
	case ic.relayLater:
	case ic.mayJoinRelay():
		ic.startRelay()
	default:
		ic.holdRelay()
	}
	switch {
	case ic.onSameLAN(d.local):
		// The caller comes over the LAN or punches. The answer names our normal mapping, not the puncher's,
		// so that the caller sees that we share a public address.
		ic.setupPuncher()
	case !d.isOpen && !ic.s.cfg.NeverPunch:
		ic.viaPunch = ic.setupPuncher()
	}
	ic.become(incomingWaiting)
}

func (ic *incoming) message2(refusal wire.PayloadError, public netip.AddrPort, isOpen bool, local []netip.AddrPort) []byte {
	m := wire.NoisePayload{
		Version:      1,
		Error:        refusal,
		UDX:          &wire.UDXInfo{ReusableSocket: ic.s.cfg.ReusableSocket},
		SecretStream: &wire.SecretStreamInfo{},
	}
	if ic.raw != nil {
		m.UDX.ID = ic.raw.ID()
	}
	switch {
	case ic.paths == RelayOnly:
	case isOpen:
		m.Firewall = wire.FirewallOpen
		m.Addrs4 = append(m.Addrs4, public)
	default:
		m.Holepunch = &wire.HolepunchInfo{ID: uint64(ic.id), Relays: ic.s.announcer.relays}
	}
	m.Addrs4 = append(m.Addrs4, local...)
	if relays := ic.s.announcer.relayAddrs; len(relays) > 0 {
		m.RelayAddrs = relays
	}
	m.RelayThrough = ic.named()
	return m.Append(nil)
}

// onSameLAN reports whether the caller has the same public address and offers a private one in this node's network.
func (ic *incoming) onSameLAN(local []netip.AddrPort) bool {
	if !ic.behindOneAddress() || ic.s.cfg.HideLocalAddrs {
		return false
	}
	var private []netip.AddrPort
	for _, a := range ic.payload.Addrs4[:min(len(ic.payload.Addrs4), maxAddrs)] {
		if kad.IsPrivate(a.Addr()) {
			private = append(private, a)
		}
	}
	_, ok := kad.MatchLAN(local, private)
	return ok
}

func (ic *incoming) setupPuncher() bool {
	p := ic.s.p
	ic.requests = p.rpc.NewCallGroup()
	u, err := newPuncher(ic.attemptTrace, ic.requests, responder, ic.payload.Firewall)
	if err != nil {
		return false
	}
	ic.box = wire.NewPunchBox(ic.keys.HolepunchSecret, p.host.Rand())
	u.guarded = ic.s.cfg.AdmitPunch != nil
	ic.puncher = u
	if ic.eager {
		u.sample()
	}
	u.onConnect = func(s host.Socket, from netip.AddrPort) { ic.onSocket(s, from, PathPunched) }
	u.onAbort = ic.abort
	return true
}
