package muxscrape

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// request is the message: uint id · uint credit · uint flags · uint milliseconds · string target · string query · uint n · n ×
// (string name · string value). The time is in whole milliseconds, rounded down, at least one.
type request struct {
	id, credit uint64
	domain.ScrapeRequest
}

const (
	flagCompress = 1 // of a request: see domain.ScrapeRequest.Compress
	flagLength   = 1 // of a response: the length is known
)

func (m *request) check() error {
	total := 0
	for _, f := range m.Header {
		total += len(f.Name) + len(f.Value)
		if f.Name == "" || len(f.Name) > maxFieldName || len(f.Value) > maxFieldValue || !printable(f.Name) || !printable(f.Value) {
			return fmt.Errorf("header field %.40q: %w", f.Name, ErrTooLong)
		}
	}
	switch {
	case len(m.Target) > maxTarget:
		return fmt.Errorf("target of %d bytes, want at most %d: %w", len(m.Target), maxTarget, ErrTooLong)
	case len(m.Query) > maxQuery:
		return fmt.Errorf("query of %d bytes, want at most %d: %w", len(m.Query), maxQuery, ErrTooLong)
	case len(m.Header) > maxFields || total > maxFieldsTotal:
		return fmt.Errorf("%d header fields of %d bytes, want at most %d of %d: %w", len(m.Header), total, maxFields, maxFieldsTotal, ErrTooLong)
	}
	return nil
}

// printable reports whether a text has no control characters.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func (m *request) append(b []byte) []byte {
	b = compact.AppendUint(b, m.id)
	b = compact.AppendUint(b, m.credit)
	flags := uint64(0)
	if m.Compress {
		flags |= flagCompress
	}
	b = compact.AppendUint(b, flags)
	b = compact.AppendUint(b, uint64(max(m.Within.Milliseconds(), 1)))
	b = compact.AppendString(b, m.Target)
	b = compact.AppendString(b, m.Query)
	b = compact.AppendUint(b, uint64(len(m.Header)))
	for _, f := range m.Header {
		b = compact.AppendString(b, f.Name)
		b = compact.AppendString(b, f.Value)
	}
	return b
}

// maxWithin bounds the time in a request: more is as good as no end.
const maxWithin = 24 * time.Hour

// parseRequest reads a request. Bytes after it are ignored. The id is valid with ErrTooLong, too.
func parseRequest(b []byte) (m request, err error) {
	r := compact.NewReader(b)
	m.id, m.credit = r.Uint(), min(r.Uint(), maxCredit)
	m.Compress = r.Uint()&flagCompress != 0
	m.Within = time.Duration(min(r.Uint(), uint64(maxWithin.Milliseconds()))) * time.Millisecond
	m.Target, m.Query = limited(&r, maxTarget), limited(&r, maxQuery)
	n := r.Count(2, maxFields)
	if n > 0 {
		m.Header = make([]domain.HeaderField, 0, n)
	}
	for range n {
		m.Header = append(m.Header, domain.HeaderField{Name: limited(&r, maxFieldName), Value: limited(&r, maxFieldValue)})
	}
	switch err := r.Err(); {
	case errors.Is(err, compact.ErrTooLong):
		return m, fmt.Errorf("header fields: %w", ErrTooLong)
	case err != nil:
		return m, err
	}
	return m, m.check()
}

// limited reads a text of at most limit bytes.
func limited(r *compact.Reader, limit int) string {
	b := r.Bytes()
	if len(b) > limit {
		r.Fail(ErrTooLong)
		return ""
	}
	return string(b)
}

// checkVersion returns the version that a client reports, or "" for one that is too long, or not of printable ASCII.
func checkVersion(v []byte) string {
	if len(v) > maxVersion || bytes.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return string(v)
}

// appendHandshake appends the handshake of a responder: string version. A version that cannot be shown is not sent.
func appendHandshake(b []byte, version string) []byte {
	if version = checkVersion([]byte(cut(version, maxVersion))); version == "" {
		return b
	}
	return compact.AppendString(b, version)
}

// parseHandshake returns the version of a responder, or "" where it sends none that can be shown. Bytes after it are ignored.
func parseHandshake(b []byte) (version string) {
	r := compact.NewReader(b)
	v := r.Bytes()
	if r.Err() != nil {
		return ""
	}
	return checkVersion(v)
}

// response is the message: uint id · uint flags · uint status · string content type · string coding · uint length, if flagged.
type response struct {
	id uint64
	domain.ScrapeHead
}

func (m *response) append(b []byte) []byte {
	flags := uint64(0)
	if m.Length >= 0 {
		flags |= flagLength
	}
	b = compact.AppendUint(b, m.id)
	b = compact.AppendUint(b, flags)
	b = compact.AppendUint(b, uint64(m.Status))
	b = compact.AppendString(b, m.ContentType)
	b = compact.AppendString(b, m.Coding)
	if m.Length >= 0 {
		b = compact.AppendUint(b, uint64(m.Length))
	}
	return b
}

func parseResponse(b []byte) (m response, err error) {
	r := compact.NewReader(b)
	m.id = r.Uint()
	flags, status := r.Uint(), r.Uint()
	m.ContentType, m.Coding, m.Length = limited(&r, maxType), limited(&r, maxCoding), -1
	if flags&flagLength != 0 {
		m.Length = int64(r.Uint())
	}
	switch {
	case r.Err() != nil:
		return response{}, r.Err()
	case status < 100 || status > 999:
		return response{}, fmt.Errorf("status %d, want 100 to 999", status)
	case !printable(m.ContentType) || !printable(m.Coding):
		return response{}, fmt.Errorf("content type %.40q or coding %.40q has control characters", m.ContentType, m.Coding)
	}
	m.Status = int(status)
	return m, nil
}

// appendDataHead appends what the message has before a piece of the body: uint id. Its length is odd, and one byte or nine: with the bytes
// for channel and type, messages with ports.Piece have a multiple of 8 bytes, which are encrypted and authenticated in one pass.
func appendDataHead(b []byte, id uint64) []byte {
	if compact.UintSize(id) > 1 {
		return compact.AppendLongUint(b, id)
	}
	return compact.AppendUint(b, id)
}

func parseData(b []byte) (id uint64, piece []byte, err error) {
	r := compact.NewReader(b)
	id, piece = r.Uint(), r.Rest()
	return id, piece, r.Err()
}

func parseCancel(b []byte) (id uint64, err error) {
	r := compact.NewReader(b)
	id = r.Uint()
	return id, r.Err()
}

// end is the message: uint id · uint code · string reason.
type end struct {
	id     uint64
	code   code
	reason string
}

func (m *end) append(b []byte) []byte {
	b = compact.AppendUint(b, m.id)
	b = compact.AppendUint(b, uint64(m.code))
	return compact.AppendString(b, m.reason)
}

func parseEnd(b []byte) (m end, err error) {
	r := compact.NewReader(b)
	m.id = r.Uint()
	c := r.Uint()
	m.code, m.reason = byClient, oneLine(string(cut(r.Bytes(), maxReason)))
	if c <= uint64(byRequest) {
		m.code = code(c)
	}
	return m, r.Err()
}

// window is the message: uint id · uint bytes.
type window struct{ id, bytes uint64 }

func (m *window) append(b []byte) []byte {
	return compact.AppendUint(compact.AppendUint(b, m.id), m.bytes)
}

func parseWindow(b []byte) (m window, err error) {
	r := compact.NewReader(b)
	m.id, m.bytes = r.Uint(), r.Uint()
	return m, r.Err()
}

// cut returns at most the first n bytes of b.
func cut[T string | []byte](b T, n int) T { return b[:min(len(b), n)] }

// fieldValue replaces bytes that the value of a header field cannot have. All others stay, valid UTF-8 or not.
func fieldValue(s string) string {
	if printable(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// oneLine replaces what does not belong into a line of text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
