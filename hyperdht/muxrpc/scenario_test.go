package muxrpc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

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
				From    string
				Hex     vectors.Hex
				Content []struct {
					Type    int
					Payload vectors.Hex
					RPC     *view
				}
			}
			Result any
		}
	}
}

// view is a message as the vectors take it apart.
type view struct {
	Kind                                  string
	Flags                                 byte
	ID                                    uint64
	Method                                string
	Value                                 vectors.Hex
	ErrorMessage, ErrorCode               string
	CauseMessage, CauseCode, CauseContext string
}

func load(t testing.TB) golden {
	g := vectors.Load[golden](t, "protomux-rpc")
	if len(g.Scenarios) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return g
}

// world is two RPCs on a wire.
type world struct {
	t    *testing.T
	wire *muxtest.Wire
	a, b *RPC
}

func newWorld(t *testing.T, a, b Options) *world {
	t.Helper()
	w := &world{t: t, wire: muxtest.NewWire()}
	var err error
	if w.a, err = New(mux.New(w.wire.A), a); err != nil {
		t.Fatal(err)
	}
	if w.b, err = New(mux.New(w.wire.B), b); err != nil {
		t.Fatal(err)
	}
	return w
}

// outcome is the result of a call.
type outcome struct {
	done  int
	value []byte
	err   error
}

func (w *world) call(method string, value []byte) (*outcome, *Call) {
	w.t.Helper()
	o := &outcome{}
	c, err := w.a.Request(method, value, func(v []byte, err error) {
		o.done++
		o.value, o.err = bytes.Clone(v), err
	})
	if err != nil {
		w.t.Fatalf("request %s: %v", method, err)
	}
	return o, c
}

// plain writes an outcome as the vectors do; decode turns the value into what JavaScript saw.
func (o *outcome) plain(t *testing.T, decode func(*compact.Reader) any) any {
	t.Helper()
	if o.done != 1 {
		t.Fatalf("the call was finished %d times", o.done)
	}
	err := o.err
	if err == nil {
		r := compact.NewReader(o.value)
		v := decode(&r)
		if r.Err() == nil {
			return map[string]any{"value": v}
		}
		err = ResponseDecodeError(&Cause{Message: "Out of bounds"})
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("not an *Error: %v", err)
	}
	thrown := map[string]any{"message": e.Error(), "code": orNil(e.Code), "cause": nil}
	var c *Cause
	if errors.As(e.Cause, &c) {
		thrown["cause"] = map[string]any{"message": c.Message, "code": orNil(c.Code), "context": orNil(c.Context)}
	}
	return map[string]any{"thrown": thrown}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func optional(r *compact.Reader) any {
	if b := r.OptionalBytes(); b != nil {
		return hex.EncodeToString(b)
	}
	return nil
}

func uintValue(r *compact.Reader) any { return float64(r.Uint()) }

func textValue(r *compact.Reader) any { return r.String() }

func seq(n int) (b []byte) {
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func packed(b []byte) []byte { return compact.AppendBytes(nil, b) }

func echo(value []byte, reply func([]byte, error)) { reply(value, nil) }

type stepFunc func(name string, result ...any)

var scenarios = map[string]func(t *testing.T, start func(a, b Options) *world, step stepFunc){
	"requests with the default value encoding (optional buffer)": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{}, Options{})
		w.b.Respond("echo", echo)
		w.b.Respond("nothing", func(_ []byte, reply func([]byte, error)) { reply(packed(nil), nil) })
		step("both sides open")
		for _, c := range []struct {
			step, method string
			value        []byte
		}{
			{"request with a value", "echo", seq(3)},
			{"request with null", "echo", nil},
			{"null response", "nothing", seq(3)},
			{"value of 300 bytes", "echo", bytes.Repeat([]byte{7}, 300)},
		} {
			o, _ := w.call(c.method, packed(c.value))
			w.wire.Run()
			step(c.step, o.plain(t, optional))
		}
		if err := w.a.Event("echo", packed(seq(2))); err != nil {
			t.Error(err)
		}
		step("event: id 0, no response")
	},
	"typed values, several requests in flight, answered out of order": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{Protocol: "typed"}, Options{Protocol: "typed"})
		var release func([]byte, error)
		w.b.Respond("slow", func(_ []byte, reply func([]byte, error)) { release = reply })
		w.b.Respond("fast", func(v []byte, reply func([]byte, error)) {
			reply(append(v[:1:1], bytes.ToUpper(v[1:])...), nil)
		})
		step("both sides open")
		slow, _ := w.call("slow", packed([]byte("first")))
		fast, _ := w.call("fast", packed([]byte("second")))
		w.wire.Run()
		step("the second request is answered first", fast.plain(t, textValue))
		release(packed([]byte("done")), nil)
		w.wire.Run()
		step("the first is answered later", slow.plain(t, textValue))
	},
	"errors": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{}, Options{})
		fail := func(err error) Responder {
			return func(_ []byte, reply func([]byte, error)) { reply(nil, err) }
		}
		w.b.Respond("fails", fail(errors.New("boom")))
		w.b.Respond("fails-with-code", fail(&Cause{Message: "boom", Code: "E_BOOM"}))
		w.b.Respond("fails-with-context", fail(fmt.Errorf("wrapped: %w", &Cause{Message: "boom", Code: "E_BOOM", Context: "some context"})))
		w.b.Respond("wants-uint", func(v []byte, reply func([]byte, error)) {
			r := compact.NewReader(v)
			n := r.Uint()
			if r.Err() != nil {
				reply(nil, RequestDecodeError(&Cause{Message: "Out of bounds"}))
				return
			}
			reply(compact.AppendUint(nil, n+1), nil)
		})
		w.b.Respond("bad-response", fail(ResponseEncodeError(errors.New("Incorrect buffer size"))))
		step("both sides open")
		fixed32 := func(r *compact.Reader) any { return r.Key() }
		for _, c := range []struct {
			step, method string
			value        []byte
			decode       func(*compact.Reader) any
		}{
			{"unknown method", "missing", packed(nil), optional},
			{"handler throws", "fails", packed(nil), optional},
			{"handler throws with a code", "fails-with-code", packed(nil), optional},
			{"handler throws with code and context", "fails-with-context", packed(nil), optional},
			{"request value cannot be decoded", "wants-uint", nil, optional},
			{"response value cannot be encoded", "bad-response", nil, optional},
			{"works", "wants-uint", []byte{41}, uintValue},
			{"response value cannot be decoded by the caller", "wants-uint", []byte{41}, fixed32},
		} {
			o, _ := w.call(c.method, c.value)
			w.wire.Run()
			step(c.step, o.plain(t, c.decode))
		}
	},
	"timeout": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{}, Options{})
		var release func([]byte, error)
		w.b.Respond("never", func(_ []byte, reply func([]byte, error)) { release = reply })
		step("both sides open")
		o, c := w.call("never", packed(nil))
		w.wire.Run()
		c.Cancel(Timeout(30 * time.Millisecond))
		step("the caller gives up; nothing is sent for that", o.plain(t, optional))
		release(packed(nil), nil)
		step("the late response is ignored")
		if o.done != 1 {
			t.Errorf("the call was finished %d times", o.done)
		}
	},
	"closing": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{}, Options{})
		w.b.Respond("never", func([]byte, func([]byte, error)) {})
		step("both sides open")
		o, _ := w.call("never", packed(nil))
		step("request in flight")
		w.b.Destroy(nil)
		w.wire.Run()
		step("the responder destroys its end; pending requests fail", o.plain(t, optional))
		if !errors.Is(o.err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", o.err)
		}
	},
	"handshake and id": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		id := bytes.Repeat([]byte{5}, 32)
		var heard []string
		hear := func(h []byte) { heard = append(heard, hex.EncodeToString(h)) }
		w := start(Options{ID: id, Handshake: seq(4), OnOpen: hear}, Options{ID: id, Handshake: []byte{0x50, 0x51}, OnOpen: hear})
		step("both sides open")
		if !w.a.Opened() || !w.b.Opened() || len(heard) != 2 {
			t.Errorf("handshakes %v", heard)
		}
	},
	"batched requests": func(t *testing.T, start func(a, b Options) *world, step stepFunc) {
		w := start(Options{}, Options{})
		w.b.Respond("echo", echo)
		step("both sides open")
		w.a.Cork()
		one, _ := w.call("echo", packed(seq(1)))
		two, _ := w.call("echo", packed(seq(2)))
		w.a.Uncork()
		w.wire.Run()
		step("two requests in one frame; the responses follow in one frame", []any{one.plain(t, optional), two.plain(t, optional)})
	},
}

func TestFramesAgreeWithVectors(t *testing.T) {
	for _, v := range load(t).Scenarios {
		t.Run(v.Name, func(t *testing.T) {
			run := scenarios[v.Name]
			if run == nil {
				t.Fatal("a recorded scenario that is not run here")
			}
			var w *world
			start := func(a, b Options) *world { w = newWorld(t, a, b); return w }
			steps := 0
			run(t, start, func(name string, result ...any) {
				t.Helper()
				w.wire.Run()
				if steps >= len(v.Steps) || v.Steps[steps].Step != name {
					t.Fatalf("step %d is %q, not recorded so", steps, name)
				}
				want := v.Steps[steps]
				got := w.wire.TakeFrames()
				if len(got) != len(want.Frames) {
					t.Errorf("%s: %d frames, want %d", name, len(got), len(want.Frames))
				}
				for i := range min(len(got), len(want.Frames)) {
					if e := want.Frames[i]; got[i].From != e.From || !bytes.Equal(got[i].Bytes, e.Hex) {
						t.Errorf("%s: frame %d is %s %x, want %s %v", name, i, got[i].From, got[i].Bytes, e.From, e.Hex)
					}
				}
				if len(result) > 0 && !reflect.DeepEqual(normal(t, result[0]), want.Result) {
					t.Errorf("%s: result %v, want %v", name, result[0], want.Result)
				}
				steps++
			})
			if steps != len(v.Steps) {
				t.Errorf("%d steps of %d", steps, len(v.Steps))
			}
		})
	}
}

// normal turns a value into what encoding/json would read back.
func normal(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMessagesAgreeWithVectors(t *testing.T) {
	seen := 0
	for _, s := range load(t).Scenarios {
		for _, step := range s.Steps {
			for _, f := range step.Frames {
				for _, c := range f.Content {
					if c.RPC == nil {
						continue
					}
					seen++
					v := c.RPC
					if v.Kind == "request" {
						m, err := parseRequest(c.Payload)
						if err != nil || m.id != v.ID || string(m.method) != v.Method || !bytes.Equal(m.value, v.Value) {
							t.Errorf("%s: request %v, %v; want %+v", step.Step, m, err, v)
						}
						if got := m.append(nil); !bytes.Equal(got, c.Payload) || len(got) != m.size() {
							t.Errorf("%s: request appended as %x (size %d), want %v", step.Step, got, m.size(), c.Payload)
						}
						continue
					}
					m, err := parseResponse(c.Payload)
					if err != nil || m.id != v.ID || (m.err != nil) != (v.Flags&1 != 0) {
						t.Fatalf("%s: response %v, %v; want %+v", step.Step, m, err, v)
					}
					if m.err == nil && !bytes.Equal(m.value, v.Value) {
						t.Errorf("%s: value %x, want %v", step.Step, m.value, v.Value)
					}
					if m.err != nil {
						cause := causeOf(m.err)
						if cause == nil {
							cause = &Cause{}
						}
						got := []string{m.err.Message, m.err.Code, cause.Message, cause.Code, cause.Context}
						want := []string{v.ErrorMessage, v.ErrorCode, v.CauseMessage, v.CauseCode, v.CauseContext}
						if !reflect.DeepEqual(got, want) {
							t.Errorf("%s: error %q, want %q", step.Step, got, want)
						}
					}
					if got := m.append(nil); !bytes.Equal(got, c.Payload) || len(got) > m.size() {
						t.Errorf("%s: response appended as %x (size %d), want %v", step.Step, got, m.size(), c.Payload)
					}
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d messages in the vectors", seen)
	}
}
