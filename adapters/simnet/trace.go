package simnet

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Drop is the reason why a datagram did not arrive.
type Drop uint8

const (
	DropBlocked   Drop = iota + 1 // the scenario partitioned the two machines
	DropFiltered                  // the scenario's filter did not keep it
	DropNoRoute                   // no place has that address
	DropTTL                       // its TTL ran out
	DropMTU                       // it did not fit
	DropLoss                      // lost by itself
	DropBurst                     // lost in a spell of loss
	DropQueue                     // a link with a bandwidth had no room
	DropDown                      // the machine is crashed
	DropPort                      // no socket is bound to that port
	DropUnread                    // the socket has no receive function
	DropUnmapped                  // the NAT has no mapping with that port
	DropRefused                   // the filter of a NAT or firewall does not let it in
	DropHairpin                   // the NAT does not send inside hosts to each other
	DropTableFull                 // the NAT has no room for another session
	DropNoPort                    // the NAT has no public port left
	DropUDP                       // the router blocks UDP, or this port of it
	DropAsleep                    // the machine sleeps
	DropBacklog                   // the machine is too slow, and its receive buffer is full
	dropCount
)

var dropNames = [dropCount]string{
	DropBlocked: "blocked", DropFiltered: "filtered", DropNoRoute: "no-route", DropTTL: "ttl", DropMTU: "mtu",
	DropLoss: "loss", DropBurst: "burst", DropQueue: "queue", DropDown: "down", DropPort: "port", DropUnread: "unread",
	DropUnmapped: "unmapped", DropRefused: "refused", DropHairpin: "hairpin", DropTableFull: "table-full",
	DropNoPort: "no-port", DropUDP: "udp-blocked",
	DropAsleep: "asleep", DropBacklog: "backlog",
}

// String returns the reason as it appears in traces.
func (d Drop) String() string { return dropNames[d] }

// Drops returns all reasons.
func Drops() (all []Drop) {
	for why := DropBlocked; why < dropCount; why++ {
		all = append(all, why)
	}
	return all
}

// Crossing is a datagram at the moment when it is put on a segment, with the addresses that it has there. Whether it
// arrives is not decided yet. Its payload is borrowed for the call.
type Crossing struct {
	Segment  *Segment
	From, To netip.AddrPort
	TTL      int
	Payload  []byte
}

// SetTap calls see with every datagram on each segment that it crosses; nil removes it.
func (n *Net) SetTap(see func(Crossing)) { n.watchers.crossing = see }

// Stats are the counts of a run.
type Stats struct {
	Sent, Delivered, Duplicated, Replayed uint64 // datagrams
	SentBytes, DeliveredBytes             uint64 // payload
	Timers, Posts, Events                 uint64

	dropped [dropCount]uint64
}

// Dropped returns the number of datagrams dropped for a reason; 0 means all reasons.
func (s Stats) Dropped(reason Drop) uint64 {
	if reason != 0 {
		return s.dropped[reason]
	}
	var sum uint64
	for _, c := range s.dropped {
		sum += c
	}
	return sum
}

func (s *Stats) add(more *Stats) {
	s.Sent += more.Sent
	s.Delivered += more.Delivered
	s.Duplicated += more.Duplicated
	s.Replayed += more.Replayed
	s.SentBytes += more.SentBytes
	s.DeliveredBytes += more.DeliveredBytes
	s.Timers += more.Timers
	s.Posts += more.Posts
	s.Events += more.Events
	for why, count := range more.dropped {
		s.dropped[why] += count
	}
}

// Kinds of hashed events.
const (
	markTimer = iota + 1
	markScenario
	markDeliver
	markEvent
	markBoot
	markCrash
	markDrop
	markSleep
	markWake
)

// mark folds an event into the hash of the run.
func (l *lane) mark(what, salt uint64) {
	l.hash = mix(mix(l.hash, uint64(l.now)^what<<56), salt)
}

// note writes a line about a machine or a router to the text trace; name may be empty.
func (l *lane) note(name, what string) {
	if l.cfg.Trace == nil {
		return
	}
	l.text = append(l.stamp(), name...)
	l.text = append(append(l.text, ' '), what...)
	l.flush()
}

// noteDatagram writes a line about a datagram to the text trace; name and what may be empty.
func (l *lane) noteDatagram(name, what string, from, to netip.AddrPort, size int) {
	if l.cfg.Trace == nil {
		return
	}
	b := append(l.stamp(), name...)
	b = append(append(append(b, ' '), what...), ' ')
	b = append(from.AppendTo(b), '>')
	b = append(to.AppendTo(b), ' ')
	l.text = strconv.AppendInt(b, int64(size), 10)
	l.flush()
}

// noteTranslation writes a line about a translated address.
func (l *lane) noteTranslation(name, what string, old, new, remote netip.AddrPort) {
	if l.cfg.Trace == nil {
		return
	}
	b := append(l.stamp(), name...)
	b = append(append(append(b, ' '), what...), ' ')
	b = append(old.AppendTo(b), '=')
	b = append(new.AppendTo(b), " for "...)
	l.text = remote.AppendTo(b)
	l.flush()
}

func (l *lane) stamp() []byte {
	return append(append(l.text[:0], time.Duration(l.now).String()...), ' ')
}

func (l *lane) flush() {
	l.text = append(l.text, '\n')
	// A failed write loses lines of the trace but does not stop the run.
	_, _ = l.cfg.Trace.Write(l.text)
}

// trace counts, hashes, shows and writes an event of a host.
func (l *lane) trace(h *Host, e host.Event) {
	l.stats.Events++
	l.mark(markEvent, h.m.salt)
	if l.watchers.event != nil {
		if l == l.main {
			l.watchers.event(h, e)
		} else {
			h.Outside(func() { l.watchers.event(h, e) })
		}
	}
	if l.cfg.Coarse && l.cfg.Trace == nil {
		return
	}
	b := append(append(l.stamp(), h.m.name...), ' ')
	start := len(b)
	text, err := e.AppendText(b)
	if err != nil {
		text = append(b, "unprintable event: "+err.Error()...)
	}
	l.text = text
	if !l.cfg.Coarse {
		l.hash = mixBytes(l.hash, text[start:])
	}
	if l.cfg.Trace != nil {
		l.flush()
	}
}
