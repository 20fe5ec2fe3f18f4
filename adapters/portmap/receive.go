package portmap

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// receive takes a datagram of the client's socket.
func (c *Client) receive(from netip.AddrPort, b []byte) {
	if from != c.router {
		c.status.Stats.Unexpected++
		return
	}
	a, err := parse(b)
	switch {
	case err != nil:
		c.status.Stats.Malformed++
	case !c.expects(&a):
		c.status.Stats.Unexpected++
	case c.state == stateClosing:
		r := c.pending
		c.cancel()
		r.failed()
	default:
		c.status.Stats.Answers++
		c.answered(&a)
	}
}

// expects reports whether an answer belongs to the pending request.
func (c *Client) expects(a *answer) bool {
	r := c.pending
	switch {
	case r == nil:
		return false
	case r.protocol == PCP && a.result == resultVersion && a.version != pcpVersion:
		return true // of a router that has another version, which knows nothing of the request
	case r.protocol == PCP:
		return a.version == pcpVersion && a.nonce == c.mapping.nonce && a.protocol == protocolUDP && a.internal == c.cfg.Port
	case a.version != pmpVersion || a.opcode != r.opcode:
		return false
	}
	return a.result != 0 || r.opcode == opAddress || a.internal == c.cfg.Port
}

// answered takes the answer to the pending request.
func (c *Client) answered(a *answer) {
	r := c.pending
	c.cancel()
	if r.protocol == PCP && a.version != pcpVersion {
		if c.state == stateMapped { // the router has another software than before
			c.forget()
			c.become(stateAsking)
		}
		c.mapping.protocol = NATPMP
		c.askAddress()
		return
	}
	c.status.Protocol, c.mapping.protocol = r.protocol, r.protocol
	if c.clock.restarted(c.h.Now(), a.epoch) {
		c.status.Stats.Restarts++
	}
	switch {
	case a.result != 0:
		c.refused(a)
	case r.opcode == opAddress && r.protocol == NATPMP:
		c.mapping.address = a.external.Addr()
		if c.usable(c.mapping.address) {
			c.askPMP()
		}
	case a.external.Port() == 0 || a.lifetime == 0:
		c.lose("the router's answer has no port or lifetime", restAfterSilence)
	default:
		external := a.external
		if r.protocol == NATPMP {
			external = netip.AddrPortFrom(c.mapping.address, external.Port())
		}
		if c.usable(external.Addr()) {
			c.mapped(external, min(a.lifetime, maxLifetime))
		}
	}
}

func (c *Client) refused(a *answer) {
	c.status.Stats.Refused++
	pause := restAfterSilence
	if c.status.Protocol == PCP {
		pause = min(max(a.lifetime, minRest), maxRest)
	}
	c.lose(fmt.Sprintf("the router refuses: %s (%s result %d)", a.reason(), c.status.Protocol, a.result), pause)
}

// usable reports whether an external address can be reached from the internet. Otherwise the mapping is released.
func (c *Client) usable(external netip.Addr) bool {
	if isGlobal(external) {
		return true
	}
	c.status.Stats.Useless++
	c.status.Private = external
	c.sendRelease()
	c.lose(fmt.Sprintf("the router is behind a NAT itself: its external address is %v", external), restAfterSilence)
	return false
}

// mapped takes a mapping that was granted or renewed.
func (c *Client) mapped(external netip.AddrPort, life time.Duration) {
	m := &c.mapping
	changed := m.external != external
	if !m.external.IsValid() {
		c.status.Stats.Mappings++
	}
	now := c.h.Now()
	m.external, m.expires = external, now.Add(life)
	c.become(stateMapped)
	c.status.External, c.status.Lifetime, c.status.Expires, c.status.Problem = external, life, m.expires, ""
	// Between a half and five eighths of the lifetime (RFC 6887, section 11.2.1).
	wait := life/2 + time.Duration(host.DrawUint64(c.h.Rand())%uint64(life/8+1))
	c.timer = c.h.AfterFunc(max(wait, minRenewal), c.renew)
	if changed {
		c.report()
	}
}

// routerClock compares the clock of the router with that of this machine (RFC 6887, section 8.5).
type routerClock struct {
	epoch uint32
	at    host.Instant // zero before the first answer
}

// restarted takes the clock of an answer, and reports whether the router has lost its state since the last one.
func (r *routerClock) restarted(now host.Instant, epoch uint32) bool {
	before := *r
	r.epoch, r.at = epoch, now
	if before.at == 0 {
		return false
	}
	if int64(epoch)+1 < int64(before.epoch) {
		return true
	}
	ours, theirs := int64(now.Sub(before.at)/time.Second), int64(epoch)-int64(before.epoch)
	return ours+2 < theirs-theirs/16 || theirs+2 < ours-ours/16
}
