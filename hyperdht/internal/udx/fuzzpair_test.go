package udx

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/host"
)

// work bounds the cost of a machine for each byte that arrives, is written or is sent: a packet of nothing but a header
// takes a few dozen steps, and one byte of payload that arrives early a buffer of 256 bytes.
var work = cost.Bound{StepsPerByte: 16, Steps: 20_000, BytesPerByte: 32, Bytes: 256 << 10}

// What one call may take: a block of 8 bytes names a run of packets that are looked at 64 in a step, and something
// happens to packets: they leave, arrive for good, are acknowledged or found lost. What calls leave over is saved for
// one that makes room in a ring, and no more of it than that.
const (
	stepsOfACall   = 300
	stepsOfAByte   = 20
	stepsOfAPacket = 60
	stepsSaved     = 4 * maxOutstanding
)

// script is a fuzz input that is read as a program. At its end it reads zeros.
type script []byte

func (s *script) byte() (b byte) {
	if len(*s) > 0 {
		b, *s = (*s)[0], (*s)[1:]
	}
	return b
}

func (s *script) uint16() uint16 { return uint16(s.byte()) | uint16(s.byte())<<8 }

func (s *script) uint32() uint32 { return uint32(s.uint16()) | uint32(s.uint16())<<16 }

// duel is two machines, the packets between them, and an adversary that decides on all of those.
type duel struct {
	t     *testing.T
	now   host.Instant
	ends  [2]*duelist
	meter *cost.Meter
	saved int // steps
	// forged means that a packet was invented or changed. Arriving bytes are arbitrary then.
	forged bool
	// observe is called during each call of a machine, if it is set.
	observe func(*duelist)
}

// duelist is one end: its machine, what was written and read, and the datagrams that have left and not arrived.
type duelist struct {
	Machine
	duel                     *duel
	firstSent, firstReceived Seq
	wrote, got               int // bytes, of which each is known by its place; see pattern
	out                      [][]byte
	sent                     int // bytes of the datagrams that left during this call
	eof, closed              bool
	err                      error
}

const (
	// duelWrites bounds what is written in all, duelPackets what is on its way: the rest is lost.
	duelWrites  = 1 << 20
	duelPackets = 4096
	// duelHeals is the time that both ends have, once everything arrives, to finish or to give up: the longest timeouts in a
	// row, and then the keepalive of nothing.
	duelHeals = 10 * time.Minute
)

func newDuel(t *testing.T, first Seq) *duel {
	d := &duel{t: t, saved: stepsSaved}
	pool := NewPool()
	for i := range d.ends {
		e := &duelist{duel: d, firstSent: first + Seq(i), firstReceived: first + Seq(1-i)}
		e.Init(e, Config{Pool: pool, ReceiveBuffer: 256 << 10, FirstSeq: e.firstSent, FirstAck: e.firstReceived})
		d.ends[i] = e
	}
	d.ends[0].Connect(0, Remote{idB, addrB})
	d.ends[1].Connect(0, Remote{idA, addrA})
	return d
}

func (d *duelist) Transmit(_ netip.AddrPort, b []byte) {
	if _, err := ParsePacket(b); err != nil {
		d.duel.t.Fatalf("sent %x: %v", b, err)
	}
	d.sent += len(b)
	d.duel.meter.Allow(len(b))
	if len(d.out) < duelPackets {
		d.out = append(d.out, bytes.Clone(b))
	}
}

func (d *duelist) Data(b []byte) {
	if d.eof || d.closed {
		d.duel.t.Fatal("data after the end")
	}
	for i, x := range b {
		if !d.duel.forged && x != pattern(d.got+i) {
			d.duel.t.Fatalf("byte %d is %#x, want %#x", d.got+i, x, pattern(d.got+i))
		}
	}
	d.got += len(b)
}

// pattern is byte i of each stream.
func pattern(i int) byte { return byte(i*7 ^ i>>8) }

func (d *duelist) Ended() {
	if d.eof || d.closed {
		d.duel.t.Fatal("a second end")
	}
	d.eof = true
}

func (d *duelist) Closed(err error) {
	if d.closed {
		d.duel.t.Fatal("a second close")
	}
	d.closed, d.err = true, err
}

func (d *duelist) Message([]byte) {}
func (d *duelist) Drain()         {}
func (d *duelist) RemoteChanged() {}

// call has a machine do something, and then lets leave what may.
func (d *duel) call(e *duelist, input int, f func()) {
	d.t.Helper()
	d.meter.Allow(input + HeaderSize)
	e.sent = 0
	began, packets := d.meter.Steps(), e.packets()
	d.observed(e)
	f()
	d.observed(e)
	e.Deliver()
	e.Flush(d.now)
	d.observed(e)
	packets = e.packets() - packets
	taken := d.meter.Steps() - began
	d.saved += stepsOfACall + input*stepsOfAByte + packets*stepsOfAPacket - taken
	if d.saved < 0 {
		d.t.Fatalf("a call with %d bytes of input that did something to %d packets took %d steps, %d too many", input, packets, taken, -d.saved)
	}
	d.saved = min(d.saved, stepsSaved)
	if e.sent > paceBurst+8*MaxDatagram {
		d.t.Fatalf("%d bytes left in one call", e.sent)
	}
}

func (d *duel) observed(e *duelist) {
	if d.observe != nil {
		cost.Free(func() { d.observe(e) })
	}
}

// packets counts what has happened to packets so far. A number that was acknowledged by a block counts again when the
// acknowledgement passes it, and a packet that waited behind a gap when it is handed over or dropped.
func (d *duelist) packets() int {
	sent := int(d.stats.PacketsSent+d.stats.Retransmits) + d.Machine.out.lost.n
	acked := 2*int(d.Machine.out.acked-d.firstSent) + d.Machine.out.sacked
	received := int(d.in.expected-d.firstReceived) + d.got/smallBuffer
	for _, run := range d.in.queue.runs {
		received -= int(run.End - run.Start)
	}
	return sent + acked + received
}

// peer is the other end.
func (d *duel) peer(e *duelist) *duelist {
	if e == d.ends[0] {
		return d.ends[1]
	}
	return d.ends[0]
}

func (d *duel) receive(e *duelist, b []byte) {
	d.call(e, len(b), func() { e.Receive(d.now, b) })
}

// deliver hands e the next n datagrams of its peer.
func (d *duel) deliver(e *duelist, n int) {
	from := d.peer(e)
	for range min(n, len(from.out)) {
		b := from.out[0]
		from.out = from.out[1:]
		d.receive(e, b)
	}
}

func (d *duel) write(e *duelist, n int) {
	if e.writer.ended || e.closed {
		return
	}
	b := make([]byte, min(n, duelWrites-e.wrote))
	for i := range b {
		b[i] = pattern(e.wrote + i)
	}
	e.wrote += len(b)
	d.call(e, n, func() { e.Write(b) })
}

func (d *duel) wait(by time.Duration) {
	d.now = d.now.Add(by)
	for _, e := range d.ends {
		if at, ok := e.NextDeadline(); ok && !at.After(d.now) {
			d.call(e, 0, func() { e.Advance(d.now) })
		}
	}
}

// run is a good path: everything arrives a millisecond later.
func (d *duel) run(turns int) {
	for range turns {
		n, k := len(d.ends[0].out), len(d.ends[1].out)
		d.now = d.now.Add(ms)
		d.deliver(d.ends[1], n)
		d.deliver(d.ends[0], k)
		d.wait(0)
		if len(d.ends[0].out)+len(d.ends[1].out) == 0 {
			break
		}
	}
}

// step does what the next bytes of the script say.
func (d *duel) step(s *script) {
	op, arg := s.byte(), s.byte()
	e := d.ends[op>>7]
	from := d.peer(e)
	switch op & 0x7f % 16 {
	case 0:
		d.write(e, int(arg)+1)
	case 1:
		d.write(e, int(arg)<<9)
	case 2:
		for range int(arg) + 1 { // packets of a byte each
			d.write(e, 1)
		}
	case 3:
		d.deliver(e, int(arg)+1)
	case 4:
		from.out = from.out[min(int(arg)+1, len(from.out)):]
	case 5:
		if len(from.out) > 0 {
			d.receive(e, from.out[int(arg)%len(from.out)])
		}
	case 6:
		if n := len(from.out); n > 0 {
			i := int(arg) % n
			from.out[0], from.out[i] = from.out[i], from.out[0]
		}
	case 7:
		slices.Reverse(from.out)
	case 8:
		d.wait(time.Duration(arg) * ms)
	case 9:
		d.wait(time.Millisecond << (arg % 16))
	case 10:
		d.run(int(arg) + 1)
	case 11:
		if arg&1 == 0 {
			e.Pause()
		} else {
			d.call(e, 0, e.Resume)
		}
	case 12:
		d.call(e, 0, e.End)
	case 13:
		d.call(e, 0, func() { e.ChangeRemote(d.now, Remote{uint32(arg), addrB}) })
	case 14:
		d.forge(e, arg, s)
	case 15:
		d.corrupt(e, arg, s)
	}
}

// forge makes a packet up whose numbers are near those that e expects, or anything.
func (d *duel) forge(e *duelist, flags byte, s *script) {
	d.forged = true
	h := Header{Flags: Flags(flags), Window: s.uint32()}
	h.Seq, h.Ack = e.in.expected+Seq(int16(s.uint16())), e.Machine.out.acked+Seq(int16(s.uint16()))
	p := Packet{Header: h}
	if p.Flags&FlagSACK != 0 {
		for range s.byte() {
			start := e.Machine.out.acked + Seq(int32(s.uint16()))
			p.SACK = AppendBlock(p.SACK, Block{start, start + Seq(s.uint16())<<(flags>>6*8)})
		}
	} else {
		p.Payload = make([]byte, s.byte())
	}
	b := p.Append(nil)
	for range int(s.byte()%64) + 1 { // again and again
		d.receive(e, b[:min(len(b), MaxDatagram)])
	}
}

// corrupt changes a field of a packet on its way to e, and delivers it.
func (d *duel) corrupt(e *duelist, at byte, s *script) {
	from := d.peer(e)
	if len(from.out) == 0 {
		return
	}
	d.forged = true
	b := from.out[int(s.byte())%len(from.out)]
	i := int(at) % len(b)
	if i%2 == 0 && i+4 <= len(b) {
		binary.LittleEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:])+s.uint32())
	} else {
		b[i] ^= s.byte()
	}
	d.receive(e, b)
}

// heal ends both streams, and lets everything arrive until both are closed.
func (d *duel) heal() {
	for _, e := range d.ends {
		d.call(e, 0, func() { e.Resume(); e.End() })
	}
	limit := d.now.Add(duelHeals)
	for !d.now.After(limit) {
		d.run(1)
		if d.ends[0].IsClosed() && d.ends[1].IsClosed() {
			return
		}
		if len(d.ends[0].out)+len(d.ends[1].out) > 0 {
			continue
		}
		next := limit + 1
		for _, e := range d.ends {
			if at, ok := e.NextDeadline(); ok {
				next = min(next, at)
			}
		}
		d.wait(max(next.Sub(d.now), ms))
	}
}

// judge recounts what both machines count, and says whether they have got what was written, as far as they claim it.
func (d *duel) judge() {
	for i, e := range d.ends {
		checkBooks(d.t, &e.Machine)
		checkStates(d.t, &e.Machine)
		if d.forged {
			continue
		}
		if wrote := d.peer(e).wrote; e.got > wrote || e.eof && e.got < wrote {
			d.t.Errorf("end %d has read %d of %d bytes, to the end %v", i, e.got, wrote, e.eof)
		}
		if e.IsClosed() && e.err == nil && !e.eof {
			d.t.Errorf("end %d is closed without an error and without an end", i)
		}
	}
}

// FuzzPair plays a program of writes, deliveries, losses, forgeries and time on two machines that speak to each
// other. No machine may panic, do or send more than its input is worth, or lose count; and unless packets were forged,
// both read what was written, in order, or end with an error.
func FuzzPair(f *testing.F) {
	f.Add(uint32(0), []byte("\x01\x40\x0a\x20\x81\x40\x0a\xff\x0c\x00\x8c\x00"))
	f.Add(uint32(1<<32-9), []byte("\x01\x80\x0a\xff\x01\xff\x0a\x01\x07\x00\x83\x10\x84\x20\x03\x40\x08\x40\x0a\xff"))
	f.Add(uint32(1<<31-5), []byte("\x02\xff\x84\x01\x83\xff\x03\xff\x08\xff\x0d\x05\x0b\x00\x8b\x00\x02\xff\x0a\x40\x0b\x01\x09\x0e"))
	// A stream at full speed, then 2,560 packets of a byte, of which one long run is acknowledged 64 times.
	full := strings.Repeat("\x01\xff\x0a\xff", 4) + strings.Repeat("\x02\xff\x08\x01", 10)
	f.Add(uint32(7), []byte(full+"\x0e\x04\xff\xff\xff\x00\x00\x00\x00\x00\x01\x01\x00\x00\x08\x3f"))
	// The same, and all that was sent last arrives, then a packet of the beginning with each answer.
	f.Add(uint32(7), []byte(full+"\x87\x00"+strings.Repeat("\x83\xff\x03\xff\x08\x10", 12)))
	f.Fuzz(func(t *testing.T, first uint32, program []byte) {
		cost.Repeat(t, func() {
			if len(program) > 1024 {
				return // long enough for anything, short enough for a report
			}
			d := newDuel(t, Seq(first))
			d.meter = cost.Start(t, work)
			defer d.meter.Stop()
			for s := script(program); len(s) > 0; {
				d.step(&s)
				d.judge()
			}
			d.heal()
			for i, e := range d.ends {
				if !d.forged && !e.IsClosed() {
					t.Errorf("end %d is open after %v of a good path: %+v", i, duelHeals, e.Stats())
				}
			}
			d.judge()
		})
	})
}
