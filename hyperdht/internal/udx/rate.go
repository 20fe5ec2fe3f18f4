package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// deliveryRate samples the rate at which the path delivers (draft-cheng-iccrg-delivery-rate-estimation). Each packet carries the
// state of its departure; its acknowledgement completes a sample.
type deliveryRate struct {
	delivered   int64
	deliveredAt host.Instant
	firstSentAt host.Instant
	appLimited  int64 // samples are application-limited until this much was delivered; 0 = they are not
}

// restart begins to sample a flight that starts now, with nothing in flight before.
func (r *deliveryRate) restart(now host.Instant) { r.firstSentAt, r.deliveredAt = now, now }

// stamp notes in a packet that leaves what was delivered before.
func (r *deliveryRate) stamp(p *packet) {
	p.delivered, p.deliveredAt, p.firstSentAt = r.delivered, r.deliveredAt, r.firstSentAt
	p.appLimited = r.appLimited > 0
}

// limitByApplication marks the samples of what is in flight: there was nothing else to send.
func (r *deliveryRate) limitByApplication(inFlight int) {
	r.appLimited = max(r.delivered+int64(inFlight), 1)
}

// ackPacket counts a packet that has arrived. The rate sample belongs to the packet that left last.
func (r *deliveryRate) ackPacket(now host.Instant, p *packet, s *ackSample, late bool) {
	size := p.size()
	r.delivered += int64(size)
	r.deliveredAt = now
	s.acked += size

	if s.acked == size {
		s.firstSent, s.lastSent = p.sent, p.sent
	}
	s.firstSent, s.lastSent = min(s.firstSent, p.sent), max(s.lastSent, p.sent)

	if late {
		return
	}
	if !s.hasRate || p.delivered > s.priorDelivered || p.delivered == s.priorDelivered && p.sent >= r.firstSentAt {
		s.hasRate = true
		s.priorDelivered, s.appLimited = p.delivered, p.appLimited
		s.interval = max(p.sent.Sub(p.firstSentAt), now.Sub(p.deliveredAt))
		r.firstSentAt = p.sent
	}
}

// complete fills in the rest of a sample after losses were found.
func (r *deliveryRate) complete(s *ackSample, inFlight int) {
	s.inFlight = inFlight
	s.interval = max(s.interval, s.lastSent.Sub(s.firstSent))
	s.delivered, s.deliveredAt = r.delivered, r.deliveredAt
	if r.appLimited > 0 && r.delivered > r.appLimited {
		r.appLimited = 0
	}
	s.rtt = max(s.rtt, time.Microsecond)
}
