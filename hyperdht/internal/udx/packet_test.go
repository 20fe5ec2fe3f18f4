package udx

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
)

type vectorFile struct {
	Packets, Synthetic []vector
}

type vector struct {
	Name, Hex string
	Expect    any
	Fields    struct {
		Flags         uint8
		DataOffset    uint8  `json:"data_offset"`
		StreamID      uint32 `json:"stream_id"`
		Window        uint32
		Seq, Ack      uint32
		SACK          []struct{ Start, End uint32 }
		PayloadOffset int `json:"payload_offset"`
		PayloadLen    int `json:"payload_len"`
	}
}

func (v vector) bytes(t testing.TB) []byte {
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return b
}

func loadVectors(t testing.TB) vectorFile {
	b, err := os.ReadFile("../../../spec/vectors/udx-packets.json")
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Packets) != 30 || len(f.Synthetic) != 11 {
		t.Fatalf("%d captured and %d made packets, want 30 and 11", len(f.Packets), len(f.Synthetic))
	}
	return f
}

func TestCapturedPacketsParse(t *testing.T) {
	for _, v := range loadVectors(t).Packets {
		t.Run(v.Name, func(t *testing.T) {
			b := v.bytes(t)
			p, err := ParsePacket(b)
			if err != nil {
				t.Fatal(err)
			}
			f := v.Fields
			want := Header{Flags(f.Flags), f.DataOffset, f.StreamID, f.Window, Seq(f.Seq), Seq(f.Ack)}
			if p.Header != want {
				t.Errorf("header %+v, want %+v", p.Header, want)
			}
			if !bytes.Equal(p.Payload, b[f.PayloadOffset:]) || len(p.Payload) != f.PayloadLen {
				t.Errorf("payload of %d bytes, want %d", len(p.Payload), f.PayloadLen)
			}
			if p.SACK.Len() != len(f.SACK) {
				t.Fatalf("%d blocks, want %d", p.SACK.Len(), len(f.SACK))
			}
			for i, b := range f.SACK {
				if got := p.SACK.At(i); got != (Block{Seq(b.Start), Seq(b.End)}) {
					t.Errorf("block %d is %v, want %v", i, got, b)
				}
			}
		})
	}
}

// Built from the fields alone, not from a parsed packet.
func TestCapturedPacketsBuild(t *testing.T) {
	for _, v := range loadVectors(t).Packets {
		t.Run(v.Name, func(t *testing.T) {
			want, f := v.bytes(t), v.Fields
			p := Packet{Header: Header{Flags(f.Flags), f.DataOffset, f.StreamID, f.Window, Seq(f.Seq), Seq(f.Ack)}}
			for _, b := range f.SACK {
				p.SACK = AppendBlock(p.SACK, Block{Seq(b.Start), Seq(b.End)})
			}
			p.Payload = want[f.PayloadOffset:]
			if got := p.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("built %x\nwant  %x", got, want)
			}
			if p.Size() != len(want) {
				t.Errorf("size %d, want %d", p.Size(), len(want))
			}
		})
	}
}

// The made packets carry what the reference did with them.
func TestMadePacketsActAsOnTheReference(t *testing.T) {
	for _, v := range loadVectors(t).Synthetic {
		t.Run(v.Name, func(t *testing.T) {
			b := v.bytes(t)
			h, _, err := ParseHeader(b)
			if v.Expect == "not-udx" && v.Name != "unknown-stream-id" {
				if !errors.Is(err, ErrNotUDX) {
					t.Fatalf("error %v, want ErrNotUDX", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, link{}, 1, Config{}, Config{FirstAck: h.Seq, FirstSeq: 100})
			if err := w.b.Connect(0, Remote{idA, addrA}); err != nil {
				t.Fatal(err)
			}
			var replies int
			w.b.route = nil
			w.link.filter = func(*end, Packet) bool { replies++; return false }
			w.b.Receive(0, b)
			w.b.Flush(0)
			type outcome struct {
				data    string
				msgs    int
				eof     bool
				replies int
			}
			got := outcome{string(w.b.got), len(w.b.msgs), w.b.eof, replies}
			want, known := map[string]outcome{
				"unknown-stream-id":                 {"u", 0, false, 1}, // ids are the table's business
				"data-offset-beyond-end":            {},
				"data-with-4-bytes-padding":         {"x", 0, false, 1},
				"data-and-sack":                     {"zz", 0, false, 1},
				"data-and-heartbeat":                {"", 0, false, 1},
				"data-and-message":                  {"msg+data", 1, false, 1},
				"unknown-flag-bits":                 {"hibits", 0, false, 1},
				"end-with-payload-but-no-data-flag": {"", 0, true, 1},
			}[v.Name]
			if !known || got != want {
				t.Errorf("got %+v, want %+v (expectation %v)", got, want, v.Expect)
			}
		})
	}
}

func TestPacketPrefixes(t *testing.T) {
	for _, v := range loadVectors(t).Packets {
		b := v.bytes(t)
		for n := range HeaderSize {
			if _, err := ParsePacket(b[:n]); !errors.Is(err, ErrNotUDX) {
				t.Fatalf("%s cut to %d bytes: %v, want ErrNotUDX", v.Name, n, err)
			}
		}
		for n := HeaderSize; n < HeaderSize+int(v.Fields.DataOffset); n++ {
			if _, err := ParsePacket(b[:n]); !errors.Is(err, ErrPadding) {
				t.Fatalf("%s cut to %d bytes: %v, want ErrPadding", v.Name, n, err)
			}
		}
	}
}

func TestSACKArea(t *testing.T) {
	blocks := AppendBlock(AppendBlock(nil, Block{3, 4}), Block{6, 9})
	for _, tc := range []struct {
		name    string
		offset  uint8
		rest    []byte
		blocks  int
		payload string
	}{
		{"to the end", 0, blocks, 2, ""},
		{"remainder ignored", 0, append(bytes.Clone(blocks), 1, 2, 3), 2, ""},
		{"offset leaves payload", 8, append(bytes.Clone(blocks[:8]), "zz"...), 1, "zz"},
		{"offset covers all", 16, blocks, 2, ""},
		{"offset within a block", 12, append(bytes.Clone(blocks[:12]), 'x'), 1, "x"},
		{"nothing there", 0, nil, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := append(Header{Flags: FlagSACK, DataOffset: tc.offset}.Append(nil), tc.rest...)
			p, err := ParsePacket(b)
			if err != nil {
				t.Fatal(err)
			}
			if p.SACK.Len() != tc.blocks || string(p.Payload) != tc.payload {
				t.Errorf("%d blocks and payload %q, want %d and %q", p.SACK.Len(), p.Payload, tc.blocks, tc.payload)
			}
		})
	}
}

func TestSeqWraps(t *testing.T) {
	for _, tc := range []struct {
		a, b   Seq
		before bool
	}{
		{0, 1, true}, {1, 0, false}, {5, 5, false},
		{1<<32 - 1, 0, true}, {0, 1<<32 - 1, false},
		{1<<31 - 1, 1<<32 - 2, true}, {7, 1<<31 + 6, true}, {7, 1<<31 + 8, false},
	} {
		if got := tc.a.Before(tc.b); got != tc.before {
			t.Errorf("%d before %d is %v", tc.a, tc.b, got)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	v := loadVectors(f)
	for _, v := range append(v.Packets, v.Synthetic...) {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		var err error
		cost.Parsing.Check(t, len(b), func() { p, err = ParsePacket(b) })
		id, isUDX := PeekStreamID(b)
		if isUDX == errors.Is(err, ErrNotUDX) || isUDX && id != p.StreamID {
			t.Fatalf("peeked %v %v, parsed %+v %v", id, isUDX, p, err)
		}
		if err != nil {
			return
		}
		for i := range p.SACK.Len() {
			p.SACK.At(i)
		}
		if p.Flags&FlagSACK == 0 {
			clear(b[HeaderSize : HeaderSize+int(p.DataOffset)]) // padding is not kept
		}
		if got := p.Append(nil); !bytes.Equal(got, b) || p.Size() != len(b) {
			t.Fatalf("rebuilt %x from %x", got, b)
		}
	})
}

func BenchmarkHeaderParse(b *testing.B) {
	pkt := append(Header{Flags: FlagData, StreamID: 7, Window: DefaultWindow, Seq: 9, Ack: 8}.Append(nil), make([]byte, 1152)...)
	b.ReportAllocs()
	for b.Loop() {
		if p, err := ParsePacket(pkt); err != nil || p.Seq != 9 {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaderBuild(b *testing.B) {
	buf := make([]byte, 0, HeaderSize)
	h := Header{Flags: FlagData, StreamID: 7, Window: DefaultWindow, Seq: 9, Ack: 8}
	b.ReportAllocs()
	for b.Loop() {
		buf = h.Append(buf[:0])
	}
}

// A pool keeps buffers of both sizes, up to and with their last byte.
func TestPoolHandsBuffersOutAgain(t *testing.T) {
	for _, n := range []int{1, smallBuffer, smallBuffer + 1, largeBuffer} {
		var p Pool
		b := p.buffer(n)[:1]
		p.recycle(b)
		if again := p.buffer(n)[:1]; &again[0] != &b[0] {
			t.Errorf("a buffer for %d bytes is not handed out again", n)
		}
	}
}

func TestPoolKeepsAFewBuffers(t *testing.T) {
	var p Pool
	for range poolKept + 2 {
		p.recycle(make([]byte, 0, smallBuffer))
		p.recycle(make([]byte, 0, largeBuffer))
		p.recyclePage(&recvPage{})
	}
	if len(p.small) != poolKept || len(p.large) != poolKept || len(p.pages) != poolKept {
		t.Errorf("keeps %d small and %d large buffers, %d pages, want %d each", len(p.small), len(p.large), len(p.pages), poolKept)
	}
}
