package muxscrape

import (
	"fmt"
	"maps"
	"slices"
	"unique"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports"
)

// Windows is the credit that all requests of a process may have, MaxWindows. The zero Windows is unused.
type Windows struct{ granted int }

// take takes up to n bytes of credit and returns how many it took.
func (w *Windows) take(n int) int {
	n = max(min(n, MaxWindows-w.granted), 0)
	w.granted += n
	return n
}

// Granted is the credit beyond that of one piece for each request, in bytes.
func (w *Windows) Granted() int { return w.granted }

func (w *Windows) give(n int) { w.granted -= n }

// RequesterOptions configure a Requester. Callbacks may be nil.
type RequesterOptions struct {
	// Windows is shared by all requesters of a process.
	Windows *Windows
	// OnOpen is called when the other side has opened the channel too: it serves scrapes.
	OnOpen func()
	// OnClose is called once, after the scrapes under way have ended with ErrClosed. remote means that the other side rejected or
	// closed the channel, or the connection closed.
	OnClose func(remote bool)
}

// Requester is the scraper's side of a channel.
type Requester struct {
	mux     *mux.Mux
	channel *mux.Channel
	windows *Windows
	onClose func(remote bool)

	nextID  uint64
	scrapes map[uint64]*Scrape // under way
	version unique.Handle[string]
}

// Scrape is a request under way, a ports.Scrape.
type Scrape struct {
	requester *Requester
	id        uint64
	handlers  ports.ScrapeHandlers
	headed    bool // OnHead was called
	over      bool

	sized bool  // the response names its length
	left  int64 // of that, what has not arrived

	window   int // credit in circulation, taken from Windows
	credit   int // of it, what the other side may still send
	unread   int // received and not consumed
	consumed int // since the last window message
}

// NewRequester opens the channel. It fails as mux.Open does.
func NewRequester(m *mux.Mux, o RequesterOptions) (*Requester, error) {
	q := &Requester{mux: m, windows: o.Windows, onClose: o.OnClose, scrapes: map[uint64]*Scrape{}, version: noVersion}
	var err error
	q.channel, err = m.Open(mux.ChannelOptions{
		Protocol: Protocol,
		OnOpen: func(handshake []byte) {
			q.version = unique.Make(parseHandshake(handshake))
			if o.OnOpen != nil {
				o.OnOpen()
			}
		},
		OnClose:  q.closed,
		Messages: []func([]byte){typeResponse: q.onResponse, typeData: q.onData, typeEnd: q.onEnd},
	})
	if err != nil {
		return nil, fmt.Errorf("scrape channel: %w", err)
	}
	return q, nil
}

// Opened reports whether the other side has opened the channel too.
func (rq *Requester) Opened() bool { return rq.channel.Opened() }

// noVersion is the version of a responder that reports none. Responders of one version share the memory of it.
var noVersion = unique.Make("")

// Version is the version that the other side has reported, at most 32 bytes of printable ASCII; empty for none.
func (rq *Requester) Version() string { return rq.version.Value() }

// Running is the number of scrapes under way.
func (rq *Requester) Running() int { return len(rq.scrapes) }

// Scrape sends a request. It fails, and calls no handler, with ErrClosed, ErrBusy and ErrTooLong. A response ends with nil, a
// *domain.ScrapeError or ErrClosed. The handlers get pieces of at most MaxPiece bytes.
func (rq *Requester) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) (*Scrape, error) {
	m := request{id: rq.nextID + 1, ScrapeRequest: r}
	switch err := m.check(); {
	case rq.channel.Closed() || rq.mux.Closed():
		return nil, ErrClosed
	case len(rq.scrapes) >= MaxRunning:
		return nil, ErrBusy
	case err != nil:
		return nil, fmt.Errorf("muxscrape: %w", err)
	}
	rq.nextID++
	s := &Scrape{requester: rq, id: rq.nextID, handlers: h}
	// Every request has room for one piece, however many there are: a process holds a bounded number of them.
	s.window = MinWindow + rq.windows.take(firstWindow-MinWindow)
	s.credit = s.window
	m.credit = uint64(s.credit)
	rq.scrapes[s.id] = s
	rq.channel.Send(typeRequest, m.append(nil))
	return s, nil
}

// Consumed returns the credit of n bytes that OnData has received. The credit grows while everything received is consumed.
func (s *Scrape) Consumed(n int) {
	if s.over {
		return
	}
	s.unread -= n
	s.consumed += n
	if s.consumed < s.window/2 {
		return
	}
	grant := s.consumed
	if s.unread == 0 && s.window < MaxWindow {
		more := s.requester.windows.take(min(s.window, MaxWindow-s.window))
		s.window += more
		grant += more
	}
	s.consumed = 0
	s.grant(grant)
}

// Cancel ends the scrape: no handler is called any more, and the other side stops. Cancelling an ended scrape does nothing.
func (s *Scrape) Cancel() {
	if s.over {
		return
	}
	s.forget()
	s.requester.channel.Send(typeCancel, compact.AppendUint(nil, s.id))
}

func (s *Scrape) forget() {
	s.over = true
	delete(s.requester.scrapes, s.id)
	s.requester.windows.give(s.window - MinWindow)
}

func (s *Scrape) end(err error) {
	s.forget()
	s.handlers.OnEnd(err)
}

// mismatch ends a scrape whose body is longer or shorter than its response says: a caller that was sent the length would take the excess
// for its next response.
func (s *Scrape) mismatch(format string) {
	s.Cancel()
	s.handlers.OnEnd(&domain.ScrapeError{Fault: domain.FaultClient, Reason: fmt.Sprintf(format, s.left)})
}

// Close closes the channel. Scrapes under way end with ErrClosed.
func (rq *Requester) Close() { rq.channel.Close() }

func (rq *Requester) closed(remote bool) {
	for _, id := range slices.Sorted(maps.Keys(rq.scrapes)) {
		if s := rq.scrapes[id]; s != nil { // not cancelled by the handler of another one
			s.end(ErrClosed)
		}
	}
	if rq.onClose != nil {
		rq.onClose(remote)
	}
}

func (rq *Requester) violated(format string, args ...any) {
	rq.mux.Destroy(fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...))
}

// Messages for scrapes that are not under way come after Cancel, and are ignored.

func (rq *Requester) onResponse(b []byte) {
	m, err := parseResponse(b)
	if err != nil {
		rq.violated("response: %w", err)
		return
	}
	s := rq.scrapes[m.id]
	switch {
	case s == nil:
	case s.headed:
		rq.violated("second response to request %d", m.id)
	default:
		s.headed, s.sized, s.left = true, m.Length >= 0, m.Length
		if s.handlers.OnHead(m.ScrapeHead); !s.over {
			s.widen()
		}
	}
}

// widen grants more at the begin of a body, while the first pieces are on their way: all of a body of known length, within a share of what
// bodies may have at their begin. Without that a page of 1 MB waits five round trips for its window to grow.
func (s *Scrape) widen() {
	want := min(MaxWindow, (MaxStart-s.requester.windows.granted)/startShare)
	if s.sized {
		want = int(min(int64(want), s.left))
	}
	if want <= s.window {
		return
	}
	more := s.requester.windows.take(want - s.window)
	s.window += more
	s.grant(more)
}

// grant adds to the credit.
func (s *Scrape) grant(n int) {
	s.credit += n
	w := window{s.id, uint64(n)}
	s.requester.channel.Send(typeWindow, w.append(nil))
}

func (rq *Requester) onData(b []byte) {
	id, body, err := parseData(b)
	if err != nil {
		rq.violated("data: %w", err)
		return
	}
	s := rq.scrapes[id]
	switch {
	case s == nil:
	case !s.headed:
		rq.violated("data of request %d before its response", id)
	case len(body) > s.credit || len(body) > MaxPiece:
		rq.violated("%d bytes for request %d, with a credit of %d", len(body), id, s.credit)
	case s.sized && int64(len(body)) > s.left:
		s.mismatch("the body is longer than its length, of which %d bytes were left")
	case len(body) > 0:
		s.left -= int64(len(body))
		s.credit -= len(body)
		s.unread += len(body)
		s.handlers.OnData(body)
	}
}

func (rq *Requester) onEnd(b []byte) {
	m, err := parseEnd(b)
	if err != nil {
		rq.violated("end: %w", err)
		return
	}
	s := rq.scrapes[m.id]
	switch {
	case s == nil:
	case m.code != complete:
		s.end(&domain.ScrapeError{Fault: faults[m.code], Reason: m.reason})
	case !s.headed:
		rq.violated("end of request %d before its response", m.id)
	case s.sized && s.left > 0:
		s.mismatch("the body ends %d bytes before its length")
	default:
		s.end(nil)
	}
}
