package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/pcap"
)

// captured is a packet as it was read back.
type captured struct {
	at time.Time
	pcap.Packet
}

// read parses a capture file and checks every length and checksum.
func read(t *testing.T, b []byte) (all []captured) {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d || le.Uint16(b[4:]) != 2 || le.Uint16(b[6:]) != 4 || le.Uint32(b[20:]) != 101 {
		t.Fatalf("not a capture of raw IP packets: % x", b[:min(24, len(b))])
	}
	for b = b[24:]; len(b) > 0; {
		at, size := time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:]))).UTC(), int(le.Uint32(b[8:]))
		if le.Uint32(b[12:]) != uint32(size) {
			t.Fatal("a packet was cut off")
		}
		ip := b[16 : 16+size]
		b = b[16+size:]
		var c captured
		var from, to []byte
		var udp []byte
		switch ip[0] >> 4 {
		case 4:
			if ip[0] != 0x45 || int(be.Uint16(ip[2:])) != size || ip[9] != 17 || checksum(ip[:20]) != 0xffff {
				t.Fatalf("bad IPv4 header % x", ip[:20])
			}
			c.TTL, from, to, udp = int(ip[8]), ip[12:16], ip[16:20], ip[20:]
		case 6:
			if int(be.Uint16(ip[4:])) != size-40 || ip[6] != 17 {
				t.Fatalf("bad IPv6 header % x", ip[:40])
			}
			c.TTL, from, to, udp = int(ip[7]), ip[8:24], ip[24:40], ip[40:]
		default:
			t.Fatalf("IP version %d", ip[0]>>4)
		}
		pseudo := slices.Concat(from, to, []byte{0, 17}, udp[4:6], udp)
		if int(be.Uint16(udp[4:])) != len(udp) || checksum(pseudo) != 0xffff || be.Uint16(udp[6:]) == 0 {
			t.Fatalf("bad UDP header % x", udp[:8])
		}
		src, _ := netip.AddrFromSlice(from)
		dst, _ := netip.AddrFromSlice(to)
		c.at, c.Payload = at, udp[8:]
		c.From, c.To = netip.AddrPortFrom(src, be.Uint16(udp)), netip.AddrPortFrom(dst, be.Uint16(udp[2:]))
		all = append(all, c)
	}
	return all
}

// checksum is the ones' complement sum of big-endian words.
func checksum(b []byte) uint16 {
	var s uint64
	for i := 0; i < len(b); i += 2 {
		word := uint64(b[i]) << 8
		if i+1 < len(b) {
			word |= uint64(b[i+1])
		}
		s += word
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func same(a, b pcap.Packet) bool {
	return a.From == b.From && a.To == b.To && a.TTL == b.TTL && bytes.Equal(a.Payload, b.Payload)
}

func TestCaptureReadsBack(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	packets := []pcap.Packet{
		{From: netip.MustParseAddrPort("192.0.2.1:49737"), To: netip.MustParseAddrPort("203.0.113.9:1"), TTL: 5, Payload: []byte("odd")},
		{From: netip.MustParseAddrPort("192.0.2.1:65535"), To: netip.MustParseAddrPort("203.0.113.9:65535"), TTL: 64},
		{From: netip.MustParseAddrPort("[2001:db8::1]:1"), To: netip.MustParseAddrPort("[2001:db8::2]:2"), TTL: 64, Payload: []byte("even")},
		{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.2:2"), TTL: 1, Payload: bytes.Repeat([]byte{0xff}, 1400)},
	}
	// One whose checksum comes out as zero, which must not be written as such.
	zero := pcap.Packet{From: packets[0].From, To: packets[0].To, TTL: 64}
	for i := range 1 << 16 {
		zero.Payload = binary.BigEndian.AppendUint16(nil, uint16(i))
		pseudo := slices.Concat(zero.From.Addr().AsSlice(), zero.To.Addr().AsSlice(), []byte{0, 17, 0, 10})
		pseudo = binary.BigEndian.AppendUint16(pseudo, zero.From.Port())
		pseudo = binary.BigEndian.AppendUint16(pseudo, zero.To.Port())
		if checksum(append(append(pseudo, 0, 10, 0, 0), zero.Payload...)) == 0xffff {
			break
		}
	}
	packets = append(packets, zero)

	var file bytes.Buffer
	w := pcap.NewWriter(&file)
	for i, p := range packets {
		w.Write(at.Add(time.Duration(i)*time.Nanosecond), p)
	}
	w.Write(at, pcap.Packet{From: packets[0].From, To: packets[0].To, Payload: make([]byte, 65508)}) // is no packet
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	got := read(t, file.Bytes())
	if len(got) != len(packets) {
		t.Fatalf("%d packets, want %d", len(got), len(packets))
	}
	for i, g := range got {
		if !same(g.Packet, packets[i]) || !g.at.Equal(at.Add(time.Duration(i))) {
			t.Errorf("packet %d came back as %+v at %v", i, g.Packet, g.at)
		}
	}
}

func TestRecorderSeesBothSidesOfANAT(t *testing.T) {
	run := func(record func(*simnet.Net, *simnet.Router, *bytes.Buffer) *pcap.Writer) []captured {
		net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}})
		server := net.AddHost("server", netip.MustParseAddr("198.51.100.1"))
		r := net.AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("203.0.113.1"))
		laptop := r.AddHost("laptop", netip.MustParseAddr("192.168.1.2"))
		var file bytes.Buffer
		w := record(net, r, &file)
		s, err := server.OpenSocket(netip.MustParseAddrPort("0.0.0.0:1"))
		if err != nil {
			t.Fatal(err)
		}
		s.OnReceive(func(from netip.AddrPort, b []byte) { s.Send(from, 0, b) })
		c, err := laptop.OpenSocket(netip.MustParseAddrPort("0.0.0.0:5000"))
		if err != nil {
			t.Fatal(err)
		}
		c.Send(netip.MustParseAddrPort("198.51.100.1:1"), 20, []byte("echo"))
		net.Run(time.Second)
		if w.Err() != nil {
			t.Fatal(w.Err())
		}
		return read(t, file.Bytes())
	}
	inside, public, server := netip.MustParseAddrPort("192.168.1.2:5000"), netip.MustParseAddrPort("203.0.113.1:5000"), netip.MustParseAddrPort("198.51.100.1:1")
	all := []pcap.Packet{
		{From: inside, To: server, TTL: 20}, {From: public, To: server, TTL: 19},
		{From: server, To: public, TTL: 64}, {From: server, To: inside, TTL: 54},
	}
	check := func(t *testing.T, got []captured, want []pcap.Packet) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d packets, want %d", len(got), len(want))
		}
		for i, g := range got {
			want[i].Payload = []byte("echo")
			if !same(g.Packet, want[i]) {
				t.Errorf("packet %d is %+v, want %+v", i, g.Packet, want[i])
			}
		}
		if start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); got[0].at.Before(start) || got[0].at.After(start.Add(time.Second)) {
			t.Errorf("captured at %v", got[0].at)
		}
	}
	t.Run("all", func(t *testing.T) {
		check(t, run(func(n *simnet.Net, _ *simnet.Router, b *bytes.Buffer) *pcap.Writer { return pcap.Record(n, b) }), slices.Clone(all))
	})
	t.Run("one segment", func(t *testing.T) {
		got := run(func(n *simnet.Net, r *simnet.Router, b *bytes.Buffer) *pcap.Writer {
			return pcap.RecordSegment(n, r.LAN(), b)
		})
		check(t, got, []pcap.Packet{all[0], all[3]})
	})
}

type brokenPipe struct{}

var errBroken = errors.New("broken")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestWriterReportsItsFirstError(t *testing.T) {
	w := pcap.NewWriter(brokenPipe{})
	w.Write(time.Time{}, pcap.Packet{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.2:2")})
	if !errors.Is(w.Err(), errBroken) {
		t.Errorf("Err is %v", w.Err())
	}
}
