package families

import (
	"io"
)

const (
	// maxLine bounds a line of text in bytes, with all lines of metadata before it that wait for the type of their family. The
	// decision on a line needs all of it, as a quoted name may be the last of its labels. Exporters with whole command lines and
	// stack traces in labels stay far below.
	maxLine = 1 << 20

	// maxHead bounds a protobuf message in bytes up to the end of its name, which all known encoders write first.
	maxHead = 64 << 10

	// startSize is the size of the buffer of a page whose lines are not longer.
	startSize = 32 << 10

	// emptyReads is the number of reads without a byte and without an error before a reader counts as broken, as in package bufio.
	emptyReads = 100
)

// Reader is a page of metrics without some of its families. It reads as much of the page as it needs to return something.
type Reader struct {
	src     io.Reader
	rules   Rules
	page    page // nil for a page that passes unchanged
	limit   int  // on the size of the window
	w       window
	err     error // of src, or of the page; after the output that is left
	dropped counts
}

// counts is the extent of what was left out.
type counts struct{ families, samples, bytes int64 }

// page finds the families in a page of one format.
type page interface {
	// scan decides on all of the window's input that it can, and at the end of the page on all of it.
	scan(r *Reader, end bool)
	// yield decides on what is held, because the window is full. It reports whether anything was held.
	yield(r *Reader) bool
	// tooLong returns the error for the input that fills the window.
	tooLong(r *Reader) error
}

// Dropped returns the number of families, samples and bytes that were left out up to now. A sample is a line of text, or a metric
// of a protobuf message. A family is counted for each group of its lines, or each of its messages.
func (r *Reader) Dropped() (families, samples, bytes int64) {
	return r.dropped.families, r.dropped.samples, r.dropped.bytes
}

// Read implements io.Reader. The errors of the page are those of the reader below, and errors that give the size and the bound of a
// line that is too long. A protobuf message that was left out and has no end is io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (int, error) {
	if r.page == nil {
		return r.src.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := r.w.read(p); n > 0 {
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
		r.page.scan(r, r.err != nil)
	}
}

// fill reads once, or makes room for it.
func (r *Reader) fill() {
	if !r.w.makeRoom(r.limit) {
		if r.page.yield(r) {
			return
		}
		r.err = r.page.tooLong(r)
		r.w.skip(len(r.w.input()))
		return
	}
	for range emptyReads {
		n, err := r.src.Read(r.w.free())
		r.w.end += n
		if r.err = err; n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// drop leaves out the first n bytes of the input.
func (r *Reader) drop(n int) {
	r.dropped.bytes += int64(n)
	r.w.skip(n)
}

// window is the part of a page that is in memory: output, lines that are held until the decision on them, and input.
//
//	│ read │ output │ held │ left out │ input │ free │
//	0    begin    ready   held      next     end
type window struct {
	buf                           []byte
	begin, ready, held, next, end int
}

func (w *window) input() []byte { return w.buf[w.next:w.end] }

func (w *window) free() []byte { return w.buf[w.end:] }

// read moves output to p.
func (w *window) read(p []byte) int {
	n := copy(p, w.buf[w.begin:w.ready])
	w.begin += n
	return n
}

// hold adds the first n bytes of the input to those that are held.
func (w *window) hold(n int) {
	if w.held != w.next {
		copy(w.buf[w.held:], w.buf[w.next:w.next+n])
	}
	w.held += n
	w.next += n
}

// release makes output of all that is held.
func (w *window) release() { w.ready = w.held }

// discard leaves out all that is held and returns its size.
func (w *window) discard() int {
	n := w.held - w.ready
	w.held = w.ready
	return n
}

// keep makes output of the first n bytes of the input, and of all that is held before them.
func (w *window) keep(n int) {
	w.hold(n)
	w.release()
}

// skip leaves out the first n bytes of the input.
func (w *window) skip(n int) { w.next += n }

// makeRoom makes free space and reports whether there is any within the limit.
func (w *window) makeRoom(limit int) bool {
	if w.end < len(w.buf) && w.next < w.end {
		return true
	}
	copied := copy(w.buf, w.buf[w.begin:w.held])
	left := copy(w.buf[copied:], w.input())
	w.ready, w.held = w.ready-w.begin, copied
	w.begin, w.next, w.end = 0, copied, copied+left
	if w.end < len(w.buf) {
		return true
	}
	if len(w.buf) == limit {
		return false
	}
	grown := make([]byte, min(max(startSize, 2*len(w.buf)), limit))
	copy(grown, w.buf)
	w.buf = grown
	return true
}
