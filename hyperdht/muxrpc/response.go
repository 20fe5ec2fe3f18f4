package muxrpc

import (
	"errors"
	"strings"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// response is message type 1:
//
//	flags · uint id · value to the end
//	flags · uint id · string message [· string code] [· string cause · string code [· string context]]
//
// Bytes behind an error and unknown flags are ignored.
type response struct {
	id    uint64
	err   *Error // nil: value counts
	value []byte
}

// size is exact for values and at least what append needs for errors.
func (r response) size() int {
	n := 1 + compact.UintSize(r.id)
	if r.err == nil {
		return n + len(r.value)
	}
	n += compact.BytesSize(len(r.err.Message)) + compact.BytesSize(len(r.err.Code))
	if c := causeOf(r.err); c != nil {
		n += compact.BytesSize(len(c.Message)) + compact.BytesSize(len(c.Code)) + compact.BytesSize(len(c.Context))
	}
	return n
}

// causeOf is the cause of an error as it travels, or nil.
func causeOf(e *Error) *Cause {
	if e.Cause == nil {
		return nil
	}
	if c, ok := errors.AsType[*Cause](e.Cause); ok {
		return c
	}
	return &Cause{Message: e.Cause.Error()}
}

func appendText(dst []byte, s string) []byte {
	return compact.AppendString(dst, s[:min(len(s), maxText)])
}

func (r response) append(dst []byte) []byte {
	if r.err == nil {
		return append(compact.AppendUint(append(dst, 0), r.id), r.value...)
	}
	cause := causeOf(r.err)
	flags := byte(flagError)
	if r.err.Code != "" {
		flags |= flagCode
	}
	if cause != nil {
		flags |= flagCause
		if cause.Context != "" {
			flags |= flagContext
		}
	}
	dst = compact.AppendUint(append(dst, flags), r.id)
	dst = appendText(dst, r.err.Message)
	if r.err.Code != "" {
		dst = appendText(dst, r.err.Code)
	}
	if cause != nil {
		dst = appendText(dst, cause.Message)
		dst = appendText(dst, cause.Code)
		if cause.Context != "" {
			dst = appendText(dst, cause.Context)
		}
	}
	return dst
}

// parseResponse reads a response, whose value borrows b.
func parseResponse(b []byte) (response, error) {
	r := compact.NewReader(b)
	flags := readFlags(&r)
	m := response{id: r.Uint()}
	if flags&flagError == 0 {
		m.value = r.Rest()
		return m, r.Err()
	}
	m.err = &Error{Message: r.String()}
	switch {
	case flags&flagCode != 0:
		m.err.Code = travelling(string(r.Bytes()))
	case unknownBefore17(m.err.Message):
		m.err.Code = CodeUnknownMethod
	}
	if flags&flagCause != 0 {
		c := &Cause{Message: r.String(), Code: r.String()}
		if flags&flagContext != 0 {
			c.Context = r.String()
		}
		// The reference implementation gives causes to three kinds of known errors and to unknown ones.
		if m.err.Code != CodeUnknownMethod {
			m.err.Cause = c
		}
	}
	return m, r.Err()
}

// unknownBefore17 reports whether an error without a code is that of an unknown method. protomux-rpc sends codes since version
// 1.7 (index.js, _onrequest); before, this text was all.
func unknownBefore17(message string) bool {
	return strings.HasPrefix(message, "unknown method '") && strings.HasSuffix(message, "'")
}

// travelling keeps the codes that responders send and drops all others, see Error.Code.
func travelling(code string) string {
	switch code {
	case CodeUnknownMethod, CodeRequestError, CodeDecodeError, CodeEncodeError:
		return code
	}
	return ""
}

// readFlags reads a bitfield of one byte, which may come in the wider forms of the encoding
// (compact-encoding-bitfield).
func readFlags(r *compact.Reader) byte {
	flags := r.Uint8()
	wide := 0
	switch flags {
	case 0xfd:
		wide = 2
	case 0xfe:
		wide = 4
	case 0xff:
		wide = 8
	default:
		return flags
	}
	if b := r.Fixed(wide); b != nil {
		return b[0]
	}
	return 0
}
