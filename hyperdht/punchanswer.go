package hyperdht

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The server's side of hole punching (hyperdht lib/server.js): it answers the rounds of punching.go.

// receiveHolepunch takes part in one round of hole punching; answer is called at most once.
func (h *incoming) receiveHolepunch(r *rpc.Request, m wire.Holepunch, answer func(payload []byte, sock host.Socket)) {
	if h.box == nil {
		return
	}
	remote, ok := h.box.Open(m.Payload)
	if !ok {
		h.s.p.stats.HolepunchesInvalid++
		return
	}
	h.s.p.intake.answered(h)
	if h.relayLater {
		h.relayLater = false
		if h.raw != nil { // the attempt is not over
			h.startRelay()
		}
	}
	u := h.puncher
	if u == nil || u.over() {
		return
	}
	latest := h.advance(remote.Round)
	if remote.Error != wire.ErrorNone {
		h.answerAbort(wire.ErrorAborted, answer)
		return
	}
	viaRelay := h.s.announcer.isRelay(r.From)
	token := h.box.Token(m.PeerAddr.Addr())
	if r.Socket == u.socket() {
		u.nat.add(r.To, r.From)
	}
	if latest {
		var verified netip.Addr
		if viaRelay && remote.RemoteToken != nil && *remote.RemoteToken == token {
			verified = m.PeerAddr.Addr()
		}
		u.updateRemote(remote, m.PeerAddr, verified)
	}
	conclude := func() {
		h.conclude(remote, m.PeerAddr, answerTokens(viaRelay, token), answer)
	}
	analyze := u.analyze
	if h.in(incomingBusy) { // some time has passed
		analyze = func(reopen bool, done func(bool)) { u.renewed(func() { u.analyze(reopen, done) }) }
	}
	analyze(false, func(stable bool) {
		switch {
		case u.over():
		case stable || u.remotePunching:
			conclude()
		default:
			u.analyze(true, func(stable bool) {
				switch {
				case u.over():
				case !stable:
					h.answerAbort(wire.ErrorAborted, answer)
				default:
					conclude()
				}
			})
		}
	})
}

// answerTokens returns the token for relays we announced to only: they are trusted to have
// named the caller's real address.
func answerTokens(viaRelay bool, token [32]byte) *[32]byte {
	if !viaRelay {
		return nil
	}
	return &token
}

// conclude answers a round after our NAT was analyzed, and starts punching when the caller does.
func (h *incoming) conclude(remote wire.HolepunchPayload, peer netip.AddrPort, token *[32]byte, answer func([]byte, host.Socket)) {
	u := h.puncher
	// Fast mode: the caller has opened its NAT for our mapping of this socket, or needs none opened, so one probe may
	// suffice.
	fast := u.consistent() && remote.RemoteAddr.IsValid() && slices.Contains(u.nat.addrs(), remote.RemoteAddr)
	if fast || remote.Firewall == wire.FirewallOpen {
		u.probe(peer)
	}
	reply := wire.HolepunchPayload{Round: h.round}
	if u.remotePunching {
		wait, ok := h.admitPunch(remote)
		if !ok {
			reply.Error = wire.ErrorTryLater
			if remote.TakesRetryAfter {
				reply.TakesRetryAfter, reply.RetryAfter = true, uint64(wait/time.Millisecond)
			}
		}
		switch {
		case !ok && h.relayPath == nil && (!remote.TakesRetryAfter || wait > queuePatience):
			h.giveUp(reply, answer)
			return
		case !ok && remote.TakesRetryAfter:
			h.becomeFor(incomingBusy, wait+queueGrace)
		case !ok: // the relay carries the connection meanwhile, and the caller asks again
			h.becomeFor(incomingBusy, busyPatience)
		case !u.punch():
			h.answerAbort(wire.ErrorAborted, answer)
			return
		case !h.in(incomingPunching):
			h.become(incomingPunching)
		}
	}
	if u.nat.firewall() != wire.FirewallUnknown {
		u.nat.freeze()
	}
	reply.Firewall, reply.Addrs, reply.Punching = u.nat.firewall(), u.nat.addrs(), u.punching()
	reply.Token, reply.RemoteToken, reply.FastProbes = token, remote.Token, true
	answer(h.box.Seal(reply), u.socket())
}

// admitPunch reports whether the punch may begin, which for one that guesses ports depends on other punches. If not, the caller
// should ask again after retryAfter.
func (h *incoming) admitPunch(remote wire.HolepunchPayload) (retryAfter time.Duration, ok bool) {
	if u := h.puncher; !u.usesRandom() || u.punching() {
		return 0, true
	}
	return h.s.p.punchQueue.admit(punchWaiter{
		peer: h.attemptTrace.key, timed: remote.TakesRetryAfter, known: h.known, relayed: h.relayPath != nil, attempt: h,
	})
}

// answerAbort sends the caller an abort with a reason.
func (h *incoming) answerAbort(reason wire.PayloadError, answer func([]byte, host.Socket)) {
	h.giveUp(wire.HolepunchPayload{Error: reason, Round: h.round}, answer)
}

// giveUp ends the attempt with an answer from the main socket, which outlives the puncher.
func (h *incoming) giveUp(m wire.HolepunchPayload, answer func([]byte, host.Socket)) {
	sealed := h.box.Seal(m)
	sock := h.s.p.rpc.Socket()
	if m.Error == wire.ErrorTryLater {
		h.s.p.punchQueue.keep(h)
	}
	if h.puncher != nil {
		h.puncher.fail()
	}
	answer(sealed, sock)
}

// leavePuncher ends the punch that has led to the path, or that another path has made unnecessary.
func (h *incoming) leavePuncher(won bool) {
	if won && h.puncher != nil {
		h.puncher.win()
	}
	h.endPuncher()
}

func (h *incoming) endPuncher() {
	if h.puncher != nil {
		h.puncher.close()
		h.puncher = nil
		h.s.p.punchQueue.leave(h)
	}
	if h.requests != nil {
		h.requests.Cancel()
		h.requests = nil
	}
}
