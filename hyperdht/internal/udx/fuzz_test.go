package udx

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/host"
)

// FuzzMachine feeds a connected machine scripted packets, writes and time. Nothing it is sent may break
// its books, and what it sends must be well formed.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x00\x05hello\x80\x20\x02\x01\x00\x03end"))
	f.Add([]byte("\x90\x90\x04\x00\x01\x10\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\xa0\xff\xa0\xff\xa0\xff"))
	f.Add([]byte("\x81\xff\xff\x82\x10\xc0\x05\x01\x03\x08\x00\xa1\x40\xd0\xd1\xa0\xff\xe0\x01"))
	f.Fuzz(func(t *testing.T, script []byte) {
		cost.Repeat(t, func() {
			script := script
			w := newWorld(t, link{}, 1, Config{ReceiveBuffer: 5000, FirstSeq: 1<<32 - 3, FirstAck: 1<<32 - 2})
			w.link.filter = func(*end, Packet) bool { return false } // transmit checks the form
			m := w.a
			m.Connect(0, Remote{idB, addrB})
			meter := cost.Start(t, work)
			defer meter.Stop()

			for len(script) > 0 {
				op := script[0]
				script = script[1:]
				meter.Allow(1024) // a packet, or a write
				arg := byte(0)
				if len(script) > 0 {
					arg, script = script[0], script[1:]
				}
				switch {
				case op < 0x80: // a packet; flags from op, numbers near the local ones
					var h Header
					h.Flags, h.StreamID, h.Window = Flags(op), idA, uint32(arg)<<8
					h.Seq, h.Ack = m.in.expected+Seq(int8(arg)), m.out.acked+Seq(int8(arg)/4)
					n := min(len(script), int(arg))
					if op&byte(FlagSACK) != 0 {
						h.DataOffset = arg
					}
					b := append(h.Append(nil), script[:n]...)
					if op&byte(FlagSACK) != 0 { // make the blocks' numbers local ones
						for i := HeaderSize; i+4 <= len(b); i += 4 {
							binary.LittleEndian.PutUint32(b[i:], uint32(m.out.acked)+binary.LittleEndian.Uint32(b[i:])&0xff)
						}
					}
					script = script[n:]
					m.Receive(w.now, b)
				case op < 0x90:
					m.Write(make([]byte, int(arg)*20))

				case op < 0xa0:
					m.SendMessage(make([]byte, arg))
				case op < 0xc0:
					w.now = w.now.Add(time.Duration(arg) * 10 * ms)
					m.Advance(w.now)
				case op < 0xc8:
					m.Pause()
				case op < 0xd0:
					m.Resume()
					m.Deliver()
				case op < 0xd8:
					m.ChangeRemote(w.now, Remote{uint32(arg), addrB})
				case op < 0xdc:
					m.End()
				case op < 0xdd:
					m.Destroy()
				default:
					m.SetKeepalive(w.now, time.Duration(arg)*ms)
				}
				m.Flush(w.now)
				checkBooks(t, &m.Machine)
			}
		})
	})
}

// checkBooks recounts what a machine keeps count of.
func checkBooks(t *testing.T, m *Machine) {
	t.Helper()
	cost.Free(func() { recount(t, m) })
}

// checkStates fails if a machine has made a transition that no table lists.
func checkStates(t testing.TB, m *Machine) {
	t.Helper()
	if m.faults.Wrong > 0 {
		t.Errorf("%d transitions that no table lists, such as %s", m.faults.Wrong, m.faults.Last)
	}
}

func recount(t *testing.T, m *Machine) {
	t.Helper()
	var inFlight, taken, queued, sacked int
	for s := m.out.acked; s != m.out.next; s++ {
		p := m.out.ring.at(s)
		switch {
		case p == nil && s.Before(m.out.sent):
			sacked++
			continue
		case p == nil || p.seq != s:
			t.Fatalf("packet %d is missing", s)
		case p.flying:
			inFlight += p.size()
		}
		if s.Before(m.out.sent) {
			taken += p.payload()
		}
		if s.Before(m.out.sent) && (!m.out.unacked.has(s) || m.out.lost.has(s) == p.flying) {
			t.Fatalf("packet %d, in flight %v, is unacked %v and lost %v", s, p.flying, m.out.unacked.has(s), m.out.lost.has(s))
		}
		queued += p.payload()
	}
	if out := int(m.out.sent-m.out.acked) - sacked; m.out.unacked.n != out {
		t.Fatalf("%d packets are not acknowledged, the set has %d", out, m.out.unacked.n)
	}
	if inFlight != m.out.flight.bytes || taken != m.out.taken || queued != m.out.queued || sacked != m.out.sacked {
		t.Fatalf("counted in flight %d, taken %d, queued %d, sacked %d; kept %d, %d, %d, %d",
			inFlight, taken, queued, sacked, m.out.flight.bytes, m.out.taken, m.out.queued, m.out.sacked)
	}
	var gapped, unread int
	for i, run := range m.in.queue.runs {
		if !run.Start.Before(run.End) || !m.in.expected.Before(run.Start) || i > 0 && !m.in.queue.runs[i-1].End.Before(run.Start) {
			t.Fatalf("runs %v, expecting %d", m.in.queue.runs, m.in.expected)
		}
		for s := run.Start; s != run.End; s++ {
			gapped += len((*m.in.queue.page(s)).slots[s%pageSlots].payload)
		}
	}
	for _, c := range m.in.queue.chunks {
		unread += len(c)
	}
	if gapped != m.in.queue.gapped || unread != m.in.queue.unread || gapped+unread > m.in.buffer+windowSlack {
		t.Fatalf("counted %d gapped and %d unread, kept %d and %d", gapped, unread, m.in.queue.gapped, m.in.queue.unread)
	}
	if at, ok := m.NextDeadline(); m.closed && (ok || at != never) {
		t.Fatal("a closed machine has a deadline")
	}
	if !m.closed && m.out.acked != m.out.sent && m.timers.rto == never {
		t.Fatal("packets are out and no timer runs")
	}
}

// FuzzReceiveRaw feeds arbitrary datagrams.
func FuzzReceiveRaw(f *testing.F) {
	for _, v := range loadVectors(f).Packets {
		f.Add(v.bytes(f), v.bytes(f))
	}
	for _, ahead := range []Seq{1, maxReorder - 1} {
		f.Add(append(Header{Flags: FlagData, Seq: ahead}.Append(nil), 'x'), Header{Flags: FlagEnd, Seq: maxReorder / 2}.Append(nil))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		cost.Repeat(t, func() {
			w := newWorld(t, link{}, 1, Config{ReceiveBuffer: 5000})
			w.link.filter = func(*end, Packet) bool { return false }
			w.b.Connect(0, Remote{idA, addrA})
			w.b.Write(make([]byte, 3000))
			meter := cost.Start(t, cost.Bound{StepsPerByte: 16, Steps: 2000, BytesPerByte: 32, Bytes: 64 << 10})
			defer meter.Stop()
			for i, d := range [][]byte{a, b, a, b} {
				meter.Allow(len(d))
				w.b.Receive(host.Instant(i), d)
				w.b.Flush(host.Instant(i))
				checkBooks(t, &w.b.Machine)
			}
		})
	})
}
