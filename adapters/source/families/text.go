package families

import (
	"bytes"
	"fmt"
)

// text is a page in Prometheus's text format or in OpenMetrics.
type text struct {
	open bool // OpenMetrics
	bare bool // the # TYPE line of a counter lacks its suffix

	lines  lineBreak
	number int64 // lines before the one at hand

	family  []byte // of the last line of metadata
	begun   bool   // there was one
	typ     metricType
	decided bool // kept is valid
	kept    bool
	counted bool // as dropped

	own     []byte // the name of the last sample that belongs to no family with metadata
	ownKept bool

	unquoted []byte // scratch
}

type metricType uint8

const (
	otherType metricType = iota
	counter
	histogram
	gaugeHistogram
	summary
	info
)

func typeOf(word []byte) metricType {
	switch string(word) {
	case "counter":
		return counter
	case "histogram":
		return histogram
	case "gaugehistogram":
		return gaugeHistogram
	case "summary":
		return summary
	case "info":
		return info
	}
	return otherType
}

// scan implements page.
func (t *text) scan(r *Reader, end bool) {
	for {
		in := r.w.input()
		n := t.lines.find(in)
		if n == 0 {
			if !end {
				return
			}
			if n = len(in); n == 0 {
				t.yield(r)
				return
			}
		}
		t.line(r, in[:n])
		t.lines = lineBreak{}
		t.number++
	}
}

// line decides on the first line of the input.
func (t *text) line(r *Reader, line []byte) {
	switch trimmed := trimLeft(line); {
	case isBlank(trimmed):
		t.stay(r, line)
	case trimmed[0] == '#':
		if m, ok := t.metadata(trimmed); ok {
			t.describe(r, line, m)
		} else {
			t.stay(r, line)
		}
	default:
		t.sample(r, line, trimmed)
	}
}

// stay keeps a line that belongs to no family.
func (t *text) stay(r *Reader, line []byte) {
	t.yield(r)
	r.w.keep(len(line))
}

// describe decides on a line of metadata, or holds it until the type is known.
func (t *text) describe(r *Reader, line []byte, m metadata) {
	if !t.begun || !bytes.Equal(m.name, t.family) {
		t.yield(r)
		t.family = append(t.family[:0], m.name...)
		t.begun, t.typ, t.decided, t.counted = true, otherType, false, false
	}
	if m.isType {
		t.typ = typeOf(m.word)
	}
	if t.bare && !m.isType && !t.decided {
		r.w.hold(len(line))
		return
	}
	t.decide(r)
	t.pass(r, len(line), t.kept, &t.counted)
}

// decide decides on the family of the last line of metadata, and on what is held of it.
func (t *text) decide(r *Reader) {
	if t.decided {
		return
	}
	t.decided = true
	name := t.family
	if t.bare {
		name = t.typ.series(name)
		t.family = name[:len(t.family)] // with the space for the suffix
	}
	t.kept = r.rules.keeps(name)
	if t.kept {
		r.w.release()
	} else if n := r.w.discard(); n > 0 {
		r.dropped.bytes += int64(n)
		t.count(r, &t.counted)
	}
}

// series returns the name of the series of an OpenMetrics family.
func (t metricType) series(family []byte) []byte {
	suffix := ""
	switch t {
	case counter:
		suffix = "_total"
	case info:
		suffix = "_info"
	}
	if bytes.HasSuffix(family, []byte(suffix)) {
		return family
	}
	return append(family, suffix...)
}

// yield implements page.
func (t *text) yield(r *Reader) bool {
	if t.decided || r.w.held == r.w.ready {
		return false
	}
	t.decide(r)
	return true
}

// sample decides on a sample.
func (t *text) sample(r *Reader, line, trimmed []byte) {
	name := t.sampleName(trimmed)
	switch {
	case len(name) == 0:
		t.stay(r, line)
	case t.owns(name):
		t.decide(r)
		if !t.kept {
			r.dropped.samples++
		}
		t.pass(r, len(line), t.kept, &t.counted)
	default:
		t.yield(r)
		counted := true // as one of the same name
		if !bytes.Equal(name, t.own) {
			t.own = append(t.own[:0], name...)
			t.ownKept = r.rules.keeps(name)
			counted = false
		}
		if !t.ownKept {
			r.dropped.samples++
		}
		t.pass(r, len(line), t.ownKept, &counted)
	}
}

// owns reports whether a sample is one of the family of the last line of metadata.
func (t *text) owns(name []byte) bool {
	if !t.begun || !bytes.HasPrefix(name, t.family) {
		return false
	}
	switch suffix := name[len(t.family):]; string(suffix) {
	case "":
		return true
	case "_sum", "_count":
		return t.open || t.typ == histogram || t.typ == gaugeHistogram || t.typ == summary
	case "_bucket":
		return t.open || t.typ == histogram || t.typ == gaugeHistogram
	case "_gsum", "_gcount":
		return t.open || t.typ == gaugeHistogram
	case "_total", "_created", "_info":
		return t.open
	}
	return false
}

// pass keeps or drops n bytes of the input.
func (t *text) pass(r *Reader, n int, kept bool, counted *bool) {
	if kept {
		r.w.keep(n)
		return
	}
	r.drop(n)
	t.count(r, counted)
}

func (t *text) count(r *Reader, counted *bool) {
	if !*counted {
		*counted = true
		r.dropped.families++
	}
}

// tooLong implements page.
func (t *text) tooLong(r *Reader) error {
	const shown = 60
	size, begin := len(r.w.input()), string(r.w.input()[:shown])
	for {
		n, err := r.src.Read(r.w.buf)
		if i := bytes.IndexByte(r.w.buf[:n], '\n'); i >= 0 || err != nil {
			size += max(i, 0)
			break
		}
		size += n
	}
	return fmt.Errorf("line %d of the metrics, which begins with %q, is %d bytes long, want at most %d", t.number+1, begin, size, maxLine)
}

// metadata is a line of metadata.
type metadata struct {
	isType     bool
	name, word []byte // word is the type
}

// metadata parses a # HELP, # TYPE or # UNIT line that begins with its #.
func (t *text) metadata(line []byte) (m metadata, ok bool) {
	rest, ok := cutSpace(line[1:])
	if !ok || len(rest) < 4 {
		return m, false
	}
	switch string(rest[:4]) {
	case "HELP":
	case "TYPE":
		m.isType = true
	case "UNIT":
		if !t.open { // a comment
			return m, false
		}
	default:
		return m, false
	}
	if rest, ok = cutSpace(rest[4:]); !ok || len(rest) == 0 {
		return m, false
	}
	if rest[0] == '"' {
		m.name, rest, ok = t.quoted(rest)
	} else {
		n := endOf(rest, isSpace)
		m.name, rest = rest[:n], rest[n:]
	}
	m.word = bytes.TrimRight(trimLeft(rest), " \t\r\n")
	return m, ok && len(m.name) > 0
}

// sampleName returns the name of the metric in a sample, which is in front of the labels, or among them in quotes; nil for none.
func (t *text) sampleName(line []byte) []byte {
	if line[0] != '{' {
		return line[:endOf(line, func(c byte) bool { return c == '{' || isSpace(c) })]
	}
	rest := line[1:]
	for {
		rest = bytes.TrimLeft(rest, " \t,")
		if len(rest) == 0 || rest[0] == '}' {
			return nil
		}
		var name []byte
		ok := true
		if rest[0] == '"' {
			if name, rest, ok = t.quoted(rest); !ok {
				return nil
			}
		} else {
			rest = rest[endOf(rest, func(c byte) bool { return c == '=' || c == ',' || c == '}' || isSpace(c) }):]
		}
		if rest = trimLeft(rest); len(rest) == 0 {
			return nil
		}
		if rest[0] != '=' {
			return name
		}
		if rest = trimLeft(rest[1:]); len(rest) == 0 || rest[0] != '"' {
			return nil
		}
		if _, rest, ok = t.quoted(rest); !ok {
			return nil
		}
	}
}

// quoted returns the text of a string in quotes at the beginning of a line, and the rest of the line. The text is valid until the
// next call.
func (t *text) quoted(line []byte) (content, rest []byte, ok bool) {
	escaped := false
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '"':
			content, rest = line[1:i], line[i+1:]
			if escaped {
				content = t.unescape(content)
			}
			return content, rest, true
		case '\\':
			escaped = true
			i++
		}
	}
	return nil, nil, false
}

func (t *text) unescape(s []byte) []byte {
	t.unquoted = t.unquoted[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			i++ // quoted has seen that something follows
			if c = s[i]; c == 'n' {
				c = '\n'
			}
		}
		t.unquoted = append(t.unquoted, c)
	}
	return t.unquoted
}

// lineBreak finds the end of a line. A line break within quotes is part of a label's value, and of the line.
type lineBreak struct {
	seen int // bytes of the line without its end
	kind lineKind
}

type lineKind uint8

const (
	atStart lineKind = iota
	inComment
	outsideQuotes
	insideQuotes
)

// find returns the length of the first line of the input with its line break, 0 if it is not complete. It continues where the last
// call ended, which saw a part of the same input.
func (l *lineBreak) find(in []byte) int {
	for l.kind == atStart {
		if l.seen == len(in) {
			return 0
		}
		switch c := in[l.seen]; {
		case c == '#':
			l.kind = inComment
		case c == ' ' || c == '\t':
			l.seen++
		default:
			l.kind = outsideQuotes
		}
	}
	next := -1 // the first line break outside of a comment, or the end
	for l.seen < len(in) {
		if l.kind == insideQuotes {
			if !l.leaveQuotes(in) {
				return 0
			}
			continue
		}
		if next < l.seen {
			if next = bytes.IndexByte(in[l.seen:], '\n') + l.seen; next < l.seen {
				next = len(in)
			}
		}
		quote := -1
		if l.kind != inComment {
			quote = bytes.IndexByte(in[l.seen:next], '"')
		}
		switch {
		case quote >= 0:
			l.seen += quote + 1
			l.kind = insideQuotes
		case next < len(in):
			return next + 1
		default:
			l.seen = len(in)
		}
	}
	return 0
}

// leaveQuotes moves behind the quote that ends a string and reports whether there is one.
func (l *lineBreak) leaveQuotes(in []byte) bool {
	i := l.seen
	for i < len(in) && in[i] != '"' {
		if in[i] == '\\' {
			if i+1 == len(in) {
				break
			}
			i++
		}
		i++
	}
	if l.seen = i; i == len(in) || in[i] != '"' {
		return false
	}
	l.seen, l.kind = i+1, outsideQuotes
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

func isBlank(line []byte) bool { return len(line) == 0 || line[0] == '\n' }

func trimLeft(line []byte) []byte { return bytes.TrimLeft(line, " \t") }

// cutSpace removes the white space in front of the rest of a line and reports whether there was any.
func cutSpace(line []byte) (rest []byte, ok bool) {
	rest = trimLeft(line)
	return rest, len(rest) < len(line)
}

// endOf returns the index of the first byte that is an end.
func endOf(line []byte, isEnd func(byte) bool) int {
	for i, c := range line {
		if isEnd(c) {
			return i
		}
	}
	return len(line)
}
