package hyperdht_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// flushed is the result of a Flush.
type flushed struct {
	over bool
	err  error
}

func (tk *talk) flush(c *hyperdht.Connection) (f *flushed, cancel func()) {
	f = &flushed{}
	cancel = c.Flush(func(err error) {
		if f.over {
			tk.t.Error("a flush has ended twice")
		}
		*f = flushed{true, err}
	})
	if f.over {
		tk.t.Error("a flush has ended in the turn of its call")
	}
	return f, cancel
}

// A flush ends when the peer has what was sent before, however much of it is lost on the way, and not before.
func TestFlushWaitsUntilThePeerHasWhatWasSent(t *testing.T) {
	for _, loss := range []float64{0, 0.05, 0.3} {
		tk := newTalk(t, nil)
		var early *flushed
		tk.dialler.host.Do(func() {
			tk.dialled = tk.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
			tk.dialled.Send([]byte("early"))
			early, _ = tk.flush(tk.dialled) // before there is a path
		})
		if !tk.net.RunUntil(func() bool { return early.over }, time.Minute) || early.err != nil || len(tk.got) != 1 {
			t.Fatalf("loss %v, before there was a path: %+v, %d messages have arrived", loss, early, len(tk.got))
		}
		tk.dialler.host.SetAccess(simnet.Link{Loss: loss})
		sent := 1
		for i := range 30 {
			var f *flushed
			tk.dialler.host.Do(func() {
				for range 1 + 7*(i%3) {
					tk.dialled.Send(make([]byte, 1+i*997))
					sent++
				}
				f, _ = tk.flush(tk.dialled)
			})
			want := sent
			tk.net.RunUntil(func() bool { return len(tk.got) >= want }, time.Minute)
			if f.over {
				t.Fatalf("loss %v, flush %d: ended in the moment at which the peer got the last message, before its acknowledgement", loss, i)
			}
			if !tk.net.RunUntil(func() bool { return f.over }, time.Minute) || f.err != nil {
				t.Fatalf("loss %v, flush %d: %+v", loss, i, f)
			}
		}
	}
}

// Flushes end in the order of their calls; one of which nothing is under way ends at once; a cancelled one does not.
func TestFlushesEndInOrder(t *testing.T) {
	tk := newTalk(t, nil)
	tk.connect()
	tk.run(time.Second)
	var order []int
	tk.dialler.host.Do(func() {
		for i := range 4 {
			tk.dialled.Send(make([]byte, 100_000))
			cancel := tk.dialled.Flush(func(err error) {
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
			})
			if i == 1 {
				cancel()
			}
		}
	})
	tk.run(10 * time.Second)
	if len(order) != 3 || order[0] != 0 || order[1] != 2 || order[2] != 3 {
		t.Errorf("ended: %v", order)
	}
	var idle *flushed
	tk.dialler.host.Do(func() {
		idle, _ = tk.flush(tk.dialled)
		f, cancel := tk.flush(tk.dialled)
		cancel()
		cancel()
		tk.dialler.host.Defer(func() {
			if f.over {
				t.Error("a cancelled flush has ended")
			}
		})
	})
	if !idle.over || idle.err != nil {
		t.Errorf("with nothing under way: %+v", idle)
	}
}

// A flush of a connection that ends reports why, before OnClose.
func TestFlushFailsWithItsConnection(t *testing.T) {
	mine := errors.New("mine")
	for _, tc := range []struct {
		name string
		end  func(*talk)
		want error
	}{
		{"destroyed here", func(tk *talk) { tk.dialler.host.Do(func() { tk.dialled.Destroy(mine) }) }, mine},
		{"destroyed there", func(tk *talk) {
			tk.at(func() { tk.accepted.Destroy(nil) })
			tk.off(tk.answerer) // so that it acknowledges nothing
		}, nil},
		{"node closed", func(tk *talk) { tk.dialler.host.Do(func() { tk.dialler.node.Close(nil) }) }, nil},
		{"the peer is gone", func(tk *talk) { tk.off(tk.answerer) }, nil},
	} {
		for _, path := range []bool{true, false} {
			tk, want := newTalk(t, nil), tc.want
			if !path {
				tk.off(tk.answerer)
			}
			tk.connect()
			if path {
				tk.run(time.Second)
			}
			var f, later *flushed
			var closed error
			tk.dialler.host.Do(func() {
				tk.dialled.Send(make([]byte, 100_000))
				f, _ = tk.flush(tk.dialled)
				tk.dialled.OnClose(func(err error) {
					if closed = err; !f.over {
						t.Errorf("%s: OnClose is before the end of the flush", tc.name)
					}
					later, _ = tk.flush(tk.dialled)
				})
			})
			if path || want != nil { // otherwise the dial fails
				tc.end(tk)
			}
			tk.run(5 * time.Minute)
			if want == nil {
				want = closed
			}
			if closed == nil || !f.over || !errors.Is(f.err, closed) || !errors.Is(f.err, want) || later == nil || !errors.Is(later.err, closed) {
				t.Errorf("%s, with a path %v: %+v, closed with %v, later %+v", tc.name, path, f, closed, later)
			}
		}
	}
}

// Where both sides have ended in order, the peer has everything, and a flush succeeds.
func TestFlushOfAConnectionThatEndsInOrder(t *testing.T) {
	tk := newTalk(t, func(tk *talk) { tk.accepted.OnEnd(tk.accepted.End) })
	tk.connect()
	tk.run(time.Second)
	var f, later *flushed
	tk.dialler.host.Do(func() {
		tk.dialled.Send(make([]byte, 100_000))
		tk.dialled.End()
		f, _ = tk.flush(tk.dialled)
	})
	tk.run(10 * time.Second)
	tk.dialler.host.Do(func() { later, _ = tk.flush(tk.dialled) })
	if !tk.dialled.Closed() || !f.over || f.err != nil || !later.over || later.err != nil {
		t.Errorf("closed %v, %+v, later %+v", tk.dialled.Closed(), f, later)
	}
}

// What is sent after a flush does not hold it up, also before there is a path.
func TestFlushDoesNotWaitForWhatIsSentLater(t *testing.T) {
	tk := newTalk(t, func(tk *talk) { tk.accepted.OnOpen(tk.accepted.Pause) })
	var nothing, first, all *flushed
	tk.dialler.host.Do(func() {
		tk.dialled = tk.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
		nothing, _ = tk.flush(tk.dialled)
		tk.dialled.Send([]byte("early"))
		first, _ = tk.flush(tk.dialled)
		for range 200 {
			tk.dialled.Send(make([]byte, 60_000)) // more than the peer takes unread
		}
		all, _ = tk.flush(tk.dialled)
	})
	tk.run(20 * time.Second)
	if *nothing != (flushed{over: true}) || *first != (flushed{over: true}) || all.over {
		t.Errorf("%v, %v, %v; %v", *nothing, *first, *all, all.err)
	}
	tk.at(tk.accepted.Resume)
	tk.run(20 * time.Second)
	if *all != (flushed{over: true}) {
		t.Errorf("once all is read: %+v", all)
	}
}

// The handler of a flush may end what it belongs to, and other flushes.
func TestFlushHandlersMayEndEverything(t *testing.T) {
	for name, end := range map[string]func(*talk){
		"destroy":      func(tk *talk) { tk.dialled.Destroy(nil) },
		"close":        func(tk *talk) { tk.dialled.Close() },
		"close node":   func(tk *talk) { tk.dialler.node.Close(nil) },
		"suspend node": func(tk *talk) { tk.dialler.node.Suspend(nil) },
		"send":         func(tk *talk) { tk.dialled.Send([]byte("more")) },
		"flush":        func(tk *talk) { tk.dialled.Flush(nil)() },
	} {
		for _, path := range []bool{true, false} {
			tk := newTalk(t, func(tk *talk) { tk.accepted.OnEnd(tk.accepted.End) })
			if path {
				tk.connect()
				tk.run(time.Second)
			}
			first, closed, after := 0, 0, 0
			var second, third *flushed
			tk.dialler.host.Do(func() {
				if !path {
					tk.dialled = tk.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
				}
				tk.dialled.OnClose(func(error) {
					closed++
					tk.dialled.Flush(func(error) { after++ })
				})
				var cancel func()
				tk.dialled.Send([]byte("a"))
				tk.dialled.Flush(func(error) {
					first++
					cancel()
					end(tk)
					third, _ = tk.flush(tk.dialled)
				})
				cancel = tk.dialled.Flush(func(error) { t.Errorf("%s: a cancelled flush has ended", name) })
				tk.dialled.Send(make([]byte, 200_000))
				second, _ = tk.flush(tk.dialled)
			})
			tk.run(time.Minute)
			if first != 1 || !second.over || third == nil || !third.over || closed != after || size(tk.dialler.node, "streams with flushes") != 0 {
				t.Errorf("%s, with a path %v: %d, %+v, %+v, closed %d, %d", name, path, first, second, third, closed, after)
			}
		}
	}
}
