package interop_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

func TestGoCallsJavaScript(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net := goTestnet(t)
	theirs := jspeer.StartNode(p, net.dht(nil))
	var server struct{ PublicKey string }
	p.Call("listen", jspeer.Args{"on": theirs.On, "mode": "rpc"}, &server)
	n := startNode(t, net, hyperdht.Config{})
	var rpc *muxrpc.RPC
	opened := make(chan struct{})
	n.do(func() {
		var err error
		rpc, err = muxrpc.New(mux.New(n.Connect(key(t, server.PublicKey), hyperdht.ConnectOptions{})), muxrpc.Options{
			Protocol: "echo", OnOpen: func([]byte) { close(opened) },
		})
		if err != nil {
			t.Error(err)
		}
	})
	await(t, "the channel opens", opened)
	call := func(t *testing.T, method, value string) (string, error) {
		type outcome struct {
			value string
			err   error
		}
		done := make(chan outcome, 1)
		n.do(func() {
			_, err := rpc.Request(method, []byte(value), func(v []byte, err error) { done <- outcome{string(v), err} })
			if err != nil {
				done <- outcome{err: err}
			}
		})
		o := await(t, "the answer", done)
		return o.value, o.err
	}

	for _, size := range []int{0, 1, 8000, 5 << 20} {
		want := strings.Repeat("x", size)
		if got, err := call(t, "echo", want); err != nil || got != want {
			t.Errorf("a value of %d bytes came back with %d, %v", size, len(got), err)
		}
	}
	codes := errorCodes.in(t, p)
	for _, c := range []struct {
		name, method, value  string
		code, message, cause string
	}{
		{name: "unknown method", method: "nonsense", code: muxrpc.CodeUnknownMethod, message: "Unknown method 'nonsense'"},
		{name: "handler fails", method: "fail", code: muxrpc.CodeRequestError, message: "Request failed", cause: "asked to fail"},
		{name: "request cannot be read", method: "number", value: "short", code: muxrpc.CodeDecodeError, message: "Could not decode request", cause: "Out of bounds"},
		{name: "answer cannot be written", method: "letter", code: muxrpc.CodeEncodeError, message: "Could not encode response", cause: "not a letter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := call(t, c.method, c.value)
			var got *muxrpc.Error
			switch {
			case codes:
			case c.code == muxrpc.CodeUnknownMethod:
				c.message = "unknown method 'nonsense'"
			default:
				c.code, c.message, c.cause = "", c.cause, ""
			}
			if !errors.As(err, &got) || got.Code != c.code || got.Message != c.message {
				t.Fatalf("got %v", err)
			}
			if c.cause == "" {
				if got.Cause != nil {
					t.Errorf("the cause is %v", got.Cause)
				}
			} else if got.Cause == nil || !strings.Contains(got.Cause.Error(), c.cause) {
				t.Errorf("the cause is %v, want %q in it", got.Cause, c.cause)
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		failed := make(chan error, 1)
		n.do(func() {
			c, err := rpc.Request("hang", nil, func(_ []byte, err error) { failed <- err })
			if err != nil {
				t.Error(err)
				return
			}
			c.Cancel(muxrpc.Timeout(1))
		})
		if err := await(t, "the cancelled call", failed); !errors.Is(err, &muxrpc.Error{Code: muxrpc.CodeTimeoutExceeded}) {
			t.Errorf("got %v", err)
		}
		if got, err := call(t, "echo", "still there"); err != nil || got != "still there" {
			t.Errorf("after a call that was given up: %q, %v", got, err)
		}
	})
	t.Run("they go", func(t *testing.T) {
		if _, err := call(t, "leave", ""); !errors.Is(err, muxrpc.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestJavaScriptCallsGo(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net := javaScriptTestnet(t, p)
	n := startNode(t, net, hyperdht.Config{})
	server := n.listen(hyperdht.ListenOptions{Keys: keys(t, "rpc server"), OnConnection: func(c *hyperdht.Connection) {
		rpc, err := muxrpc.New(mux.New(c), muxrpc.Options{Protocol: "echo"})
		if err != nil {
			t.Error(err)
			return
		}
		rpc.Respond("echo", func(value []byte, reply func([]byte, error)) { reply(value, nil) })
		rpc.Respond("fail", func(_ []byte, reply func([]byte, error)) { reply(nil, errors.New("asked to fail")) })
		rpc.Respond("number", func(_ []byte, reply func([]byte, error)) {
			reply(nil, muxrpc.RequestDecodeError(errors.New("want eight bytes")))
		})
		rpc.Respond("huge", func(_ []byte, reply func([]byte, error)) { reply(make([]byte, 17<<20), nil) })
		rpc.Respond("hang", func([]byte, func([]byte, error)) {})
	}})
	theirs := jspeer.StartNode(p, net.dht(nil))
	call := func(p *jspeer.Peer, method, value string, timeoutMs int) (string, error) {
		var answer struct{ Value string }
		err := p.Try("call", jspeer.Args{
			"on": theirs.On, "key": server.PublicKey().Hex(), "method": method, "value": hex.EncodeToString([]byte(value)), "timeoutMs": timeoutMs,
		}, &answer)
		return unhex(t, answer.Value), err
	}
	const long = 20_000
	codes := errorCodes.in(t, p)
	for _, size := range []int{0, 1, 8000, 5 << 20} {
		want := strings.Repeat("x", size)
		if got, err := call(p, "echo", want, long); err != nil || got != want {
			t.Errorf("a value of %d bytes came back with %d, %v", size, len(got), err)
		}
	}
	for _, c := range []struct {
		name, method  string
		timeoutMs     int
		code, message string
	}{
		{name: "unknown method", method: "nonsense", code: muxrpc.CodeUnknownMethod, message: "UNKNOWN_METHOD: Unknown method 'nonsense'"},
		{name: "handler fails", method: "fail", code: muxrpc.CodeRequestError, message: "REQUEST_ERROR: Request failed because asked to fail"},
		{name: "request cannot be read", method: "number", code: muxrpc.CodeDecodeError, message: "DECODE_ERROR: Could not decode request because want eight bytes"},
		{name: "answer too long", method: "huge", code: muxrpc.CodeEncodeError, message: "ENCODE_ERROR: Could not encode response because "},
		{name: "no answer", method: "hang", timeoutMs: 2000, code: muxrpc.CodeTimeoutExceeded, message: "TIMEOUT_EXCEEDED: timeout of 2000ms exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := c.timeoutMs
			if timeout == 0 {
				timeout = long
			}
			if !codes && c.code != muxrpc.CodeTimeoutExceeded { // they read the message only
				_, c.message, _ = strings.Cut(c.message, ": ")
				c.message, _, _ = strings.Cut(c.message, " because ")
				c.code, c.message = muxrpc.CodeRequestError, muxrpc.CodeRequestError+": "+c.message
			}
			_, err := call(p.For(t), c.method, "", timeout)
			var got *jspeer.Error
			if !errors.As(err, &got) || got.Code != c.code || !strings.HasPrefix(got.Message, c.message) {
				t.Errorf("got %v, want %s", err, c.message)
			}
		})
	}
}
