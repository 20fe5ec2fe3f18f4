package mux_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func isViolation(err error) bool { return errors.Is(err, mux.ErrProtocol) }

// openPair opens a channel on both sides and lets it become open.
func (w *world) openPair(protocol string) (a, b *mux.Channel) {
	w.t.Helper()
	a, b = w.open(w.a, w.texts(protocol, "a")), w.open(w.b, w.texts(protocol, "b"))
	w.wire.Run()
	w.wire.TakeFrames()
	if !a.Opened() || !b.Opened() {
		w.t.Fatalf("%s does not open", protocol)
	}
	return a, b
}

func (w *world) wantOpen() {
	w.t.Helper()
	for name, p := range map[string]*muxtest.Pipe{"a": w.wire.A, "b": w.wire.B} {
		if closed, err := p.Closed(); closed {
			w.t.Errorf("pipe %s closed with %v", name, err)
		}
	}
}

func TestNilAndEmptyIDsAreTheSame(t *testing.T) {
	w := newWorld(t)
	o := w.texts("p", "a")
	o.ID = []byte{}
	a := w.open(w.a, o)
	b := w.open(w.b, w.texts("p", "b"))
	w.wire.Run()
	if !a.Opened() || !b.Opened() {
		t.Error("the channels do not pair")
	}
}

func TestASecondChannelOfTheSameNameIsRefused(t *testing.T) {
	w := newWorld(t)
	a, _ := w.openPair("p")
	if _, err := w.a.Open(mux.ChannelOptions{Protocol: "p"}); !errors.Is(err, mux.ErrDuplicate) {
		t.Errorf("error %v, want ErrDuplicate", err)
	}
	if _, err := w.a.Open(mux.ChannelOptions{Protocol: "p", ID: []byte{1}}); err != nil {
		t.Errorf("another id: %v", err)
	}
	if !w.a.Opened("p", nil) || w.a.Opened("q", nil) {
		t.Error("Opened does not say which channels there are")
	}
	a.Close()
	if w.a.Opened("p", nil) {
		t.Error("a closed channel is reported as open")
	}
	if _, err := w.a.Open(mux.ChannelOptions{Protocol: "p"}); err != nil {
		t.Errorf("after a close: %v", err)
	}
}

func TestHandlerOfAnIDGoesBeforeTheOneForAll(t *testing.T) {
	w := newWorld(t)
	var asked []string
	w.b.Handle("p", nil, func(o *mux.Offer) { asked = append(asked, "any "+string(o.ID())) })
	w.b.Handle("p", []byte("x"), func(o *mux.Offer) { asked = append(asked, "x "+o.Protocol()) })
	for _, id := range []string{"x", "y", ""} {
		w.open(w.a, mux.ChannelOptions{Protocol: "p", ID: []byte(id)})
	}
	w.wire.Run()
	w.b.Unhandle("p", []byte("x"))
	w.open(w.a, mux.ChannelOptions{Protocol: "p", ID: []byte("x")})
	w.wire.Run()
	if got, want := fmt.Sprint(asked), "[x p any y any  any x]"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if got := w.b.Stats().Rejected; got != 4 {
		t.Errorf("%d rejected, want 4", got)
	}
}

func TestHeldOfferKeepsMessagesUntilRelease(t *testing.T) {
	w := newWorld(t)
	var offer *mux.Offer
	w.b.Handle("p", nil, func(o *mux.Offer) { offer = o; o.Hold() })
	o := w.texts("p", "a")
	o.Handshake = []byte("hs")
	a := w.open(w.a, o)
	a.Send(0, str("one"))
	w.wire.Run()
	if offer == nil || len(w.events) != 0 || a.Opened() {
		t.Fatalf("offer %v, events %v", offer, w.events)
	}
	b := w.open(w.b, w.logged(w.texts("p", "b"), "b", true))
	a.Send(0, str("two"))
	w.wire.Run()
	if b.Opened() || len(w.events) != 0 {
		t.Errorf("delivered before the release: %v", w.events)
	}
	offer.Release()
	offer.Release()
	a.Send(0, str("three"))
	w.wire.Run()
	if got, want := fmt.Sprint(w.events), "[[b open 6873] [b one] [b two] [b three]]"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestReleaseWithoutChannelRejects(t *testing.T) {
	w := newWorld(t)
	var offer *mux.Offer
	w.b.Handle("p", nil, func(o *mux.Offer) { offer = o; o.Hold() })
	a := w.open(w.a, w.texts("p", "a"))
	a.Send(0, make([]byte, 40000))
	w.wire.Run()
	if !w.wire.B.Paused() {
		t.Error("the pipe is not paused with 40000 bytes waiting")
	}
	offer.Release()
	w.wire.Run()
	if !a.Closed() || w.wire.B.Paused() {
		t.Errorf("closed %v, paused %v; want a reject and a resume", a.Closed(), w.wire.B.Paused())
	}
}

func TestAnOfferClosedByTheOtherSideIsWithdrawn(t *testing.T) {
	w := newWorld(t)
	var offer *mux.Offer
	w.b.Handle("p", nil, func(o *mux.Offer) { offer = o; o.Hold() })
	a := w.open(w.a, w.texts("p", "a"))
	a.Close()
	w.wire.Run()
	b := w.open(w.b, w.logged(w.texts("p", "b"), "b", false))
	offer.Release()
	w.wire.Run()
	if b.Opened() || !b.Closed() {
		t.Errorf("opened %v, closed %v; want a channel that the other side rejects", b.Opened(), b.Closed())
	}
	// The number is free again on both sides.
	w.openPair("q")
	w.wantOpen()
}

func TestCloseBeforeTheAnswerFreesTheNumberLater(t *testing.T) {
	w := newWorld(t)
	a := w.open(w.a, w.logged(w.texts("p", "a"), "a", false))
	b := w.open(w.b, w.logged(w.texts("p", "b"), "b", false))
	a.Close()
	// The number must not be used again before the answer to the open has come.
	w.open(w.a, mux.ChannelOptions{Protocol: "q"})
	w.wire.Run()
	frames := w.wire.TakeFrames()
	if got := fmt.Sprintf("%x", frames[3].Bytes); got != "000102017100" {
		t.Errorf("the next open is %s, want number 2", got)
	}
	if !b.Closed() || a.Opened() {
		t.Error("the close does not arrive")
	}
	w.open(w.a, mux.ChannelOptions{Protocol: "r"})
	w.wire.Run()
	if frames = w.wire.TakeFrames(); len(frames) == 0 || fmt.Sprintf("%x", frames[0].Bytes) != "000102017200" {
		t.Errorf("frames %x, want an open that uses number 2 again", frames)
	}
	w.wantOpen()
}

func TestClosedChannelGetsAndSendsNothing(t *testing.T) {
	w := newWorld(t)
	a, b := w.openPair("p")
	a.Send(0, str("before"))
	b.Close()
	if b.Send(0, str("after")) {
		t.Error("sending on a closed channel is welcome")
	}
	b.Close()
	w.wire.Run()
	if len(w.events) != 0 || !a.Closed() {
		t.Errorf("events %v, other side closed: %v", w.events, a.Closed())
	}
	if got := w.b.Stats().UnknownChannel; got != 1 {
		t.Errorf("%d messages for unknown channels, want 1", got)
	}
	w.wantOpen()
}

func TestChannelClosedInOnOpenGetsNoMessages(t *testing.T) {
	w := newWorld(t)
	var b *mux.Channel
	w.b.Handle("p", nil, func(*mux.Offer) {
		o := w.texts("p", "b")
		o.OnOpen = func([]byte) { b.Close() }
		b = w.open(w.b, o)
	})
	w.a.Cork()
	a := w.open(w.a, w.texts("p", "a"))
	a.Send(0, str("x"))
	w.a.Uncork()
	w.wire.Run()
	if len(w.events) != 0 || !a.Closed() {
		t.Errorf("events %v, closed %v", w.events, a.Closed())
	}
	w.wantOpen()
}

func TestMessagesOfUnknownTypesAreIgnored(t *testing.T) {
	w := newWorld(t)
	a := w.open(w.a, mux.ChannelOptions{Protocol: "p"})
	w.open(w.b, mux.ChannelOptions{Protocol: "p", Messages: []func([]byte){nil}})
	a.Send(0, nil)
	a.Send(1, nil)
	a.Send(math.MaxInt>>10, nil) // 53 bits are the most that the encoding has
	w.wire.Run()
	if got := w.b.Stats().UnknownType; got != 3 {
		t.Errorf("%d messages of unknown type, want 3", got)
	}
	w.wantOpen()
}

func TestCorkNests(t *testing.T) {
	w := newWorld(t)
	a, _ := w.openPair("p")
	w.a.Cork()
	a.Cork()
	if !a.Send(0, str("1")) {
		t.Error("sending into a batch is not welcome")
	}
	a.Uncork()
	if len(w.wire.TakeFrames()) != 0 {
		t.Error("the inner Uncork sends")
	}
	a.Send(0, str("2"))
	w.a.Uncork()
	if n := len(w.wire.TakeFrames()); n != 1 {
		t.Errorf("%d frames, want one batch", n)
	}
	w.a.Cork()
	w.a.Uncork()
	if n := len(w.wire.TakeFrames()); n != 0 {
		t.Errorf("an empty batch is sent")
	}
	defer func() {
		if recover() == nil {
			t.Error("an Uncork too many does not panic")
		}
	}()
	w.a.Uncork()
}

// The parts of a payload arrive as one, corked or not.
func TestPartsOfAPayloadAreOneMessage(t *testing.T) {
	w := newWorld(t)
	var got []string
	open := mux.ChannelOptions{Protocol: "p", Messages: []func([]byte){func(b []byte) { got = append(got, string(b)) }}}
	a, err := w.a.Open(open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Open(open); err != nil {
		t.Fatal(err)
	}
	w.wire.Run()
	a.Send(0, []byte("ab"), nil, []byte("c"))
	a.Send(0)
	a.Cork()
	a.Send(0, []byte("d"), []byte("ef"))
	a.Uncork()
	if w.wire.Run(); !slices.Equal(got, []string{"abc", "", "def"}) {
		t.Errorf("%q", got)
	}
	a.Send(0, make([]byte, mux.MaxPayload), []byte{1})
	if !w.a.Closed() {
		t.Error("a payload in parts may be longer than a whole one")
	}
}

func TestLargeBatchesAreSplit(t *testing.T) {
	w := newWorld(t)
	a, b := w.openPair("p")
	_ = b
	got := 0
	w.b.Handle("q", nil, func(*mux.Offer) {
		w.open(w.b, mux.ChannelOptions{Protocol: "q", Messages: []func([]byte){func(p []byte) { got += len(p) }}})
	})
	q := w.open(w.a, mux.ChannelOptions{Protocol: "q"})
	w.a.Cork()
	for range 5 {
		for range 3 << 20 / (4 << 10) {
			q.Send(0, make([]byte, 4<<10))
		}
		a.Send(0, str("between"))
	}
	q.Send(0, make([]byte, mux.MaxPayload))
	w.a.Uncork()
	frames := w.wire.TakeFrames()
	if len(frames) != 4 {
		t.Errorf("%d frames, want an open, two batches and one for the largest payload", len(frames))
	}
	for _, f := range frames {
		if len(f.Bytes) > mux.MaxFrame {
			t.Errorf("a frame of %d bytes", len(f.Bytes))
		}
	}
	w.wire.Run()
	if want := 5*3<<20 + mux.MaxPayload; got != want || len(w.events) != 5 {
		t.Errorf("%d bytes and %d texts arrived, want %d and 5", got, len(w.events), want)
	}
}

// A long payload is not copied into a batch, and stays in its place.
func TestLongPayloadsAreFramesOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	var got []int
	open := mux.ChannelOptions{Protocol: "p", Messages: []func([]byte){func(b []byte) { got = append(got, len(b)) }}}
	a := w.open(w.a, open)
	w.open(w.b, open)
	w.wire.Run()
	w.wire.TakeFrames()
	a.Cork()
	for _, n := range []int{1, 2, 16_000, 20_000, 3, 4} {
		a.Send(0, make([]byte, n))
	}
	a.Uncork()
	if frames := w.wire.TakeFrames(); len(frames) != 4 {
		t.Errorf("%d frames, want a batch, two payloads and a batch", len(frames))
	}
	if w.wire.Run(); !slices.Equal(got, []int{1, 2, 16_000, 20_000, 3, 4}) {
		t.Errorf("payloads of %d bytes", got)
	}
}

func TestTheLongestFrameFitsTheEncryptedStream(t *testing.T) {
	if mux.MaxFrame != secret.MaxMessage {
		t.Errorf("frames of up to %d bytes, messages of up to %d", mux.MaxFrame, secret.MaxMessage)
	}
}

func TestPayloadAboveTheLimitDestroysThePipe(t *testing.T) {
	w := newWorld(t)
	a, _ := w.openPair("p")
	if !a.Send(0, make([]byte, mux.MaxPayload)) {
		t.Error("the largest payload is refused")
	}
	if a.Send(0, make([]byte, mux.MaxPayload+1)) {
		t.Error("a larger payload is welcome")
	}
	w.wire.Run()
	if closed, err := w.wire.A.Closed(); !closed || !errors.Is(err, mux.ErrTooLong) {
		t.Errorf("closed %v with %v, want ErrTooLong", closed, err)
	}
}

func TestBackPressureIsReportedAndLifted(t *testing.T) {
	w := newWorld(t)
	drained := 0
	o := w.texts("p", "a")
	o.OnDrain = func() { drained++ }
	a := w.open(w.a, o)
	w.open(w.b, w.texts("p", "b"))
	w.wire.Run()
	w.wire.A.Window = 2
	if !a.Send(0, str("1")) || !w.a.Drained() {
		t.Error("the first message is too much")
	}
	if a.Send(0, str("2")) || w.a.Drained() {
		t.Error("the second message fills the window, but more is welcome")
	}
	w.wire.Run()
	if drained != 1 || !w.a.Drained() {
		t.Errorf("drained %d times, want 1", drained)
	}
	if len(w.events) != 2 {
		t.Errorf("events %v, want both messages", w.events)
	}
}

func TestEndOfTheOtherSideClosesAllChannels(t *testing.T) {
	w := newWorld(t)
	w.open(w.a, w.logged(w.texts("p", "a"), "a", false))
	w.open(w.b, w.logged(w.texts("p", "b"), "b", false))
	w.wire.Run()
	w.events = nil
	w.a.OnClose(func(err error) { w.event("a", "mux closed", err) })
	w.b.End()
	w.wire.Run()
	if got, want := fmt.Sprint(ofSide(w.events, 'a')), "[[a close true] [a mux closed <nil>]]"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(ofSide(w.events, 'b')), "[[b close true]]"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if _, err := w.a.Open(mux.ChannelOptions{Protocol: "q"}); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("opening on a closed pipe: %v, want ErrClosed", err)
	}
}

func TestDestroyReportsItsReason(t *testing.T) {
	w := newWorld(t)
	a, b := w.openPair("p")
	reason := errors.New("enough")
	var got error
	w.a.OnClose(func(err error) { got = err })
	w.a.Destroy(reason)
	w.a.Destroy(errors.New("too late"))
	if a.Closed() {
		t.Error("the channel closes inside Destroy")
	}
	w.wire.Run()
	if got != reason || !a.Closed() || !b.Closed() {
		t.Errorf("closed with %v, channels closed: %v, %v", got, a.Closed(), b.Closed())
	}
}

func TestNothingIsDeliveredAfterDestroy(t *testing.T) {
	w := newWorld(t)
	a := w.open(w.a, mux.ChannelOptions{Protocol: "p"})
	n := 0
	w.open(w.b, mux.ChannelOptions{Protocol: "p", Messages: []func([]byte){func([]byte) { n++; w.b.Destroy(nil) }}})
	w.wire.Run()
	a.Cork()
	a.Send(0, nil)
	a.Send(0, nil)
	a.Uncork()
	a.Send(0, nil)
	w.wire.Run()
	if n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestBatchesMayContainBatchesButNotForever(t *testing.T) {
	nested := func(depth int) []byte {
		item := []byte{9} // an unknown control message
		for range depth {
			item = append([]byte{0, 0}, compact.AppendBytes(nil, item)...) // batch on channel 0
		}
		return append([]byte{0}, item...)
	}
	for _, c := range []struct {
		name  string
		depth int
		fatal bool
	}{{"two levels", 2, false}, {"sixteen levels", 16, false}, {"seventeen levels", 17, true}, {"a million levels", 1 << 20, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newLone(t)
			var frame []byte
			if c.depth <= 1000 {
				frame = nested(c.depth)
			} else {
				// Each length takes what there is, so that the frame stays short.
				frame = append([]byte{0}, bytes.Repeat([]byte{0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff}, c.depth)...)
			}
			w.wire.B.Inject(frame)
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); closed != c.fatal || c.fatal && !isViolation(err) {
				t.Errorf("closed %v with %v", closed, err)
			}
			if got := w.b.Stats().UnknownControl; !c.fatal && got != 1 {
				t.Errorf("the innermost message was seen %d times", got)
			}
		})
	}
}

func TestMalformedFramesAreFatal(t *testing.T) {
	for name, frame := range map[string][]byte{
		"channel without type":    {1},
		"number beyond 2^53":      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0},
		"open without name":       {0, 1, 1},
		"reject without number":   {0, 2},
		"close without number":    {0, 3},
		"batch without channel":   {0, 0},
		"batch with a cut length": {0, 0, 0, 0xfd, 1},
		"reject of number 0":      {0, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLone(t)
			w.wire.B.Inject(frame)
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); !closed || !isViolation(err) {
				t.Errorf("closed %v with %v, want a protocol violation", closed, err)
			}
		})
	}
}

func openFrame(number int, protocol string) []byte {
	b := compact.AppendUint([]byte{0, 1}, uint64(number))
	return append(compact.AppendString(b, protocol), 0)
}

func TestTooManyChannelsAreRejected(t *testing.T) {
	w := newLone(t)
	w.b.Handle("p", nil, func(*mux.Offer) { w.open(w.b, mux.ChannelOptions{Protocol: "p", Multiple: true}) })
	for i := range mux.MaxChannels + 1 {
		w.wire.B.Inject(openFrame(i+1, "p"))
	}
	w.wire.Run()
	if got := w.b.Stats().Rejected; got != 1 {
		t.Errorf("%d opens rejected, want 1", got)
	}
	if _, err := w.b.Open(mux.ChannelOptions{Protocol: "q"}); !errors.Is(err, mux.ErrTooMany) {
		t.Errorf("one channel more: %v, want ErrTooMany", err)
	}
	w.wantOpen()
}

func TestAFloodOfOpensEndsAtTheLastNumber(t *testing.T) {
	w := newLone(t)
	for i := range 2 * mux.MaxChannels {
		w.wire.B.Inject(openFrame(i+1, "p"))
	}
	w.wire.Run()
	w.wantOpen()
	w.wire.B.Inject(openFrame(2*mux.MaxChannels+1, "p"))
	w.wire.Run()
	if closed, err := w.wire.B.Closed(); !closed || !isViolation(err) {
		t.Errorf("closed %v with %v, want a protocol violation", closed, err)
	}
}

// What a peer holds without having proven anything counts as a fixed sum for the channels of its connection, so it must not be
// able to make them hold more. Each open that is rejected provokes an answer.
func TestRejectedOpensLeaveNothingBehind(t *testing.T) {
	const muxes = 200
	var frames [][]byte
	for first := 1; first < 2000; first += 1000 {
		frame := []byte{0, 0, 0}
		for n := first; n < first+1000; n++ {
			open := compact.AppendUint([]byte{1}, uint64(n))
			open = append(open, 1, 'x', 0)
			frame = append(compact.AppendUint(frame, uint64(len(open))), open...)
		}
		frames = append(frames, frame)
	}
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	pipes, all := make([]sink, muxes), make([]*mux.Mux, muxes)
	for i := range all {
		all[i] = mux.New(&pipes[i])
	}
	before := heap()
	for i, m := range all {
		for _, f := range frames {
			pipes[i].receive(f)
		}
		if n := m.Stats().Rejected; n != 2000 || m.Closed() {
			t.Fatalf("%d of 2000 opens were rejected", n)
		}
	}
	if each := (heap() - before) / muxes; each > 4<<10 {
		t.Errorf("rejected opens make a mux hold %d bytes", each)
	}
	runtime.KeepAlive(all)
}

func TestHeldOffersAreBounded(t *testing.T) {
	w := newLone(t)
	held := 0
	w.b.Handle("p", nil, func(o *mux.Offer) { held++; o.Hold() })
	for i := range 100 {
		w.wire.B.Inject(openFrame(i+1, "p"))
	}
	w.wire.Run()
	if held != 64 || w.b.Stats().Rejected != 36 {
		t.Errorf("%d held and %d rejected, want 64 and 36", held, w.b.Stats().Rejected)
	}
}

func TestHeldMessagesAreBounded(t *testing.T) {
	w := newLone(t)
	w.b.Handle("p", nil, func(o *mux.Offer) { o.Hold() })
	w.wire.B.Inject(openFrame(1, "p"))
	w.wire.Run()
	// A batch of small messages costs far more than its bytes.
	frame := append([]byte{0, 0, 1}, bytes.Repeat([]byte{1, 0}, 40000)...)
	w.wire.B.Inject(frame)
	w.wire.Run()
	if closed, err := w.wire.B.Closed(); !closed || !isViolation(err) {
		t.Errorf("closed %v with %v, want a protocol violation", closed, err)
	}
}

func TestOverlongNamesAreRejected(t *testing.T) {
	w := newLone(t)
	asked := 0
	w.b.Handle(string(make([]byte, mux.MaxName)), nil, func(*mux.Offer) { asked++ })
	w.wire.B.Inject(openFrame(1, string(make([]byte, mux.MaxName))))
	w.wire.B.Inject(openFrame(1, string(make([]byte, mux.MaxName+1))))
	w.wire.Run()
	if asked != 1 || w.b.Stats().Rejected != 2 {
		t.Errorf("asked %d times, %d rejected; want 1 and 2", asked, w.b.Stats().Rejected)
	}
	w.wantOpen()
	for _, o := range []mux.ChannelOptions{
		{Protocol: string(make([]byte, mux.MaxName+1))},
		{ID: make([]byte, mux.MaxName+1)},
		{Handshake: make([]byte, mux.MaxPayload)},
	} {
		if _, err := w.b.Open(o); !errors.Is(err, mux.ErrTooLong) {
			t.Errorf("error %v, want ErrTooLong", err)
		}
	}
	if !w.b.Idle() {
		t.Error("refused channels leave something behind")
	}
	longest := mux.MaxPayload - 4*mux.MaxName // what else an open has fits beside it
	if _, err := w.b.Open(mux.ChannelOptions{Handshake: make([]byte, longest+1)}); !errors.Is(err, mux.ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
	if _, err := w.b.Open(mux.ChannelOptions{Handshake: make([]byte, longest)}); err != nil {
		t.Errorf("the longest handshake: %v", err)
	}
}

func TestSteadySendingAllocatesNothing(t *testing.T) {
	m := mux.New(discard{})
	c, err := m.Open(mux.ChannelOptions{Protocol: "p"})
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 1000)
	c.Send(0, payload)
	if n := testing.AllocsPerRun(50, func() { c.Send(0, payload) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
	batch := func() {
		c.Cork()
		c.Send(0, payload)
		c.Send(0, payload)
		c.Uncork()
	}
	batch()
	if n := testing.AllocsPerRun(50, batch); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

// discard is a pipe into nowhere.
type discard struct{}

func (discard) Send(...[]byte) bool    { return true }
func (discard) End()                   {}
func (discard) Destroy(error)          {}
func (discard) Pause()                 {}
func (discard) Resume()                {}
func (discard) OnMessage(func([]byte)) {}
func (discard) OnDrain(func())         {}
func (discard) OnEnd(func())           {}
func (discard) OnClose(func(error))    {}

// sink is a pipe from somewhere into nowhere.
type sink struct {
	discard
	receive func([]byte)
}

func (s *sink) OnMessage(f func([]byte)) { s.receive = f }

func FuzzReceive(f *testing.F) {
	g := load(f)
	for _, s := range g.Scenarios {
		for _, step := range s.Steps {
			for _, frame := range step.Frames {
				f.Add([]byte(frame.Hex), []byte{0, 1, 1, 1, 'p', 0}, uint8(len(frame.Hex)))
			}
		}
	}
	for _, v := range g.FatalInput {
		f.Add([]byte(v.Hex), []byte{1, 0}, uint8(0))
	}
	f.Add([]byte{0, 0, 0, 5, 1, 1, 1, 'h', 0, 0, 1, 3, 0, 1, 2, 0, 0, 2, 3, 1}, []byte{0, 0, 1, 1, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, first, second []byte, mode uint8) {
		cost.Repeat(t, func() {
			w := &world{t: t, wire: muxtest.NewWire()}
			w.a, w.b = mux.New(w.wire.A), mux.New(w.wire.B)
			_, _ = w.b.Open(mux.ChannelOptions{Protocol: "p", Multiple: true, Messages: []func([]byte){func([]byte) {}}})
			var offers []*mux.Offer
			w.b.Handle("h", nil, func(o *mux.Offer) {
				offers = append(offers, o)
				if mode&1 != 0 {
					o.Hold()
				}
				if mode&2 != 0 {
					_, _ = w.b.Open(mux.ChannelOptions{Protocol: "h", ID: o.ID(), Multiple: true})
				}
			})
			// An open of a few bytes makes a channel here, an answer, and at the other end a refusal of that.
			work := cost.Start(t, cost.Bound{StepsPerByte: 64, Steps: 500, BytesPerByte: 512, Bytes: 64 << 10})
			defer work.Stop()
			for _, frame := range [][]byte{first, second, first} {
				work.Allow(len(frame))
				w.wire.B.Inject(frame)
			}
			w.wire.Run()
			for _, o := range offers {
				o.Release()
			}
			w.b.End()
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); !closed || w.b.Stats().Rejected > 1<<20 {
				t.Errorf("closed %v with %v", closed, err)
			}
			if w.wire.B.Paused() && !w.b.Closed() {
				t.Error("nothing is held, but the pipe is paused")
			}
		})
	})
}

func BenchmarkSend(b *testing.B) {
	m := mux.New(discard{})
	c, err := m.Open(mux.ChannelOptions{Protocol: "p"})
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		c.Send(0, payload)
	}
}
