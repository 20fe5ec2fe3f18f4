package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// The counters that the vectors' unordered messages start from.
var (
	counterI = []byte{0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37}
	counterR = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// pair makes both sides of the recorded streams.
func (g golden) pair(t testing.TB) (initiator, responder *Stream) {
	i2r, r2i := g.Framing.Key.InitiatorToResponder.Key(t), g.Framing.Key.ResponderToInitiator.Key(t)
	hash := [64]byte(g.Framing.HandshakeHash)
	randI := bytes.NewReader(append(bytes.Clone(g.Framing.Initiator.SecretstreamHeader), counterI...))
	randR := bytes.NewReader(append(bytes.Clone(g.Framing.Responder.SecretstreamHeader), counterR...))
	return New(Initiator, noise.Result{Hash: hash, Tx: i2r, Rx: r2i}, randI),
		New(Responder, noise.Result{Hash: hash, Tx: r2i, Rx: i2r}, randR)
}

// collect receives a chunk and returns copies of the messages in it.
func collect(s *Stream, chunk []byte) (msgs [][]byte, err error) {
	err = s.Receive(chunk, func(msg []byte) { msgs = append(msgs, bytes.Clone(msg)) })
	return msgs, err
}

func mustAppend(t testing.TB, s *Stream, dst, plain []byte) []byte {
	t.Helper()
	out, err := s.Append(dst, plain)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFramesAgreeWithVectors(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	for _, side := range []struct {
		name     string
		from, to *Stream
		header   vectors.Hex
		messages []message
	}{
		{"initiator", i, r, g.Framing.Initiator.HeaderMessage, g.Framing.Initiator.Messages},
		{"responder", r, i, g.Framing.Responder.HeaderMessage, g.Framing.Responder.Messages},
	} {
		t.Run(side.name, func(t *testing.T) {
			header := side.from.AppendHeader([]byte("before"))
			if want := append([]byte("before"), side.header...); !bytes.Equal(header, want) || len(side.header) != HeaderLen {
				t.Errorf("header %x, want %x", header, want)
			}
			if msgs, err := collect(side.to, side.header); err != nil || msgs != nil {
				t.Fatalf("receiving the header: %x, %v", msgs, err)
			}
			for _, m := range side.messages {
				plain := plainOf(m.Plain, m.PlainLength)
				frame := mustAppend(t, side.from, nil, plain)
				m.Frame.check(t, frame)
				if len(frame) != len(plain)+Overhead {
					t.Errorf("%d bytes take %d, want %d more", len(plain), len(frame), Overhead)
				}
				msgs, err := collect(side.to, frame)
				if err != nil || len(msgs) != 1 || !bytes.Equal(msgs[0], plain) {
					t.Errorf("%d bytes do not arrive: %v", len(plain), err)
				}
			}
		})
	}
}

func TestKeepAliveIsAnEmptyMessage(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	stream := mustAppend(t, i, i.AppendHeader(nil), nil)
	want := append(bytes.Clone(g.KeepAliveFrame.HeaderMessage), g.KeepAliveFrame.EmptyMessage...)
	if !bytes.Equal(stream, want) {
		t.Errorf("keep alive %x, want %x", stream, want)
	}
	msgs, err := collect(r, stream)
	if err != nil || len(msgs) != 1 || len(msgs[0]) != 0 {
		t.Errorf("received %x, %v; want one empty message", msgs, err)
	}
}

func TestFramesMayBeCutAnywhere(t *testing.T) {
	g := load(t)
	plains := [][]byte{[]byte("hello"), {}, pattern(20000), {9}, pattern(300), pattern(growScratch - 50), {}}
	i, _ := g.pair(t)
	wire := i.AppendHeader(nil)
	for _, p := range plains {
		wire = mustAppend(t, i, wire, p)
	}
	for _, step := range []int{1, 2, 3, 7, 16, 19, 100, 1200, 4096, 16384, len(wire)} {
		t.Run(fmt.Sprintf("pieces of %d", step), func(t *testing.T) {
			_, r := g.pair(t)
			var got [][]byte
			for rest := wire; len(rest) > 0; {
				n := min(step, len(rest))
				piece := bytes.Clone(rest[:n])
				rest = rest[n:]
				msgs, err := collect(r, piece)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(piece, wire[len(wire)-len(rest)-n:len(wire)-len(rest)]) {
					t.Fatal("Receive changed its input")
				}
				got = append(got, msgs...)
			}
			if len(got) != len(plains) {
				t.Fatalf("%d messages, want %d", len(got), len(plains))
			}
			for k := range plains {
				if !bytes.Equal(got[k], plains[k]) {
					t.Errorf("message %d differs", k)
				}
			}
		})
	}
}

func TestBadInputEndsTheStream(t *testing.T) {
	g := load(t)
	want := map[string]error{
		"Invalid header received":         ErrHeader,
		"Invalid header message received": ErrHeader,
		"pull failed":                     ErrForged,
		"Invalid message received":        ErrShort,
	}
	for _, f := range g.Failures {
		for _, step := range []int{len(f.Input), 1} {
			t.Run(fmt.Sprintf("%s, in pieces of %d", f.Note, step), func(t *testing.T) {
				_, r := g.pair(t)
				var err error
				for rest := f.Input; len(rest) > 0 && err == nil; rest = rest[min(step, len(rest)):] {
					var msgs [][]byte
					msgs, err = collect(r, rest[:min(step, len(rest))])
					if msgs != nil {
						t.Errorf("received %x", msgs)
					}
				}
				if want[f.Error] == nil || !errors.Is(err, want[f.Error]) {
					t.Errorf("error %v, want %v (%s)", err, want[f.Error], f.Error)
				}
				if _, again := collect(r, g.Framing.Initiator.HeaderMessage); again != err {
					t.Errorf("after a failure: %v, want %v again", again, err)
				}
			})
		}
	}
}

// A message has one frame, in however many parts it is given and whatever is in front of it, which stays.
func TestFramesDoNotDependOnPartsAndPlace(t *testing.T) {
	g := load(t)
	for _, n := range []int{0, 1, 100, aeadMin - 1, aeadMin, 1000, 1001} {
		plain := pattern(n)
		i, _ := g.pair(t)
		want := mustAppend(t, i, nil, plain)
		for _, before := range []int{1, Headroom - 1, Headroom, Headroom + 1, 500} {
			i, _ := g.pair(t)
			dst := bytes.Repeat([]byte{0xab}, before)
			got, err := i.Append(dst, plain[:n/3], nil, plain[n/3:])
			if err != nil || !bytes.Equal(got[:before], bytes.Repeat([]byte{0xab}, before)) || !bytes.Equal(got[before:], want) {
				t.Errorf("%d bytes behind %d: %v, %x, want %x", n, before, err, got, want)
			}
		}
	}
}

func TestMessageLengthsAreBounded(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	if dst, err := i.Append([]byte{1}, make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLong) || len(dst) != 1 {
		t.Errorf("a message of MaxMessage+1: %v, %d bytes appended", err, len(dst)-1)
	}
	wire := mustAppend(t, i, i.AppendHeader(nil), make([]byte, MaxMessage))
	if msgs, err := collect(r, wire); err != nil || len(msgs) != 1 || len(msgs[0]) != MaxMessage {
		t.Errorf("a message of MaxMessage does not arrive: %v", err)
	}
	if r.buf != nil {
		t.Errorf("%d bytes are kept after a large message", cap(r.buf))
	}

	i, r = g.pair(t)
	r.LimitReceive(1000)
	wire = mustAppend(t, i, i.AppendHeader(nil), make([]byte, 1000))
	if msgs, err := collect(r, wire); err != nil || len(msgs) != 1 {
		t.Errorf("a message at the limit: %v", err)
	}
	wire = mustAppend(t, i, nil, make([]byte, 1001))
	if msgs, err := collect(r, wire[:lengthLen]); !errors.Is(err, ErrTooLong) || msgs != nil {
		t.Errorf("the length of a message above the limit: %v, want ErrTooLong", err)
	}
}

func TestAnAnnouncedLengthAllocatesLittle(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	if _, err := collect(r, i.AppendHeader(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(r, []byte{0xff, 0xff, 0xff, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if cap(r.buf) > 2*growScratch {
		t.Errorf("%d bytes are held for 3 that arrived", cap(r.buf))
	}
	if _, err := collect(r, make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if cap(r.buf) > 300<<10 {
		t.Errorf("%d bytes are held for 100 kB that arrived", cap(r.buf))
	}
}

func TestClosingInsideEmitStopsDelivery(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	wire := i.AppendHeader(nil)
	for range 3 {
		wire = mustAppend(t, i, wire, []byte("x"))
	}
	n := 0
	err := r.Receive(wire, func([]byte) { n++; r.Close() })
	if n != 1 || !errors.Is(err, ErrClosed) {
		t.Errorf("%d messages and %v, want 1 and ErrClosed", n, err)
	}
}

func TestUnorderedMessagesAgreeWithVectors(t *testing.T) {
	g := load(t)
	i, r := g.pair(t)
	for k, v := range g.Unordered {
		from, to := i, r
		if v.Sender == "responder" {
			from, to = r, i
		}
		if got := from.SealMessage(v.Plain); !bytes.Equal(got, v.Hex) {
			t.Errorf("message %d: sealed %x, want %v", k, got, v.Hex)
		}
		in := bytes.Clone(v.Hex)
		if got, ok := to.OpenMessage(in); !ok || !bytes.Equal(got, v.Plain) {
			t.Errorf("message %d: opened %x, %v; want %v", k, got, ok, v.Plain)
		}
		if !bytes.Equal(in, v.Hex) {
			t.Errorf("message %d: OpenMessage changed its input", k)
		}
		if _, ok := from.OpenMessage(v.Hex); ok {
			t.Errorf("message %d: a side opens what it sent itself", k)
		}
		for n := range v.Hex {
			if _, ok := to.OpenMessage(v.Hex[:n]); ok {
				t.Errorf("message %d opens with %d bytes of %d", k, n, len(v.Hex))
			}
		}
	}
}

func TestUnorderedCountersAreNeverUsedTwice(t *testing.T) {
	i, _ := load(t).pair(t)
	last := i.unordered.first
	last[0] -= 2
	i.unordered.counter = last
	if i.SealMessage(nil) == nil {
		t.Error("the last counter is not used")
	}
	if got := i.SealMessage(nil); got != nil {
		t.Errorf("the first counter is used again: %x", got)
	}
}

func TestStreamIDsAgreeWithDerivedSecrets(t *testing.T) {
	v := vectors.Load[struct {
		Derived struct {
			HandshakeHash, InitiatorStreamId, ResponderStreamId, InitiatorSendKey, ResponderSendKey vectors.Hex
		}
	}](t, "hashing").Derived
	r := noise.Result{Hash: [64]byte(v.HandshakeHash)}
	i := New(Initiator, r, bytes.NewReader(make([]byte, 32)))
	for _, c := range []struct {
		name string
		got  [32]byte
		want vectors.Hex
	}{
		{"own id", i.localID, v.InitiatorStreamId},
		{"other id", i.remoteID, v.ResponderStreamId},
		{"send key", i.unordered.sendKey, v.InitiatorSendKey},
		{"receive key", i.unordered.recvKey, v.ResponderSendKey},
	} {
		if !bytes.Equal(c.got[:], c.want) {
			t.Errorf("%s %x, want %v", c.name, c.got, c.want)
		}
	}
}

func TestStreamsWorkOverARealHandshake(t *testing.T) {
	rand := &counting{}
	a, b := id.KeyPairFromSeed(id.Seed{1}), id.KeyPairFromSeed(id.Seed{2})
	hi, hr := noise.NewInitiator(a, b.Public, rand), noise.NewResponder(b, rand)
	m1, err := hi.WriteMessage(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hr.ReadMessage(m1); err != nil {
		t.Fatal(err)
	}
	m2, err := hr.WriteMessage(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hi.ReadMessage(m2); err != nil {
		t.Fatal(err)
	}
	ri, _ := hi.Result()
	rr, _ := hr.Result()
	i, r := New(Initiator, ri, rand), New(Responder, rr, rand)
	msgs, err := collect(r, mustAppend(t, i, i.AppendHeader(nil), []byte("ping")))
	if err != nil || len(msgs) != 1 || string(msgs[0]) != "ping" {
		t.Errorf("responder got %q, %v", msgs, err)
	}
	msgs, err = collect(i, mustAppend(t, r, r.AppendHeader(nil), []byte("pong")))
	if err != nil || len(msgs) != 1 || string(msgs[0]) != "pong" {
		t.Errorf("initiator got %q, %v", msgs, err)
	}
}

// counting is a source of distinct bytes.
type counting struct{ n byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}

func TestStreamPrintsNoKeys(t *testing.T) {
	i, _ := load(t).pair(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, i); got != "secret.Stream" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func TestFailingRandomnessPanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), io.ErrUnexpectedEOF.Error()) {
			t.Errorf("recovered %v", r)
		}
	}()
	New(Initiator, noise.Result{}, bytes.NewReader(make([]byte, 30)))
}

func TestSteadySendingAndReceivingAllocateNothing(t *testing.T) {
	for _, n := range []int{10, 8192, 8191} {
		i, r := load(t).pair(t)
		if _, err := collect(r, i.AppendHeader(nil)); err != nil {
			t.Fatal(err)
		}
		plain := pattern(n)
		wire := make([]byte, 0, n+200)
		got := 0
		emit := func(msg []byte) { got += len(msg) }
		allocs := testing.AllocsPerRun(20, func() {
			frame, err := i.Append(wire, plain)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Receive(frame, emit); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 || got != 21*n {
			t.Errorf("%d bytes: %v allocations, %d bytes received", n, allocs, got)
		}
	}
}

func FuzzReceive(f *testing.F) {
	g := load(f)
	header := g.Framing.Initiator.HeaderMessage
	f.Add([]byte(header), uint16(1))
	f.Add(append(bytes.Clone(header), g.KeepAliveFrame.EmptyMessage...), uint16(100))
	for _, v := range g.Failures {
		f.Add([]byte(v.Input), uint16(7))
	}
	f.Fuzz(func(t *testing.T, wire []byte, step uint16) {
		cost.Repeat(t, func() {
			// The outcome must not depend on how the transport cuts the stream.
			_, whole := g.pair(t)
			want, wantErr := collect(whole, wire)
			_, cut := g.pair(t)
			work := cost.Start(t, cost.Bound{StepsPerByte: 64, Steps: 1000, BytesPerByte: 16, Bytes: 64 << 10})
			defer work.Stop()
			work.Allow(len(wire))
			var got [][]byte
			var err error
			for rest := wire; len(rest) > 0 && err == nil; {
				n := min(int(step)+1, len(rest))
				var msgs [][]byte
				msgs, err = collect(cut, rest[:n])
				got = append(got, msgs...)
				rest = rest[n:]
			}
			if err != wantErr || len(got) != len(want) {
				t.Errorf("whole: %d messages, %v; in pieces: %d, %v", len(want), wantErr, len(got), err)
			}
		})
	})
}

func FuzzOpenMessage(f *testing.F) {
	g := load(f)
	for _, v := range g.Unordered {
		f.Add([]byte(v.Hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, r := g.pair(t)
		var plain []byte
		var ok bool
		cost.Parsing.Check(t, len(b), func() { plain, ok = r.OpenMessage(b) })
		if !ok {
			return
		}
		for _, v := range g.Unordered {
			if bytes.Equal(plain, v.Plain) {
				return
			}
		}
		t.Errorf("%x opens", b)
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{64, 1024, 8191, 8192} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i, _ := load(b).pair(b)
			plain, dst := make([]byte, n), make([]byte, 0, n+200)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				i.Append(dst, plain)
			}
		})
	}
}

func BenchmarkAppendAndReceive(b *testing.B) {
	for _, n := range []int{64, 1024, 8191, 8192} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i, r := load(b).pair(b)
			r.Receive(i.AppendHeader(nil), nil)
			plain, dst := make([]byte, n), make([]byte, 0, n+200)
			emit := func([]byte) {}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				frame, _ := i.Append(dst, plain)
				if err := r.Receive(frame, emit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
