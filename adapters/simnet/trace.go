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
	DropNoRoute                   // nobody has that address
	DropTTL                       // it died on the way
	DropMTU                       // it did not fit
	DropLoss                      // lost by itself
	DropBurst                     // lost in a spell of loss
	DropQueue                     // a link with a bandwidth had no room
	DropDown                      // the machine is crashed
	DropPort                      // no socket is bound to that port
	DropUnread                    // the socket has nobody who receives
	DropUnmapped                  // the NAT gave that port to nobody
	DropRefused                   // the filter of a NAT or firewall does not let it in
	DropHairpin                   // the NAT does not send inside hosts to each other
	DropTableFull                 // the NAT has no room for another session
	DropNoPort                    // the NAT has no public port left
	DropUDP                       // the router blocks UDP
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

// String returns the reason as it stands in traces.
func (d Drop) String() string { return dropNames[d] }

// Drops returns all reasons.
func Drops() (all []Drop) {
	for why := DropBlocked; why < dropCount; why++ {
		all = append(all, why)
	}
	return all
}

// Crossing is a datagram at the moment when it is put on a segment, with the addresses that it has there.
// Whether it arrives is not known yet. Its payload is borrowed for the call.
type Crossing struct {
	Segment  *Segment
	From, To netip.AddrPort
	TTL      int
	Payload  []byte
}

// SetTap shows every datagram to see on each segment that it crosses; nil for nobody.
func (n *Net) SetTap(see func(Crossing)) { n.tap = see }

// Stats counts what happened in a run.
type Stats struct {
	Sent, Delivered, Duplicated, Replayed uint64 // datagrams
	SentBytes, DeliveredBytes             uint64 // payload
	Timers, Posts, Events                 uint64

	dropped [dropCount]uint64
}

// Dropped returns how many datagrams were dropped for a reason; for 0, for any.
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

// What goes into the hash besides times and machines.
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

// mark folds something that happened into the hash of the run.
func (n *Net) mark(what, who uint64) {
	n.hash = mix(mix(n.hash, uint64(n.now)^what<<56), who)
}

// note writes a line about a machine or a router to the text trace; who may be nothing.
func (n *Net) note(who, what string) {
	if n.cfg.Trace == nil {
		return
	}
	n.text = append(n.stamp(), who...)
	n.text = append(append(n.text, ' '), what...)
	n.flush()
}

// noteDatagram writes a line about a datagram to the text trace; who and what may be nothing.
func (n *Net) noteDatagram(who, what string, from, to netip.AddrPort, size int) {
	if n.cfg.Trace == nil {
		return
	}
	b := append(n.stamp(), who...)
	b = append(append(append(b, ' '), what...), ' ')
	b = append(from.AppendTo(b), '>')
	b = append(to.AppendTo(b), ' ')
	n.text = strconv.AppendInt(b, int64(size), 10)
	n.flush()
}

// noteTranslation writes a line about an address that a router exchanged.
func (n *Net) noteTranslation(who, what string, old, new, remote netip.AddrPort) {
	if n.cfg.Trace == nil {
		return
	}
	b := append(n.stamp(), who...)
	b = append(append(append(b, ' '), what...), ' ')
	b = append(old.AppendTo(b), '=')
	b = append(new.AppendTo(b), " for "...)
	n.text = remote.AppendTo(b)
	n.flush()
}

func (n *Net) stamp() []byte {
	return append(append(n.text[:0], time.Duration(n.now).String()...), ' ')
}

func (n *Net) flush() {
	n.text = append(n.text, '\n')
	// A trace that cannot be written any more is the reader's loss, not the run's.
	_, _ = n.cfg.Trace.Write(n.text)
}

// trace counts, hashes, shows and writes an event of a host.
func (n *Net) trace(h *Host, e host.Event) {
	n.stats.Events++
	n.mark(markEvent, h.m.salt)
	if n.observer != nil {
		n.observer(h, e)
	}
	if n.cfg.Coarse && n.cfg.Trace == nil {
		return
	}
	b := append(append(n.stamp(), h.m.name...), ' ')
	start := len(b)
	text, err := e.AppendText(b)
	if err != nil {
		text = append(b, "unprintable event: "+err.Error()...)
	}
	n.text = text
	if !n.cfg.Coarse {
		n.hash = mixBytes(n.hash, text[start:])
	}
	if n.cfg.Trace != nil {
		n.flush()
	}
}
