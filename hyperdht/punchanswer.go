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
func (ic *incoming) receiveHolepunch(r *rpc.Request, m wire.Holepunch, answer func(payload []byte, sock host.Socket)) {
	if ic.box == nil {
		return
	}
	remote, ok := ic.box.Open(m.Payload)
	if !ok {
		ic.s.p.stats.HolepunchesInvalid++
		return
	}
	ic.s.p.intake.answered(ic)
	if ic.relayLater {
		ic.relayLater = false
		if ic.raw != nil { // the attempt is not over
			ic.startRelay()
		}
	}
	u := ic.puncher
	if u == nil || u.over() {
		return
	}
	latest := ic.advance(remote.Round)
	if remote.Error != wire.ErrorNone {
		ic.answerAbort(wire.ErrorAborted, answer)
		return
	}
	viaRelay := ic.s.announcer.isRelay(r.From)
	token := ic.box.Token(m.PeerAddr.Addr())
	if r.Socket == u.socket() {
		u.nat.add(r.To, r.From)
	}
	if latest {
		var verified netip.Addr
		if viaRelay && remote.RemoteToken != nil && *remote.RemoteToken == token {
			verified = m.PeerAddr.Addr()
		}
		u.updateRemote(remote, m.PeerAddr, verified)
		ic.nats.update(u.kinds())
	}
	conclude := func() {
		ic.conclude(remote, m.PeerAddr, answerTokens(viaRelay, token), answer)
	}
	analyze := u.analyze
	if ic.in(incomingBusy) { // some time has passed
		analyze = func(done func(bool)) { u.renewed(func() { u.analyze(done) }) }
	}
	analyze(func(stable bool) {
		switch {
		case u.over():
		case stable || u.remotePunching:
			conclude()
		default:
			u.analyzeOrReopen(func(stable bool) {
				switch {
				case u.over():
				case !stable:
					ic.answerAbort(wire.ErrorAborted, answer)
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
func (ic *incoming) conclude(remote wire.HolepunchPayload, peer netip.AddrPort, token *[32]byte, answer func([]byte, host.Socket)) {
	u := ic.puncher
	vetoed := u.remotePunching && ic.punchVetoed()
	switch {
	case u.over():
		return // the application has closed the server
	case vetoed:
		ic.answerAbort(wire.ErrorAborted, answer)
		return
	}
	// Fast mode: the caller has opened its NAT for our mapping of this socket, or needs none opened, so one probe may
	// suffice.
	fast := u.consistent() && remote.RemoteAddr.IsValid() && slices.Contains(u.nat.addrs(), remote.RemoteAddr)
	if (fast || remote.Firewall == wire.FirewallOpen) && (u.remotePunching || ic.s.cfg.AdmitPunch == nil) {
		u.probe(peer)
	}
	reply := wire.HolepunchPayload{Round: ic.round}
	if u.remotePunching {
		wait, ok := ic.admitPunch(remote)
		if !ok {
			reply.Error = wire.ErrorTryLater
			if remote.TakesRetryAfter {
				reply.TakesRetryAfter, reply.RetryAfter = true, uint64(wait/time.Millisecond)
			}
		}
		switch {
		case !ok && ic.relayPath == nil && (!remote.TakesRetryAfter || wait > queuePatience):
			ic.giveUp(reply, answer)
			return
		case !ok && remote.TakesRetryAfter:
			ic.becomeFor(incomingBusy, wait+queueGrace)
		case !ok: // the relay carries the connection meanwhile, and the caller asks again
			ic.becomeFor(incomingBusy, busyPatience)
		case !u.punch():
			ic.answerAbort(wire.ErrorAborted, answer)
			return
		case !ic.in(incomingPunching):
			ic.become(incomingPunching)
		}
	}
	if u.nat.firewall() != wire.FirewallUnknown {
		u.nat.freeze()
	}
	reply.Firewall, reply.Addrs, reply.Punching = u.nat.firewall(), u.nat.addrs(), u.punching()
	reply.Token, reply.RemoteToken, reply.FastProbes = token, remote.Token, true
	answer(ic.box.Seal(reply), u.socket())
}

// admitPunch reports whether the punch may begin, which for one that guesses ports depends on other punches. If not, the caller
// should ask again after retryAfter.
func (ic *incoming) admitPunch(remote wire.HolepunchPayload) (retryAfter time.Duration, ok bool) {
	if u := ic.puncher; !u.usesRandom() || u.punching() {
		return 0, true
	}
	return ic.s.p.punchQueue.admit(punchWaiter{
		peer: ic.attemptTrace.key, timed: remote.TakesRetryAfter, known: ic.known, relayed: ic.relayPath != nil, attempt: ic,
	})
}

// answerAbort sends the caller an abort with a reason.
func (ic *incoming) answerAbort(reason wire.PayloadError, answer func([]byte, host.Socket)) {
	ic.giveUp(wire.HolepunchPayload{Error: reason, Round: ic.round}, answer)
}

// giveUp ends the attempt with an answer from the main socket, which outlives the puncher.
func (ic *incoming) giveUp(m wire.HolepunchPayload, answer func([]byte, host.Socket)) {
	sealed := ic.box.Seal(m)
	sock := ic.s.p.rpc.Socket()
	if m.Error == wire.ErrorTryLater {
		ic.s.p.punchQueue.keep(ic)
	}
	if ic.puncher != nil {
		ic.puncher.fail()
	}
	answer(sealed, sock)
}

// leavePuncher ends the punch that has led to the path, or that another path has made unnecessary.
func (ic *incoming) leavePuncher(won bool) {
	if won && ic.puncher != nil {
		ic.puncher.win()
	}
	ic.endPuncher()
}

func (ic *incoming) endPuncher() {
	if ic.puncher != nil {
		ic.nats.update(ic.puncher.kinds())
		ic.puncher.close()
		ic.puncher = nil
		ic.s.p.punchQueue.leave(ic)
	}
	if ic.requests != nil {
		ic.requests.Cancel()
		ic.requests = nil
	}
}
