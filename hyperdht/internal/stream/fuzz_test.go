package stream

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// FuzzReceive lets datagrams arrive at two ends and at the relay between them, from anywhere and for any stream. No
// table may panic, do more than the datagram is worth, pass on more than it has received, or keep a timer at the end.
func FuzzReceive(f *testing.F) {
	data := udx.Packet{Header: udx.Header{Flags: udx.FlagData, Window: 1 << 20}, Payload: []byte("hello")}.Append(nil)
	end := udx.Header{Flags: udx.FlagEnd, Window: 1 << 20, Seq: 1}.Append(nil)
	destroy := udx.Header{Flags: udx.FlagDestroy}.Append(nil)
	f.Add(data, end, destroy, []byte("\x00\x01\x02\x10\x11\x12\x20\x21\x22\x30\x41\x52"))
	f.Add(end, destroy, data, []byte("\x02\x00\x12\x00\x22\x32\x42"))
	f.Add([]byte("something else"), data, end, []byte("\x00\x03\x05\x14\xff\x10\xff\x20"))
	f.Fuzz(func(t *testing.T, first, second, third []byte, program []byte) {
		cost.Repeat(t, func() {
			if len(program) > 256 {
				return
			}
			x := newTriangle(t)
			x.b.turn(func() { x.pb.SendMessage(nil) })
			x.a.turn(func() { x.pa.Write(make([]byte, 5000)) })
			x.run(20 * time.Millisecond)
			play(t, x, [][]byte{first, second, third, {}}, program)
			x.a.turn(func() { x.pa.End() })
			x.b.turn(func() { x.pb.End() })
			x.run(time.Minute)
			for _, n := range []*node{x.a, x.b, x.r} {
				n.turn(n.table.Close)
			}
			x.run(0)
			x.quiet(x.a, x.b, x.r)
		})
	})
}

// play lets the datagrams arrive as the program says.
func play(t *testing.T, x *triangle, datagrams [][]byte, program []byte) {
	meter := cost.Start(t, cost.Bound{StepsPerByte: 40, Steps: 50_000, BytesPerByte: 64, Bytes: 128 << 10})
	defer meter.Stop()
	from := []netip.AddrPort{x.sa.local, x.sb.local, x.sr.local, netip.MustParseAddrPort("192.0.2.1:7")}
	for _, op := range program {
		// Receiver, datagram, stream, sender.
		to := []*socket{x.sa, x.sb, x.sr, x.sr}[op&3]
		b := bytes.Clone(datagrams[op>>2&3])
		if len(b) > udx.MaxDatagram {
			return
		}
		if ids := []uint32{x.pa.ID(), x.pb.ID(), x.la.ID(), x.lb.ID()}; len(b) >= udx.HeaderSize {
			binary.LittleEndian.PutUint32(b[4:], ids[op&3])
		}
		before := len(x.log)
		began := meter.Steps()
		meter.Allow(len(b) + udx.HeaderSize)
		to.m.turn(func() { to.recv(from[op>>4&3], b) })
		if taken := meter.Steps() - began; taken > 5000+20*len(b) {
			t.Fatalf("a datagram of %d bytes took %d steps", len(b), taken)
		}
		if sent := len(x.log) - before; to == x.sr && sent > 1 {
			t.Fatalf("a datagram made the relay send %d", sent)
		}
		if op&0x80 != 0 {
			meter.Allow(4 * udx.MaxDatagram) // timers repeat what was not acknowledged
			x.run(time.Duration(op) * time.Millisecond)
		}
	}
}
