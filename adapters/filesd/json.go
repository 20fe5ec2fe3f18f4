package filesd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decodeJSON reads the groups of a JSON file. It takes what Prometheus takes, except that a name must not be given twice in an object.
func decodeJSON(content []byte) ([]group, *fault) {
	r := &jsonReader{content: content, in: json.NewDecoder(bytes.NewReader(content)), line: 1}
	groups := r.groups()
	if r.fault == nil {
		if _, err := r.in.Token(); !errors.Is(err, io.EOF) {
			r.next()
			r.fail("more after the list of groups")
		}
	}
	return groups, r.fault
}

// jsonReader reads a file token by token, because these have places. After a fault it reads no further.
type jsonReader struct {
	content []byte
	in      *json.Decoder
	at      int // up to which lines were counted
	line    int // at
	targets int
	fault   *fault
}

// next returns the next token, nil after a fault, and moves to its line.
func (r *jsonReader) next() json.Token {
	if r.fault != nil {
		return nil
	}
	token, err := r.in.Token()
	r.moveTo(int(r.in.InputOffset()))
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		r.moveTo(int(syntax.Offset) - 1)
		r.fail("%w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.moveTo(len(r.content))
		r.fail("the file ends too early")
	case err != nil:
		r.fail("%w", err)
	}
	return token
}

func (r *jsonReader) moveTo(offset int) {
	if offset = min(offset, len(r.content)); offset > r.at {
		r.line += bytes.Count(r.content[r.at:offset], []byte("\n"))
		r.at = offset
	}
}

func (r *jsonReader) fail(format string, args ...any) {
	if r.fault == nil {
		r.fault = faultf(r.line, format, args...)
	}
}

// enter reads the beginning of a list or an object, and reports false for null.
func (r *jsonReader) enter(what string, begin json.Delim) bool {
	switch token := r.next(); token {
	case begin:
		return true
	case nil:
	default:
		r.fail("%s: found %s, want %s", what, named(token), named(begin))
	}
	return false
}

// more reports whether a list or an object has another element, and otherwise reads its end.
func (r *jsonReader) more() bool {
	if r.fault == nil && r.in.More() {
		return true
	}
	r.next()
	return false
}

// text reads a string; null is an empty one.
func (r *jsonReader) text(what string) string {
	switch token := r.next().(type) {
	case string:
		return token
	case nil:
	default:
		r.fail("%s: found %s, want a string", what, named(token))
	}
	return ""
}

func named(token json.Token) string {
	switch token := token.(type) {
	case json.Delim:
		return map[json.Delim]string{'[': "a list", '{': "an object"}[token]
	case string:
		return "a string"
	case bool:
		return "true or false"
	}
	return "a number"
}

func (r *jsonReader) groups() (groups []group) {
	if !r.enter("the file", '[') {
		return nil
	}
	for r.more() {
		groups = append(groups, r.group(len(groups)+1))
	}
	return groups
}

func (r *jsonReader) group(number int) (g group) {
	what := fmt.Sprintf("group %d", number)
	if !r.enter(what, '{') {
		r.fail("%s: found null, want an object", what)
		return g
	}
	g.line = r.line
	given := map[string]bool{}
	for r.more() {
		key := r.text(what)
		switch {
		case given[key]:
			r.fail("%s: %s is given twice", what, clip(key))
		case key == "targets":
			g.targets = r.list(what + ": targets")
		case key == "labels":
			g.labels = r.pairs(what + ": labels")
		default:
			r.fail("%s: unknown field %q, want targets or labels", what, clip(key))
		}
		given[key] = true
	}
	return g
}

func (r *jsonReader) list(what string) (list []scalar) {
	if !r.enter(what, '[') {
		return nil
	}
	for r.more() {
		text := r.text(what)
		if r.targets++; r.targets > maxTargets {
			r.fail("%w", errTooMany)
		}
		list = append(list, scalar{text, r.line})
	}
	return list
}

func (r *jsonReader) pairs(what string) (pairs []pair) {
	if !r.enter(what, '{') {
		return nil
	}
	given := map[string]bool{}
	for r.more() {
		name := r.text(what)
		if given[name] {
			r.fail("%s: %s is given twice", what, clip(name))
		}
		given[name] = true
		if len(pairs) == maxPairs {
			r.fail("%s: more than %d", what, maxPairs)
		}
		pairs = append(pairs, pair{name, r.text(what + ": " + clip(name)), r.line})
	}
	return pairs
}
