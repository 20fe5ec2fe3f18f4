package mux_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type golden struct {
	Scenarios []struct {
		Name  string
		Steps []struct {
			Step   string
			Frames []struct {
				From string
				Hex  vectors.Hex
			}
		}
		Events [][]any
	}
	FatalInput, HarmlessInput []struct {
		Note string
		Hex  vectors.Hex
	}
}

// world is two multiplexers on a wire and what happened on them.
type world struct {
	t      *testing.T
	wire   *muxtest.Wire
	a, b   *mux.Mux
	events [][]any
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, wire: muxtest.NewWire()}
	w.a, w.b = mux.New(w.wire.A), mux.New(w.wire.B)
	return w
}

// newLone has a multiplexer on side b only, for input that no multiplexer would send.
func newLone(t *testing.T) *world {
	w := &world{t: t, wire: muxtest.NewWire()}
	w.b = mux.New(w.wire.B)
	return w
}

func (w *world) event(e ...any) { w.events = append(w.events, e) }

func str(s string) []byte { return compact.AppendString(nil, s) }

func text(payload []byte) string {
	r := compact.NewReader(payload)
	return r.String()
}

// logged adds callbacks that record the channel's life as the vectors do.
func (w *world) logged(o mux.ChannelOptions, name string, handshakes bool) mux.ChannelOptions {
	o.OnOpen = func(h []byte) {
		if handshakes {
			w.event(name, "open", hex.EncodeToString(h))
		} else {
			w.event(name, "open", nil)
		}
	}
	o.OnClose = func(remote bool) { w.event(name, "close", remote) }
	return o
}

// texts makes options of a channel with one message type, a string, recorded as (tags..., text).
func (w *world) texts(protocol string, tags ...any) mux.ChannelOptions {
	return mux.ChannelOptions{
		Protocol: protocol,
		Messages: []func([]byte){func(p []byte) { w.event(append(append([]any{}, tags...), text(p))...) }},
	}
}

func (w *world) open(m *mux.Mux, o mux.ChannelOptions) *mux.Channel {
	w.t.Helper()
	c, err := m.Open(o)
	if err != nil {
		w.t.Fatalf("open %s: %v", o.Protocol, err)
	}
	return c
}

// The scenarios of the vectors, step by step: the frames of each step must be the recorded ones.
var scenarios = map[string]func(w *world, step func(name string)){
	"both sides open a channel, exchange messages, one side closes": func(w *world, step func(string)) {
		ca := w.open(w.a, w.logged(w.texts("example", "a"), "a", false))
		cb := w.open(w.b, w.logged(w.texts("example", "b"), "b", false))
		step("both open")
		ca.Send(0, str("hello"))
		step("a sends a string")
		cb.Send(0, str("world"))
		step("b sends a string")
		ca.Close()
		step("a closes")
	},
	"handshake, id and several message types": func(w *world, step func(string)) {
		open := func(m *mux.Mux, name string, handshake []byte) *mux.Channel {
			return w.open(m, w.logged(mux.ChannelOptions{
				Protocol:  "with-id",
				ID:        bytes.Repeat([]byte{0xab}, 32),
				Handshake: handshake,
				Messages: []func([]byte){
					func(p []byte) { w.event(name, 0., float64(p[0])) },
					func([]byte) { w.event(name, 1., nil) },
					func(p []byte) { w.event(name, 2., hex.EncodeToString(p[1:])) },
				},
			}, name, true))
		}
		ca := open(w.a, "a", []byte{0xa0, 0xa1, 0xa2, 0xa3})
		open(w.b, "b", []byte{0xb0, 0xb1, 0xb2, 0xb3})
		step("both open at the same time")
		ca.Send(0, []byte{7})
		ca.Send(1, nil)
		ca.Send(2, compact.AppendBytes(nil, []byte{0, 1, 2, 3, 4}))
		step("a sends one message of each type")
	},
	"unknown protocol is rejected": func(w *world, step func(string)) {
		ca := w.open(w.a, w.logged(w.texts("nobody-home", "a"), "a", false))
		ca.Send(0, str("sent too early"))
		step("a opens and sends at once; b knows nothing about it")
		if !ca.Closed() || ca.Opened() {
			w.t.Error("the channel is not closed")
		}
	},
	"creating a channel is not enough: the open of the other side is rejected until we open too": func(w *world, step func(string)) {
		w.open(w.a, w.logged(w.texts("late", "a"), "a", false))
		step("a opens; b has created its channel but not opened it")
		w.open(w.b, w.logged(w.texts("late", "b"), "b", false))
		step("b opens; the channel of a is gone by now")
	},
	"pairing on demand": func(w *world, step func(string)) {
		w.b.Handle("on-demand", nil, func(o *mux.Offer) {
			w.open(w.b, w.logged(w.texts("on-demand", "b"), "b", false))
		})
		ca := w.open(w.a, w.logged(w.texts("on-demand", "a"), "a", false))
		ca.Send(0, str("early one"))
		ca.Send(0, str("early two"))
		step("a opens and sends before b has opened; b buffers and delivers in order")
	},
	"batches": func(w *world, step func(string)) {
		w.a.Cork()
		a1 := w.open(w.a, w.texts("one", "a", "one"))
		a2 := w.open(w.a, w.texts("two", "a", "two"))
		a1.Send(0, str("1"))
		a1.Send(0, str("2"))
		a2.Send(0, str("3"))
		a1.Send(0, str("4"))
		w.a.Uncork()
		w.open(w.b, w.texts("one", "b", "one"))
		w.open(w.b, w.texts("two", "b", "two"))
		step("a corks, opens two channels, sends four messages, uncorks; b opens both without a batch")
		w.a.Cork()
		a1.Send(0, str("single message in a batch"))
		w.a.Uncork()
		step("a sends a batch of one")
		w.a.Cork()
		a1.Close()
		a2.Close()
		w.a.Uncork()
		step("a closes both in a batch")
	},
	"replies to a batch are batched": func(w *world, step func(string)) {
		ca := w.open(w.a, mux.ChannelOptions{Protocol: "echo"})
		var cb *mux.Channel
		cb = w.open(w.b, mux.ChannelOptions{Protocol: "echo", Messages: []func([]byte){
			func(p []byte) { cb.Send(0, str(text(p)+"!")) },
		}})
		step("both open")
		ca.Send(0, str("alone"))
		step("one message, one plain reply")
		ca.Cork()
		ca.Send(0, str("x"))
		ca.Send(0, str("y"))
		ca.Uncork()
		step("two messages in a batch, replies come back in one batch")
	},
	"channel ids are reused, last freed first": func(w *world, step func(string)) {
		var as []*mux.Channel
		for _, p := range []string{"p1", "p2", "p3"} {
			as = append(as, w.open(w.a, mux.ChannelOptions{Protocol: p}))
		}
		for _, p := range []string{"p1", "p2", "p3"} {
			w.open(w.b, mux.ChannelOptions{Protocol: p})
		}
		step("three channels")
		as[0].Close()
		as[1].Close()
		step("a closes the first, then the second")
		a4 := w.open(w.a, mux.ChannelOptions{Protocol: "p4"})
		w.open(w.a, mux.ChannelOptions{Protocol: "p5"})
		w.open(w.b, mux.ChannelOptions{Protocol: "p4"})
		w.open(w.b, mux.ChannelOptions{Protocol: "p5"})
		step("two more channels")
		a4.Send(0, str("m"))
		step("message on the new channel")
	},
	"channel ids of the two sides are independent": func(w *world, step func(string)) {
		a1 := w.open(w.a, w.texts("one", "a", "one"))
		w.open(w.a, w.texts("two", "a", "two"))
		w.open(w.b, w.texts("two", "b", "two"))
		b1 := w.open(w.b, w.texts("one", "b", "one"))
		step("a opens one, two; b opens two, one")
		a1.Send(0, str("from a"))
		b1.Send(0, str("from b"))
		step("both send on channel one: each uses its own number")
	},
	"same protocol twice with unique turned off": func(w *world, step func(string)) {
		open := func(m *mux.Mux, name string) *mux.Channel {
			o := w.texts("multi", name)
			o.Multiple = true
			return w.open(m, o)
		}
		a1, a2 := open(w.a, "a1"), open(w.a, "a2")
		open(w.b, "b1")
		open(w.b, "b2")
		step("two channels with the same name pair in order")
		a1.Send(0, str("first"))
		a2.Send(0, str("second"))
		step("messages")
	},
}

func load(t testing.TB) golden {
	g := vectors.Load[golden](t, "protomux")
	if len(g.Scenarios) == 0 || len(g.FatalInput) == 0 || len(g.HarmlessInput) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return g
}

func TestFramesAgreeWithVectors(t *testing.T) {
	for _, v := range load(t).Scenarios {
		t.Run(v.Name, func(t *testing.T) {
			run := scenarios[v.Name]
			if run == nil {
				t.Fatal("a recorded scenario that is not run here")
			}
			w := newWorld(t)
			steps := 0
			run(w, func(name string) {
				t.Helper()
				w.wire.Run()
				if steps >= len(v.Steps) || v.Steps[steps].Step != name {
					t.Fatalf("step %d is %q, not recorded so", steps, name)
				}
				got := w.wire.TakeFrames()
				want := v.Steps[steps].Frames
				for i := range max(len(got), len(want)) {
					g, e := "nothing", "nothing"
					if i < len(got) {
						g = fmt.Sprintf("%s %x", got[i].From, got[i].Bytes)
					}
					if i < len(want) {
						e = fmt.Sprintf("%s %x", want[i].From, []byte(want[i].Hex))
					}
					if g != e {
						t.Errorf("%s: frame %d is %s, want %s", name, i, g, e)
					}
				}
				steps++
			})
			if steps != len(v.Steps) {
				t.Errorf("%d steps of %d", steps, len(v.Steps))
			}
			// Each side's callbacks in order. How the sides interleave is the wire's doing, not the protocol's.
			if v.Events == nil {
				return
			}
			for _, side := range []byte("ab") {
				if got, want := ofSide(w.events, side), ofSide(v.Events, side); !reflect.DeepEqual(got, want) {
					t.Errorf("events of %c: %v, want %v", side, got, want)
				}
			}
		})
	}
}

func ofSide(events [][]any, side byte) (out [][]any) {
	for _, e := range events {
		if e[0].(string)[0] == side {
			out = append(out, e)
		}
	}
	return out
}

func TestFatalInputDestroysThePipe(t *testing.T) {
	for _, v := range load(t).FatalInput {
		t.Run(v.Note, func(t *testing.T) {
			w := newLone(t)
			w.b.Handle("a", nil, func(o *mux.Offer) { o.Hold() })
			w.wire.B.Inject(v.Hex)
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); !closed || !isViolation(err) || !w.b.Closed() {
				t.Errorf("closed %v with %v, want a protocol violation", closed, err)
			}
		})
	}
}

func TestHarmlessInputIsIgnored(t *testing.T) {
	for _, v := range load(t).HarmlessInput {
		t.Run(v.Note, func(t *testing.T) {
			w := newLone(t)
			w.wire.B.Inject(v.Hex)
			w.wire.Run()
			if closed, err := w.wire.B.Closed(); closed {
				t.Errorf("closed with %v", err)
			}
			// The multiplexer still works.
			c := w.open(w.b, w.texts("x", "b"))
			w.wire.B.Inject([]byte{0, 1, 1, 1, 'x', 0})
			w.wire.Run()
			if !c.Opened() {
				t.Error("a channel does not open afterwards")
			}
		})
	}
}
