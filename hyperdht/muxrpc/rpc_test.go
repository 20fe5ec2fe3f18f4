package muxrpc

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

func TestDestroyFailsPendingRequestsWithItsReason(t *testing.T) {
	for name, c := range map[string]struct{ reason, want error }{
		"without reason": {nil, ErrDestroyed},
		"with a reason":  {io.ErrNoProgress, io.ErrNoProgress},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, Options{})
			w.b.Respond("never", func([]byte, func([]byte, error)) {})
			var order []int
			for i := range 20 {
				if _, err := w.a.Request("never", nil, func(_ []byte, err error) {
					order = append(order, i)
					if !errors.Is(err, c.want) {
						t.Errorf("error %v, want %v", err, c.want)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			w.wire.Run()
			w.a.Destroy(c.reason)
			w.a.Destroy(errors.New("again"))
			if got, want := fmt.Sprint(order), "[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]"; got != want {
				t.Errorf("failed in order %s", got)
			}
			w.wire.Run()
			if !w.b.Closed() {
				t.Error("the other side stays open")
			}
		})
	}
}

func TestClosedChannelTakesNoRequests(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.wire.Run()
	w.a.Destroy(nil)
	if _, err := w.a.Request("m", nil, func([]byte, error) { t.Error("done is called") }); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	if err := w.a.Event("m", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestRejectedChannelFailsItsRequests(t *testing.T) {
	w := newWorld(t, Options{Protocol: "only-here"}, Options{})
	o, _ := w.call("m", nil)
	if o.done != 0 {
		t.Fatal("done is called inside Request")
	}
	w.wire.Run()
	if o.done != 1 || !errors.Is(o.err, ErrClosed) || w.a.Opened() {
		t.Errorf("done %d times with %v, want ErrClosed", o.done, o.err)
	}
}

func TestClosedPipeFailsRequests(t *testing.T) {
	closes := 0
	w := newWorld(t, Options{OnClose: func(remote bool) {
		closes++
		if !remote {
			t.Error("closed by this side")
		}
	}}, Options{})
	w.b.Respond("never", func([]byte, func([]byte, error)) {})
	o, _ := w.call("never", nil)
	w.wire.Run()
	w.wire.B.Destroy(nil)
	w.wire.Run()
	if o.done != 1 || !errors.Is(o.err, ErrClosed) || closes != 1 {
		t.Errorf("done %d times with %v, closed %d times", o.done, o.err, closes)
	}
}

func TestEndWaitsForBothSides(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	var answerA, answerB func([]byte, error)
	w.a.Respond("a", func(_ []byte, reply func([]byte, error)) { answerA = reply })
	w.b.Respond("b", func(_ []byte, reply func([]byte, error)) { answerB = reply })
	mine, _ := w.call("b", nil)
	theirs := 0
	if _, err := w.b.Request("a", nil, func([]byte, error) { theirs++ }); err != nil {
		t.Fatal(err)
	}
	w.wire.Run()
	w.a.End()
	w.wire.Run()
	if w.a.Closed() || w.a.Pending() != 1 || w.a.Running() != 1 {
		t.Fatalf("closed %v, pending %d, running %d", w.a.Closed(), w.a.Pending(), w.a.Running())
	}
	answerB(nil, nil)
	w.wire.Run()
	if w.a.Closed() || mine.done != 1 || mine.err != nil {
		t.Fatalf("closed %v before the running request is answered", w.a.Closed())
	}
	answerA(nil, nil)
	w.wire.Run()
	if !w.a.Closed() || !w.b.Closed() || theirs != 1 {
		t.Errorf("closed %v and %v, answered %d", w.a.Closed(), w.b.Closed(), theirs)
	}
}

func TestEndClosesAnIdleChannelAtOnce(t *testing.T) {
	closed := false
	w := newWorld(t, Options{OnClose: func(remote bool) { closed = !remote }}, Options{})
	w.wire.Run()
	w.a.End()
	w.a.End()
	if !closed {
		t.Error("not closed by this side")
	}
}

func TestEndAfterCancelCloses(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("never", func([]byte, func([]byte, error)) {})
	o, c := w.call("never", nil)
	w.a.End()
	w.wire.Run()
	c.Cancel(Timeout(time.Second))
	c.Cancel(Timeout(time.Second))
	if o.done != 1 || !w.a.Closed() || o.err.Error() != "TIMEOUT_EXCEEDED: timeout of 1000ms exceeded" {
		t.Errorf("done %d times with %v, closed %v", o.done, o.err, w.a.Closed())
	}
}

func TestSecondReplyIsIgnored(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("m", func(v []byte, reply func([]byte, error)) {
		reply([]byte("one"), nil)
		reply([]byte("two"), nil)
		reply(nil, errors.New("three"))
	})
	o, _ := w.call("m", nil)
	w.wire.Run()
	if o.done != 1 || string(o.value) != "one" || w.b.Running() != 0 {
		t.Errorf("done %d times with %q, running %d", o.done, o.value, w.b.Running())
	}
}

func TestReplyAfterCloseGoesNowhere(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	var late func([]byte, error)
	w.b.Respond("m", func(_ []byte, reply func([]byte, error)) { late = reply })
	w.call("m", nil)
	w.wire.Run()
	w.a.Destroy(nil)
	w.wire.Run()
	w.wire.TakeFrames()
	late(nil, nil)
	if n := len(w.wire.TakeFrames()); n != 0 || w.b.Running() != 0 {
		t.Errorf("%d frames sent", n)
	}
}

func TestEventsRunAndAreNotAnswered(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	got := ""
	w.b.Respond("m", func(v []byte, reply func([]byte, error)) {
		got += string(v)
		reply(nil, errors.New("nobody hears this"))
	})
	w.wire.Run()
	w.wire.TakeFrames()
	for _, method := range []string{"m", "unknown"} {
		if err := w.a.Event(method, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	w.wire.Run()
	if n := len(w.wire.TakeFrames()); got != "x" || n != 2 {
		t.Errorf("received %q; %d frames, want the two events", got, n)
	}
}

func TestUnrespondMakesAMethodUnknown(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("m", echo)
	w.b.Unrespond("m")
	o, _ := w.call("m", nil)
	w.wire.Run()
	if !errors.Is(o.err, &Error{Code: CodeUnknownMethod}) {
		t.Errorf("error %v", o.err)
	}
}

func TestRunningRequestsAreBounded(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	var replies []func([]byte, error)
	w.b.Respond("m", func(_ []byte, reply func([]byte, error)) { replies = append(replies, reply) })
	var last *outcome
	for range MaxRunning + 1 {
		last, _ = w.call("m", nil)
	}
	w.wire.Run()
	var e *Error
	if len(replies) != MaxRunning || !errors.As(last.err, &e) || e.Code != CodeRequestError || e.Cause.Error() != "too many requests" {
		t.Errorf("%d run; the next fails with %v", len(replies), last.err)
	}
	replies[0](nil, nil)
	o, _ := w.call("m", nil)
	w.wire.Run()
	if len(replies) != MaxRunning+1 || o.done != 0 {
		t.Error("an answered request makes no room")
	}
}

func TestCallerThatDoesNotReadIsCutOff(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("m", echo)
	w.wire.Run()
	w.wire.B.Window = 1
	w.wire.A.Pause()
	for range MaxUnread + 2 {
		w.call("m", nil)
	}
	w.wire.Run()
	if closed, err := w.wire.B.Closed(); !closed || !errors.Is(err, ErrUnread) {
		t.Errorf("closed %v with %v, want ErrUnread", closed, err)
	}
}

func TestCallerThatDoesNotReadLargeAnswersIsCutOff(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	answered := 0
	w.b.Respond("m", func(_ []byte, reply func([]byte, error)) {
		answered++
		reply(make([]byte, 16<<20-1000), nil)
	})
	w.wire.Run()
	w.wire.B.Window = 1
	w.wire.A.Pause()
	for range 10 {
		w.call("m", nil)
	}
	w.wire.Run()
	if closed, err := w.wire.B.Closed(); !closed || !errors.Is(err, ErrUnread) || answered > 6 {
		t.Errorf("closed %v with %v after %d answers, want ErrUnread", closed, err, answered)
	}
}

func TestCallerThatReadsSlowlyIsServed(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("m", echo)
	w.wire.Run()
	w.wire.B.Window = 1
	for range 3 {
		w.wire.A.Pause()
		for range MaxUnread / 2 {
			w.call("m", nil)
		}
		w.wire.Run()
		w.wire.A.Resume()
		w.wire.Run()
	}
	if closed, err := w.wire.B.Closed(); closed || w.a.Pending() != 0 {
		t.Errorf("closed %v with %v, %d pending", closed, err, w.a.Pending())
	}
}

func TestMalformedMessagesDestroyTheConnection(t *testing.T) {
	for name, frame := range map[string][]byte{
		"request without method": {1, 0, 1},
		"method cut short":       {1, 0, 1, 5, 'm'},
		"response without id":    {1, 1, 0},
		"error without message":  {1, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, Options{})
			w.wire.Run()
			w.wire.B.Inject(frame)
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); !closed || !errors.Is(err, ErrMalformed) {
				t.Errorf("closed %v with %v, want ErrMalformed", closed, err)
			}
		})
	}
}

func TestUnknownResponsesAreIgnored(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.wire.Run()
	for _, id := range []byte{0, 1, 99} {
		w.wire.A.Inject([]byte{1, 1, 0, id})
	}
	w.b.Respond("m", echo)
	o, _ := w.call("m", []byte("x"))
	w.wire.Run()
	// The response to id 1 came before the request was delivered: it is what the caller gets.
	if closed, err := w.wire.A.Closed(); closed || o.done != 1 {
		t.Errorf("closed %v with %v, done %d", closed, err, o.done)
	}
}

func TestLargeValues(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	size := MaxValue
	w.b.Respond("m", func(_ []byte, reply func([]byte, error)) { reply(make([]byte, size), nil) })
	o, _ := w.call("m", nil)
	w.wire.Run()
	if len(o.value) != size || o.err != nil {
		t.Errorf("the largest response: %d bytes, %v", len(o.value), o.err)
	}
	size++
	o, _ = w.call("m", nil)
	w.wire.Run()
	if !errors.Is(o.err, &Error{Code: CodeEncodeError}) {
		t.Errorf("a larger response: %v, want ENCODE_ERROR", o.err)
	}
	if _, err := w.a.Request("m", make([]byte, mux.MaxPayload), nil); !errors.Is(err, mux.ErrTooLong) {
		t.Errorf("a large request: %v, want mux.ErrTooLong", err)
	}
	if closed, err := w.wire.A.Closed(); closed {
		t.Errorf("closed with %v", err)
	}
}

func TestLongUnknownMethodsAreQuotedInPart(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	o, _ := w.call(string(make([]byte, 100000)), nil)
	w.wire.Run()
	if o.err == nil || len(o.err.Error()) > 2*maxQuoted {
		t.Errorf("an error of %d bytes", len(o.err.Error()))
	}
}

func TestSecondChannelOfTheSameNameIsRefused(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	if _, err := New(w.a.Mux(), Options{}); !errors.Is(err, mux.ErrDuplicate) {
		t.Errorf("error %v, want mux.ErrDuplicate", err)
	}
	if _, err := New(w.a.Mux(), Options{ID: []byte("other")}); err != nil {
		t.Errorf("another id: %v", err)
	}
}

func TestHandlersMayDestroyEverything(t *testing.T) {
	w := newWorld(t, Options{}, Options{})
	w.b.Respond("m", func(_ []byte, reply func([]byte, error)) {
		w.b.Destroy(nil)
		reply(nil, nil)
	})
	w.a.Cork()
	one, _ := w.call("m", nil)
	two, _ := w.call("m", nil)
	w.a.Uncork()
	w.wire.Run()
	if one.done != 1 || two.done != 1 || !errors.Is(two.err, ErrClosed) {
		t.Errorf("%+v, %+v", one, two)
	}
}
