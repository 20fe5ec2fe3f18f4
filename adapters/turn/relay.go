package turn

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/ports/host"
)

// relay exchanges datagrams with peers through the allocation of a session.
//
// A peer can send only to allocations that have a permission for its IP address. It is asked for by the first datagram to the address, and
// that follows at once: a server carries out in order what comes over a stream. Datagrams are kept until the permission is granted, and
// those that were sent before the request that was granted are sent again: it was repeated, since the nonce was stale, another address of
// the batch is forbidden, or it was lost.
type relay struct {
	s        *session
	hosts    *lru[netip.Addr, *peerHost]
	held     int // datagrams
	channels map[uint16]*channel
	to       map[netip.AddrPort]*channel
	next     uint16 // channel number
	tidying  host.Timer

	asking  []*peerHost // permissions to ask for at the end of the turn
	out     []byte      // frames to send at the end of the turn
	ends    []int
	flushes bool // at the end of this turn
	flush   func()
}

// peerHost is an IP address of peers.
type peerHost struct {
	addr    netip.Addr
	asked   host.Instant // when the permission was asked for; zero for never
	granted host.Instant // until when it is
	usedAt  host.Instant
	refused host.Instant // until when it is; zero for not
	held    []datagram
}

// datagram is one that is kept until the permission for its peer is granted.
type datagram struct {
	to netip.AddrPort
	b  []byte
	at host.Instant // when it was sent
}

// channel is a short header for a peer.
type channel struct {
	number  uint16
	peer    netip.AddrPort
	bound   bool
	boundAt host.Instant // when it was asked for
	usedAt  host.Instant
}

func (r *relay) init(s *session) {
	*r = relay{
		s: s, hosts: newLRU[netip.Addr, *peerHost](maxHosts), channels: make(map[uint16]*channel), to: make(map[netip.AddrPort]*channel),
		next: firstChannel,
	}
	r.flush = r.sendFrames
}

func (r *relay) begin() { r.tidying = r.s.h.AfterFunc(tidy, r.tidy) }

func (r *relay) end() {
	if r.tidying != nil {
		r.tidying.Stop()
	}
}

// send sends a datagram to a peer.
func (r *relay) send(p *peer, b []byte) {
	h := r.s.h
	if r.s.link.congested() {
		h.stats.Congested++
		return
	}
	now := h.Now()
	at := r.permit(p.addr.Addr(), now)
	if at == nil {
		h.stats.Forbidden++
		return
	}
	h.stats.Sent++
	h.stats.SentBytes += uint64(len(b))
	if c := r.channelOf(p, now); c != nil && (!r.s.link.stream() || len(b) >= minStreamData) {
		r.out = appendChannelData(r.out, c.number, b)
		r.ends = append(r.ends, len(r.out))
		r.flushLater()
		return
	}
	r.indicate(p.addr, b)
	if !now.Before(at.granted) && r.held < maxHeld {
		r.held++
		at.held = append(at.held, datagram{p.addr, bytes.Clone(b), now})
	}
}

// indicate sends a datagram without a channel.
func (r *relay) indicate(to netip.AddrPort, b []byte) {
	var id transactionID
	host.Draw(r.s.h.Rand(), id[:])
	r.out = appendSend(r.out, id, to, b)
	r.ends = append(r.ends, len(r.out))
	r.flushLater()
}

// flushLater sends at the end of the turn.
func (r *relay) flushLater() {
	if !r.flushes {
		r.flushes = true
		r.s.h.Defer(r.flush)
	}
}

func (r *relay) sendFrames() {
	r.flushes = false
	if r.s.state == sessionUp {
		r.ask()
		r.s.link.send(r.out, r.ends)
	}
	r.out, r.ends, r.asking = r.out[:0], r.ends[:0], r.asking[:0]
}

// permit makes sure that a permission for an address was asked for. It returns nil if the server forbids the address.
func (r *relay) permit(a netip.Addr, now host.Instant) *peerHost {
	p, known := r.hosts.use(a)
	if !known {
		p = &peerHost{addr: a}
		if oldest, forgotten := r.hosts.set(a, p); forgotten {
			r.release(oldest, 0)
		}
	}
	p.usedAt = now
	if p.refused != 0 {
		if now.Before(p.refused) {
			return nil
		}
		p.refused = 0
	}
	if p.asked == 0 || now.Sub(p.asked) >= permissionRefresh {
		r.askFor(p, now)
	}
	return p
}

// askFor asks for a permission at the end of the turn.
func (r *relay) askFor(p *peerHost, now host.Instant) {
	p.asked = now
	r.asking = append(r.asking, p)
	r.flushLater()
}

// release sends the datagrams again that were sent before an instant, and keeps none.
func (r *relay) release(p *peerHost, before host.Instant) {
	for _, d := range p.held {
		if d.at.Before(before) && r.s.h.Now().Sub(d.at) <= held {
			r.indicate(d.to, d.b)
		}
	}
	r.held -= len(p.held)
	p.held = nil
}

// ask asks for the permissions that this turn needs.
func (r *relay) ask() {
	for batch := range slices.Chunk(r.asking, maxBatch) {
		r.createPermissions(slices.Clone(batch))
	}
}

func (r *relay) createPermissions(batch []*peerHost) {
	if r.s.busy() { // the next datagrams ask
		for _, p := range batch {
			p.asked = 0
			r.release(p, 0)
		}
		return
	}
	attrs := make([]stun.RawAttribute, len(batch))
	for i, p := range batch {
		attrs[i] = xorAddr(netip.AddrPortFrom(p.addr, 0))
	}
	r.s.request(stun.MethodCreatePermission, attrs, func(m *message, err error) {
		switch {
		case err != nil:
			r.s.fail(err)
		case m.code == codeMismatch:
			r.s.fail(refused(m))
		case m.kind.Class == stun.ClassSuccessResponse:
			r.granted(batch, m.sentAt)
		case len(batch) > 1: // one of them is refused, and so all are
			for _, p := range batch {
				r.createPermissions([]*peerHost{p})
			}
		default:
			r.refuse(batch[0])
		}
	})
}

// granted notes that permissions were granted by a request that was sent at an instant.
func (r *relay) granted(batch []*peerHost, at host.Instant) {
	r.s.h.stats.Permissions += uint64(len(batch))
	for _, p := range batch {
		p.granted = at.Add(permissionLife)
		r.release(p, at)
	}
}

func (r *relay) refuse(p *peerHost) {
	r.s.h.stats.Refused++
	p.asked, p.granted, p.refused = 0, 0, r.s.h.Now().Add(refusal)
	r.release(p, 0)
}

// channelOf returns the channel of a peer, nil while it has none. It asks for one if the peer gets many datagrams.
func (r *relay) channelOf(p *peer, now host.Instant) *channel {
	c := r.to[p.addr]
	if c == nil {
		if now.Sub(p.sentAt) > channelPause {
			p.sent = 0
		}
		p.sentAt = now
		if p.sent++; p.sent < channelAfter || r.s.busy() {
			return nil
		}
		p.sent = 0
		if c = r.newChannel(p.addr); c != nil {
			r.bind(c, now)
		}
		return nil
	}
	c.usedAt = now
	if !c.bound || now.Sub(c.boundAt) >= channelLife {
		return nil
	}
	return c
}

// newChannel takes a free number; nil if there is none.
func (r *relay) newChannel(to netip.AddrPort) *channel {
	for range lastChannel - firstChannel + 1 {
		number := r.next
		if r.next++; r.next > lastChannel {
			r.next = firstChannel
		}
		if r.channels[number] == nil {
			c := &channel{number: number, peer: to}
			r.channels[number], r.to[to] = c, c
			return c
		}
	}
	return nil
}

// bind binds a channel, or binds it for longer.
func (r *relay) bind(c *channel, now host.Instant) {
	c.usedAt = max(c.usedAt, now)
	r.s.request(stun.MethodChannelBind, []stun.RawAttribute{channelNumber(c.number), xorAddr(c.peer)}, func(m *message, err error) {
		switch {
		case err != nil:
			r.s.fail(err)
		case m.code == codeMismatch:
			r.s.fail(refused(m))
		case m.kind.Class == stun.ClassSuccessResponse:
			c.bound, c.boundAt = true, now
			r.s.h.stats.Channels++
		default: // Send indications go on
			r.s.h.stats.Refused++
			c.bound = false
			c.boundAt = now
		}
	})
}

// tidy refreshes the permissions and channels that are in use, and forgets the others when the server has.
func (r *relay) tidy() {
	now := r.s.h.Now()
	r.hosts.keep(func(p *peerHost) bool {
		if now.Sub(p.usedAt) >= permissionLife {
			r.release(p, 0)
			return false
		}
		if p.refused == 0 && p.asked != 0 && now.Sub(p.asked)+tidy >= permissionRefresh && p.usedAt.After(p.asked) {
			r.askFor(p, now)
		}
		return true
	})
	for number := uint16(firstChannel); number <= lastChannel && len(r.channels) > 0; number++ {
		c := r.channels[number]
		switch {
		case c == nil:
		case now.Sub(c.boundAt) >= channelLife+permissionLife && now.Sub(c.usedAt) >= channelLife: // then the number may be used again
			delete(r.channels, number)
			delete(r.to, c.peer)
		case c.bound && now.Sub(c.boundAt) >= channelRefresh && c.usedAt.After(c.boundAt) && !r.s.busy():
			r.bind(c, now)
		}
	}
	r.flushLater()
	r.tidying.Reset(tidy)
}

// data handles a Data indication.
func (r *relay) data(m *message) {
	if !isUsable(m.peer) || r.s.state != sessionUp {
		r.s.h.stats.Unexpected++
		return
	}
	r.s.h.deliver(m.peer, m.data)
}

// channelData handles a datagram of a channel.
func (r *relay) channelData(number uint16, b []byte) {
	c := r.channels[number]
	if c == nil || r.s.state != sessionUp {
		r.s.h.stats.Unexpected++
		return
	}
	r.s.h.deliver(c.peer, b)
}
