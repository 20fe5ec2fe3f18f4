package families

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// protobuf is a page of io.prometheus.client.MetricFamily messages, each after its length. Of a message it reads the numbers and
// lengths of the fields up to the name, and of one that it drops also those of the rest, to count the metrics.
type protobuf struct {
	state  state
	size   int64 // of the message
	prefix int   // bytes of its length; 0 until it has been read
	head   int64 // bytes of the length, and of the fields up to the name
	left   int64 // bytes of the message, and of its length, without a decision
	field  int64 // bytes of a field of a dropped message that are left
}

type state uint8

const (
	atHead state = iota
	keeping
	dropping
	malformed // no message can be found in the rest, and it passes
)

// Numbers of fields of a MetricFamily.
const (
	nameField   = 1
	metricField = 4
)

// Wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// scan implements page.
func (p *protobuf) scan(r *Reader, end bool) {
	for progress := true; progress && len(r.w.input()) > 0; {
		in := r.w.input()
		switch p.state {
		case atHead:
			progress = p.scanHead(r, in)
		case keeping:
			n := int(min(p.left, int64(len(in))))
			r.w.keep(n)
			p.advance(n)
		case dropping:
			progress = p.scanDropped(r, in[:min(p.left, int64(len(in)))])
		case malformed:
			r.w.keep(len(in))
		}
	}
	if !end {
		return
	}
	if p.state != dropping {
		r.w.keep(len(r.w.input()))
		return
	}
	r.drop(len(r.w.input()))
	if r.err == io.EOF {
		r.err = io.ErrUnexpectedEOF
	}
}

// advance notes a decision on n bytes of the message.
func (p *protobuf) advance(n int) {
	if p.left -= int64(n); p.left == 0 {
		*p = protobuf{}
	}
}

// scanHead looks for the name of a message and reports whether it decided.
func (p *protobuf) scanHead(r *Reader, in []byte) bool {
	if p.prefix == 0 {
		size, n := binary.Uvarint(in)
		switch {
		case n == 0:
			return false
		case n < 0 || size > math.MaxInt64-binary.MaxVarintLen64:
			p.state = malformed
			return true
		}
		p.prefix, p.head, p.size = n, int64(n), int64(size)
		p.left = int64(n) + p.size
	}
	for {
		rest := in[min(p.head, int64(len(in))):]
		after := p.left - p.head // bytes of the message after the fields so far
		f, ok := parseField(rest, after)
		switch {
		case !ok:
			p.state = keeping // it has no name
			return true
		case f.header == 0:
			return false
		case f.number != nameField || f.wire != wireBytes:
			p.head += f.length()
		case int64(len(rest)) < f.length():
			return false
		default:
			p.decide(r, rest[f.header:f.length()])
			return true
		}
	}
}

func (p *protobuf) decide(r *Reader, name []byte) {
	if r.rules.keeps(name) {
		p.state = keeping
		return
	}
	r.dropped.families++
	p.state, p.field = dropping, int64(p.prefix)
}

// scanDropped drops a part of a message and reports whether there was one.
func (p *protobuf) scanDropped(r *Reader, in []byte) bool {
	if p.field == 0 {
		f, ok := parseField(in, p.left)
		switch {
		case !ok:
			p.field = p.left
		case f.header == 0:
			return false
		default:
			p.field = f.length()
			if f.number == metricField {
				r.dropped.samples++
			}
		}
	}
	n := int(min(p.field, int64(len(in))))
	r.drop(n)
	p.field -= int64(n)
	p.advance(n)
	return true
}

// yield implements page.
func (p *protobuf) yield(*Reader) bool { return false }

// tooLong implements page.
func (p *protobuf) tooLong(*Reader) error {
	return fmt.Errorf("a protobuf message of %d bytes has no name in its first %d bytes, where it must be", p.size, maxHead)
}

// field is the head of a field in a message.
type field struct {
	number uint64
	wire   uint64
	header int   // bytes in front of the content; 0 if there are too few bytes of input to tell
	size   int64 // bytes of the content
}

func (f field) length() int64 { return int64(f.header) + f.size }

// parseField reads the head of the first field in a part of a message, with the number of bytes from there to the end of
// the message. It reports whether a field can begin there.
func parseField(in []byte, toEnd int64) (f field, ok bool) {
	incomplete := int64(len(in)) < toEnd
	if !incomplete {
		in = in[:toEnd]
	}
	tag, n := binary.Uvarint(in)
	if n <= 0 {
		return field{}, n == 0 && incomplete
	}
	f.number, f.wire, f.header = tag>>3, tag&7, n
	var size uint64
	switch f.wire {
	case wireVarint, wireBytes:
		value, n := binary.Uvarint(in[f.header:])
		if n <= 0 {
			return field{}, n == 0 && incomplete
		}
		f.header += n
		if f.wire == wireBytes {
			size = value
		}
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	default: // groups, which no encoder writes any more
		return field{}, false
	}
	if f.number == 0 || size > uint64(toEnd)-uint64(f.header) {
		return field{}, false
	}
	f.size = int64(size)
	return f, true
}
