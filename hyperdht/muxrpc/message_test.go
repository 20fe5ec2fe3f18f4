package muxrpc

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestEveryPrefixOfAnErrorIsRefused(t *testing.T) {
	for name, m := range map[string]response{
		"message only":           {id: 300, err: &Error{Message: "text"}},
		"with code":              {id: 1, err: &Error{Code: CodeUnknownMethod, Message: "text"}},
		"with cause":             {id: 1, err: &Error{Code: CodeRequestError, Message: "text", Cause: errors.New("why")}},
		"with cause and context": {id: 1, err: &Error{Code: CodeDecodeError, Message: "text", Cause: &Cause{Message: "why", Code: "E", Context: "c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := m.append(nil)
			if _, err := parseResponse(b); err != nil {
				t.Fatal(err)
			}
			for n := range b {
				if _, err := parseResponse(b[:n]); err == nil {
					t.Errorf("%d bytes of %d are accepted", n, len(b))
				}
			}
		})
	}
	b := request{id: 300, method: []byte("method")}.append(nil)
	for n := range b {
		if _, err := parseRequest(b[:n]); err == nil {
			t.Errorf("%d bytes of %d of a request are accepted", n, len(b))
		}
	}
}

func TestCodesOfTheCallersSideDoNotTravel(t *testing.T) {
	for _, code := range []string{CodeTimeoutExceeded, CodeChannelClosed, "E_OTHER"} {
		m, err := parseResponse(response{id: 1, err: &Error{Code: code, Message: "text", Cause: errors.New("why")}}.append(nil))
		if err != nil || m.err.Code != "" || m.err.Error() != "text" || m.err.Cause == nil {
			t.Errorf("%s: %+v, %v; want a plain error", code, m.err, err)
		}
	}
}

func TestUnknownMethodsOfOldRespondersHaveACode(t *testing.T) {
	for _, c := range []struct {
		sent Error
		code string
	}{
		{Error{Message: "unknown method 'targets'"}, CodeUnknownMethod}, // protomux-rpc 1.6.0
		{Error{Message: "unknown method"}, ""},
		{Error{Message: "unknown method 'targets' of printer"}, ""},
		{Error{Code: CodeRequestError, Message: "unknown method 'targets'"}, CodeRequestError},
	} {
		m, err := parseResponse(response{id: 1, err: &c.sent}.append(nil))
		if err != nil || m.err.Code != c.code || m.err.Message != c.sent.Message {
			t.Errorf("%+v is read as %+v, %v", c.sent, m.err, err)
		}
	}
}

func TestFlagsMayComeInWiderForms(t *testing.T) {
	plain := response{id: 7, err: &Error{Code: CodeUnknownMethod, Message: "text"}}.append(nil)
	for name, flags := range map[string][]byte{
		"16 bit": {0xfd, 3, 0},
		"32 bit": {0xfe, 3, 0, 0, 0},
		"64 bit": {0xff, 3, 0, 0, 0, 0, 0, 0, 0x80},
	} {
		m, err := parseResponse(append(flags, plain[1:]...))
		if err != nil || m.id != 7 || m.err == nil || m.err.Code != CodeUnknownMethod {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := parseResponse([]byte{0xfe, 0}); err == nil {
		t.Error("a cut bitfield is accepted")
	}
}

func TestTextsOfErrorsAreCut(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), maxText+1))
	m, err := parseResponse(response{id: 1, err: &Error{Code: CodeRequestError, Message: long, Cause: errors.New(long)}}.append(nil))
	if err != nil || len(m.err.Message) != maxText || len(m.err.Cause.Error()) != maxText {
		t.Errorf("message of %d bytes, %v", len(m.err.Message), err)
	}
}

func FuzzParseRequest(f *testing.F) {
	seedFromVectors(f, "request")
	f.Fuzz(func(t *testing.T, b []byte) {
		var m request
		var err error
		cost.Parsing.Check(t, len(b), func() { m, err = parseRequest(b) })
		if err != nil {
			return
		}
		again, err := parseRequest(m.append(nil))
		if err != nil || again.id != m.id || !bytes.Equal(again.method, m.method) || !bytes.Equal(again.value, m.value) {
			t.Errorf("%x is read as %v and then as %v, %v", b, m, again, err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	seedFromVectors(f, "response")
	f.Fuzz(func(t *testing.T, b []byte) {
		var m response
		var err error
		cost.Parsing.Check(t, len(b), func() { m, err = parseResponse(b) })
		if err != nil {
			return
		}
		again, err := parseResponse(m.append(nil))
		switch {
		case err != nil || again.id != m.id || !bytes.Equal(again.value, m.value) || (again.err == nil) != (m.err == nil):
			t.Errorf("%x is read as %v and then as %v, %v", b, m, again, err)
		case m.err != nil && m.err.Code == "" && unknownBefore17(m.err.Message): // it had a code that does not travel, and is another error without one
		case m.err != nil && len(m.err.Message) <= maxText && again.err.Error() != m.err.Error():
			t.Errorf("%x is read as %v and then as %v", b, m.err, again.err)
		}
	})
}

func seedFromVectors(f *testing.F, kind string) {
	for _, s := range load(f).Scenarios {
		for _, step := range s.Steps {
			for _, frame := range step.Frames {
				for _, c := range frame.Content {
					if c.RPC != nil && c.RPC.Kind == kind {
						f.Add([]byte(c.Payload))
					}
				}
			}
		}
	}
}
