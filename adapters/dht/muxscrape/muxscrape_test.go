package muxscrape

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/ports"
)

// world is a requester and a responder on a wire.
type world struct {
	t       testing.TB
	wire    *muxtest.Wire
	windows Windows
	q       *Requester
	p       *Responder
	answer  func(domain.ScrapeRequest, *Response) func()
	closed  []string // sides whose OnClose was called
}

func newWorld(t testing.TB, answer func(domain.ScrapeRequest, *Response) func()) *world {
	t.Helper()
	w := &world{t: t, wire: muxtest.NewWire(), answer: answer}
	var err error
	if w.q, err = NewRequester(mux.New(w.wire.A), RequesterOptions{Windows: &w.windows, OnClose: func(bool) { w.closed = append(w.closed, "q") }}); err != nil {
		t.Fatal(err)
	}
	w.p, err = NewResponder(mux.New(w.wire.B), ResponderOptions{
		OnRequest: func(r domain.ScrapeRequest, res *Response) func() { return w.answer(r, res) },
		OnClose:   func(bool) { w.closed = append(w.closed, "p") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// got is the result of a scrape.
type got struct {
	heads  []domain.ScrapeHead
	body   []byte
	pieces []int
	ends   []error
}

// scrape starts a scrape that consumes at once.
func (w *world) scrape(r domain.ScrapeRequest) (*Scrape, *got) {
	w.t.Helper()
	g := &got{}
	var s *Scrape
	s, err := w.q.Scrape(r, g.handlers(func(n int) { s.Consumed(n) }))
	if err != nil {
		w.t.Fatal(err)
	}
	return s, g
}

func (g *got) handlers(consume func(int)) ports.ScrapeHandlers {
	return ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) { g.heads = append(g.heads, h) },
		OnData: func(b []byte) {
			g.body, g.pieces = append(g.body, b...), append(g.pieces, len(b))
			consume(len(b))
		},
		OnEnd: func(err error) { g.ends = append(g.ends, err) },
	}
}

// write sends a body as fast as the response takes it.
func write(res *Response, body []byte, then func()) {
	step := func() {
		for len(body) > 0 {
			n := min(len(body), ports.Piece)
			more := res.Write(body[:n])
			if body = body[n:]; !more {
				break
			}
		}
		if len(body) == 0 && then != nil {
			f := then
			then = nil
			f()
		}
	}
	res.OnDrain(step)
	step()
}

// widened is the window of a body at its begin, where so many requests were sent before.
func widened(requests int) int { return (MaxStart - requests*(firstWindow-MinWindow)) / startShare }

func page(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}

func TestScrapeCarriesRequestAndResponse(t *testing.T) {
	want := domain.ScrapeRequest{
		Target: "shop", Query: "target=a&module=b", Within: 9500 * time.Millisecond,
		Header: []domain.HeaderField{{Name: "Accept", Value: "text/plain"}, {Name: "User-Agent", Value: "Prometheus/3.5"}},
	}
	head := domain.ScrapeHead{Status: 200, ContentType: "text/plain; version=0.0.4", Coding: "gzip", Length: 100_000}
	var asked []domain.ScrapeRequest
	w := newWorld(t, func(r domain.ScrapeRequest, res *Response) func() {
		asked = append(asked, r)
		res.Head(head)
		write(res, page(100_000), func() { res.End(nil) })
		return nil
	})
	_, g := w.scrape(want)
	w.wire.Run()
	if len(asked) != 1 || fmt.Sprint(asked[0]) != fmt.Sprint(want) {
		t.Errorf("asked for %+v", asked)
	}
	if !slices.Equal(g.heads, []domain.ScrapeHead{head}) || !bytes.Equal(g.body, page(100_000)) || len(g.ends) != 1 || g.ends[0] != nil {
		t.Errorf("got %+v, %d bytes, %v", g.heads, len(g.body), g.ends)
	}
	if slices.Max(g.pieces) > MaxPiece {
		t.Errorf("a piece of %d bytes", slices.Max(g.pieces))
	}
	w.wantIdle()
}

// wantIdle fails the test if anything of a scrape is left.
func (w *world) wantIdle() {
	w.t.Helper()
	if q, p := w.q.Running(), w.p.Running(); q != 0 || p != 0 || w.windows.granted != 0 || len(w.p.ready) != 0 {
		w.t.Errorf("left: %d scrapes, %d responses, %d bytes of credit, %d turns", q, p, w.windows.granted, len(w.p.ready))
	}
}

func TestStatusAndReasonsPass(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*Response)
		head []domain.ScrapeHead
		err  string
	}{
		{"the exporter's status", func(r *Response) { r.Head(domain.ScrapeHead{Status: 503, Length: -1}); r.End(nil) }, []domain.ScrapeHead{{Status: 503, Length: -1}}, "<nil>"},
		{"refused", func(r *Response) {
			r.End(&domain.ScrapeError{Fault: domain.FaultExporter, Reason: "connection refused"})
		}, nil, "exporter: connection refused"},
		{"broken off", func(r *Response) {
			r.Head(domain.ScrapeHead{Status: 200, Length: 4})
			r.Write([]byte("xy"))
			r.End(&domain.ScrapeError{Fault: domain.FaultExporter, Reason: "unexpected EOF"})
		}, []domain.ScrapeHead{{Status: 200, Length: 4}}, "exporter: unexpected EOF"},
		{"not allowed", func(r *Response) { r.End(&domain.ScrapeError{Fault: domain.FaultRequest, Reason: "no parameter x"}) }, nil, "request: no parameter x"},
		{"late", func(r *Response) { r.End(&domain.ScrapeError{Fault: domain.FaultTime, Reason: "no answer\nfrom it"}) }, nil, "time: no answer from it"},
		{"nothing", func(r *Response) { r.End(nil) }, nil, "client: no response"},
		{"a long reason", func(r *Response) {
			r.End(&domain.ScrapeError{Fault: domain.FaultClient, Reason: strings.Repeat("x", 5000)})
		}, nil, "client: " + strings.Repeat("x", maxReason)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() { test.end(res); return nil })
			_, g := w.scrape(domain.ScrapeRequest{})
			w.wire.Run()
			text := "-"
			if len(g.ends) == 1 {
				text = fmt.Sprint(g.ends[0])
				if e, ok := errors.AsType[*domain.ScrapeError](g.ends[0]); ok {
					text = fmt.Sprintf("%s: %s", [...]string{"client", "exporter", "time", "request"}[e.Fault], e.Reason)
				}
			}
			if !slices.Equal(g.heads, test.head) || text != test.err {
				t.Errorf("got %+v, %s", g.heads, text)
			}
			w.wantIdle()
		})
	}
}

// A content type need not be UTF-8, but cannot end the line.
func TestContentTypesPassAsTheyAre(t *testing.T) {
	for contentType, want := range map[string]string{
		"text/plain;\tx=\"\xfc\"":  "text/plain;\tx=\"\xfc\"",
		"text/plain; x=\"\u00fc\"": "text/plain; x=\"\u00fc\"",
		"text/plain\r\nx: \x7f":    "text/plain  x:  ",
	} {
		w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, ContentType: contentType, Coding: contentType, Length: -1})
			res.End(nil)
			return nil
		})
		_, g := w.scrape(domain.ScrapeRequest{})
		w.wire.Run()
		if len(g.heads) != 1 || g.heads[0].ContentType != want || g.heads[0].Coding != want || len(g.ends) != 1 || g.ends[0] != nil {
			t.Errorf("%q: got %+v, %v", contentType, g.heads, g.ends)
		}
		w.wantIdle()
	}
}

// A scrape that is not consumed takes its first credit and no more, and the others go on.
// A caller of the scraper is sent the length: what comes beyond it would be taken for the next response on the caller's connection.
func TestBodiesHaveTheLengthThatTheyName(t *testing.T) {
	for length, want := range map[int64]string{
		-1: "", 40_000: "", 39_999: "longer than its length", 10: "longer than its length", 0: "longer than its length", 40_001: "1 bytes before its length",
	} {
		cancelled := 0
		w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, Length: length})
			write(res, page(40_000), func() { res.End(nil) })
			return func() { cancelled++ }
		})
		_, g := w.scrape(domain.ScrapeRequest{Within: time.Second})
		w.wire.Run()
		w.wantIdle()
		if len(g.ends) != 1 || (g.ends[0] == nil) != (want == "") || length >= 0 && int64(len(g.body)) > length {
			t.Fatalf("a body of 40000 bytes with length %d: %d bytes, %v", length, len(g.body), g.ends)
		}
		if err := g.ends[0]; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if len(w.closed) != 0 {
			t.Errorf("closed by %v", w.closed)
		}
	}
}

// Content types of exporters are passed on as they are, unless they are longer than the other side accepts, whatever is in them.
func TestOddTypesOfExportersDoNotEndTheConnection(t *testing.T) {
	for _, odd := range []string{strings.Repeat("a\xff", 1000), strings.Repeat("\u00e4", 1000), "a\tb\r\nc\x00d", strings.Repeat("\n", 2000)} {
		w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, ContentType: odd, Coding: odd, Length: -1})
			res.End(nil)
			return nil
		})
		_, g := w.scrape(domain.ScrapeRequest{Within: time.Second})
		w.wire.Run()
		if len(w.closed) != 0 || len(g.heads) != 1 || len(g.ends) != 1 || g.ends[0] != nil {
			t.Errorf("%.20q: %+v, %v, closed by %v", odd, g.heads, g.ends, w.closed)
		}
	}
}

func TestSlowReaderHoldsUpItself(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		write(res, page(1<<20), func() { res.End(nil) })
		return nil
	})
	slow := &got{}
	var s *Scrape
	s, err := w.q.Scrape(domain.ScrapeRequest{}, slow.handlers(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, quick := w.scrape(domain.ScrapeRequest{})
	w.wire.Run()
	if want := widened(2); len(slow.body) != want {
		t.Errorf("%d bytes came to a reader that consumes nothing, want %d", len(slow.body), want)
	}
	if len(quick.body) != 1<<20 || len(quick.ends) != 1 {
		t.Errorf("the other scrape has %d bytes, %v", len(quick.body), quick.ends)
	}
	for len(slow.ends) == 0 {
		before := len(slow.body)
		s.Consumed(s.unread)
		w.wire.Run()
		if len(slow.body) == before && len(slow.ends) == 0 {
			t.Fatalf("stopped at %d bytes", before)
		}
	}
	if !bytes.Equal(slow.body, page(1<<20)) {
		t.Error("the body arrived changed")
	}
	w.wantIdle()
}

// The credit doubles up to MaxWindow for a reader that keeps up, and all of a process stay within MaxWindows.
func TestCreditGrowsWithinItsBounds(t *testing.T) {
	for _, test := range []struct{ scrapes, largest int }{{1, MaxWindow}, {64, 0}} {
		w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, Length: -1})
			body := page(MaxPiece)
			left := 3 << 20
			step := func() {
				for left > 0 {
					left -= len(body)
					if !res.Write(body) {
						return
					}
				}
			}
			res.OnDrain(step)
			step()
			return nil
		})
		var all []*Scrape
		for range test.scrapes {
			var s *Scrape
			s, err := w.q.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{OnHead: func(domain.ScrapeHead) {}, OnData: func(b []byte) { s.Consumed(len(b)) }})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		w.wire.Run()
		total, largest := 0, 0
		for _, s := range all {
			total += s.window - MinWindow
			largest = max(largest, s.window)
		}
		if largest < test.largest || largest > MaxWindow || total != w.windows.granted || total > MaxWindows {
			t.Errorf("%d scrapes: the largest credit is %d bytes, all are %d, granted %d", test.scrapes, largest, total, w.windows.granted)
		}
		for _, s := range all {
			s.Cancel()
		}
		w.wire.Run()
		w.wantIdle()
	}
}

// The first piece of each response goes before any second one, and further pieces in turns.
func TestResponsesShareTheConnection(t *testing.T) {
	var responses []*Response
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() { responses = append(responses, res); return nil })
	w.wire.B.Window = 4
	var all []*got
	var order []int // of ends
	for i := range 4 {
		g := &got{}
		h := g.handlers(nil)
		var s *Scrape
		h.OnData = func(b []byte) { g.body = append(g.body, b...); s.Consumed(len(b)) }
		h.OnEnd = func(err error) {
			order = append(order, i)
			for j, o := range all[:3] {
				if i == 3 && len(o.body) > MaxPiece {
					t.Errorf("the small one came after %d bytes of response %d", len(o.body), j)
				}
			}
			g.ends = append(g.ends, err)
		}
		s, _ = w.q.Scrape(domain.ScrapeRequest{}, h)
		all = append(all, g)
	}
	w.wire.Run()
	for _, r := range responses {
		r.Head(domain.ScrapeHead{Status: 200, Length: -1}) // which fills the connection
	}
	for _, r := range responses[:3] {
		write(r, page(60_000), func() { r.End(nil) })
	}
	responses[3].Write([]byte("small"))
	responses[3].End(nil)
	w.wire.Run()
	if !slices.Equal(order, []int{3, 0, 1, 2}) {
		t.Errorf("they end in the order %v", order)
	}
	for i, g := range all[:3] {
		if !bytes.Equal(g.body, page(60_000)) {
			t.Errorf("response %d: %d bytes, %v", i, len(g.body), g.ends)
		}
	}
	w.wantIdle()
}

func TestCancelReachesTheOtherSide(t *testing.T) {
	cancelled := 0
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		write(res, page(1<<20), nil)
		return func() { cancelled++ }
	})
	s, g := w.scrape(domain.ScrapeRequest{})
	w.wire.Run()
	s.Cancel()
	s.Cancel()
	s.Consumed(1)
	had := len(g.body)
	w.wire.Run()
	if cancelled != 1 || len(g.body) != had || len(g.ends) != 0 {
		t.Errorf("cancelled %d times, %d bytes and %v after it", cancelled, len(g.body)-had, g.ends)
	}
	w.wantIdle()
}

// A response that has ended is not cancelled by a late cancel, nor by the end of the channel.
func TestEndedResponseIsNotCancelled(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		res.Write(page(MaxWindow)) // the end waits for credit
		res.End(nil)
		return func() { t.Error("cancelled after its end") }
	})
	s, err := w.q.Scrape(domain.ScrapeRequest{}, (&got{}).handlers(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	w.wire.Run()
	if w.p.Running() != 1 {
		t.Fatalf("%d responses run", w.p.Running())
	}
	s.Cancel()
	w.wire.Run()
	w.wantIdle()
}

func TestChannelEndsEverything(t *testing.T) {
	for _, side := range []string{"requester", "responder", "connection"} {
		t.Run(side, func(t *testing.T) {
			cancelled := 0
			w := newWorld(t, func(domain.ScrapeRequest, *Response) func() { return func() { cancelled++ } })
			_, a := w.scrape(domain.ScrapeRequest{})
			_, b := w.scrape(domain.ScrapeRequest{})
			w.wire.Run()
			switch side {
			case "requester":
				w.q.Close()
			case "responder":
				w.p.Close()
			case "connection":
				w.wire.A.Destroy(nil)
			}
			w.wire.Run()
			if cancelled != 2 || len(a.ends) != 1 || len(b.ends) != 1 || !errors.Is(a.ends[0], ErrClosed) || len(w.closed) != 2 {
				t.Errorf("cancelled %d, ends %v and %v, closed %v", cancelled, a.ends, b.ends, w.closed)
			}
			if _, err := w.q.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{}); !errors.Is(err, ErrClosed) {
				t.Errorf("a scrape on a closed channel: %v", err)
			}
			w.wantIdle()
		})
	}
}

// A peer that does not know the channel rejects it in one round trip, and nothing is left.
func TestChannelIsRejectedByThePackages(t *testing.T) {
	wire := muxtest.NewWire()
	closed := 0
	q, err := NewRequester(mux.New(wire.A), RequesterOptions{Windows: &Windows{}, OnClose: func(remote bool) {
		if remote {
			closed++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	other := mux.New(wire.B)
	g := &got{}
	if _, err := q.Scrape(domain.ScrapeRequest{}, g.handlers(nil)); err != nil {
		t.Fatal(err)
	}
	wire.Run()
	if closed != 1 || q.Opened() || len(g.ends) != 1 || !errors.Is(g.ends[0], ErrClosed) || q.mux.Closed() || !other.Idle() {
		t.Errorf("closed %d times, %v", closed, g.ends)
	}
}

func TestLimitsAreListed(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range Bounds() {
		if b.What == "" || b.Reason == "" || b.Limit == "" || seen[b.Name] {
			t.Errorf("the row of %s is not complete, or a duplicate", b.Name)
		}
		seen[b.Name] = true
	}
	if !seen["muxscrape.MaxRunning"] || !seen["muxscrape.MaxWindow"] {
		t.Errorf("the rows are %v", seen)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t, func(domain.ScrapeRequest, *Response) func() { return nil })
	for _, r := range []domain.ScrapeRequest{
		{Target: strings.Repeat("x", maxTarget+1)},
		{Query: strings.Repeat("x", maxQuery+1)},
		{Header: make([]domain.HeaderField, maxFields+1)},
		{Header: []domain.HeaderField{{Name: "A", Value: "x\ny"}}},
		{Header: []domain.HeaderField{{Name: "", Value: "x"}}},
		{Header: []domain.HeaderField{{Name: "A", Value: strings.Repeat("x", maxFieldValue+1)}}},
		{Header: slices.Repeat([]domain.HeaderField{{Name: "A", Value: strings.Repeat("x", maxFieldValue)}}, 5)},
	} {
		if _, err := w.q.Scrape(r, ports.ScrapeHandlers{}); !errors.Is(err, ErrTooLong) {
			t.Errorf("a request with %.60v: %v", r, err)
		}
		// What a requester of another make sends.
		m := request{id: w.q.nextID + 1, ScrapeRequest: r}
		w.q.nextID++
		g := &got{}
		w.q.scrapes[m.id] = &Scrape{requester: w.q, id: m.id, window: MinWindow, handlers: g.handlers(nil)}
		w.q.channel.Send(typeRequest, m.append(nil))
		w.wire.Run()
		if len(g.ends) != 1 {
			t.Fatalf("a request with %.60v has no end", r)
		}
		if e, ok := errors.AsType[*domain.ScrapeError](g.ends[0]); !ok || e.Fault != domain.FaultClient {
			t.Errorf("a request with %.60v ends with %v", r, g.ends)
		}
	}
	// As much as is allowed passes.
	field := domain.HeaderField{Name: strings.Repeat("A", maxFieldName), Value: strings.Repeat("x", maxFieldValue)}
	for _, r := range []domain.ScrapeRequest{
		{Target: strings.Repeat("x", maxTarget), Query: strings.Repeat("x", maxQuery)},
		{Header: slices.Repeat([]domain.HeaderField{{Name: "A", Value: "x"}}, maxFields)},
		{Header: []domain.HeaderField{field}},
		{Header: slices.Repeat([]domain.HeaderField{{Name: "A", Value: strings.Repeat("x", maxFieldsTotal/4-1)}}, 4)},
	} {
		if err := (&request{ScrapeRequest: r}).check(); err != nil {
			t.Errorf("a request with %.60v: %v", r, err)
		}
		if m, err := parseRequest((&request{ScrapeRequest: r}).append(nil)); err != nil || m.Target != r.Target || !slices.Equal(m.Header, r.Header) {
			t.Errorf("a request with %.60v is read with %v", r, err)
		}
	}
	for range MaxRunning {
		w.scrape(domain.ScrapeRequest{})
	}
	if _, err := w.q.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{}); !errors.Is(err, ErrBusy) {
		t.Errorf("one request too many: %v", err)
	}
	w.wire.Run()
	if w.p.Running() != MaxRunning {
		t.Errorf("%d run", w.p.Running())
	}
}

// A requester that asks on and reads nothing loses the connection.
func TestUnreadResponsesAreBounded(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.End(&domain.ScrapeError{Fault: domain.FaultClient, Reason: "no"})
		return nil
	})
	w.wire.Run()
	w.wire.B.Window = 1
	w.wire.A.Pause()
	sent := 0
	for ; sent < 2*maxUnread && !w.p.mux.Closed(); sent++ {
		m := request{id: uint64(sent + 1)}
		w.q.channel.Send(typeRequest, m.append(nil))
		w.wire.Run()
	}
	if sent < maxUnread || sent > maxUnread+2 {
		t.Errorf("closed after %d requests", sent)
	}
}

// A requester that gives no credit makes a client keep little: the source of a complete body has ended, and limits it no longer.
func TestBodiesWithoutCreditAreBounded(t *testing.T) {
	const size = 64 << 10
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: size})
		res.Write(page(size))
		res.End(nil)
		return func() { t.Error("cancelled after its end") }
	})
	w.wire.Run()
	unsent := func() (n int) {
		for _, r := range w.p.running {
			n += r.queue.Len()
		}
		return n
	}
	for id := range uint64(MaxRunning) {
		m := request{id: id + 1}
		w.q.channel.Send(typeRequest, m.append(nil))
		w.wire.Run()
		if n := unsent(); n > maxUnsent || n != w.p.unsent {
			t.Fatalf("%d bytes wait for credit after %d requests, %d counted", n, id+1, w.p.unsent)
		}
	}
	if n := w.p.Running(); n != maxUnsent/size {
		t.Errorf("%d responses are kept", n)
	}
	for id := range uint64(MaxRunning) {
		if id%2 == 0 {
			w.q.channel.Send(typeCancel, compact.AppendUint(nil, id+1))
		} else {
			m := window{id + 1, size}
			w.q.channel.Send(typeWindow, m.append(nil))
		}
	}
	w.wire.Run()
	if w.wantIdle(); w.p.unsent != 0 || len(w.p.ended) != 0 {
		t.Errorf("%d bytes of %d responses are left", w.p.unsent, len(w.p.ended))
	}
}

func TestViolationsEndTheConnection(t *testing.T) {
	valid := request{id: 1, credit: 1 << 20}
	for name, frames := range map[string]func(w *world){
		"short request": func(w *world) { w.q.channel.Send(typeRequest, []byte{1}) },
		"short window":  func(w *world) { w.q.channel.Send(typeWindow, []byte{1}) },
		"short cancel":  func(w *world) { w.q.channel.Send(typeCancel, nil) },
		"same id": func(w *world) {
			w.q.channel.Send(typeRequest, valid.append(nil))
			w.q.channel.Send(typeRequest, valid.append(nil))
		},
		"short response": func(w *world) { w.p.channel.Send(typeResponse, []byte{1}) },
		"short data":     func(w *world) { w.p.channel.Send(typeData, nil) },
		"short end":      func(w *world) { w.p.channel.Send(typeEnd, []byte{1}) },
		"status": func(w *world) {
			m := response{1, domain.ScrapeHead{Status: 99}}
			w.p.channel.Send(typeResponse, m.append(nil))
		},
		"two heads": func(w *world) {
			m := response{1, domain.ScrapeHead{Status: 200}}
			w.p.channel.Send(typeResponse, m.append(nil))
			w.p.channel.Send(typeResponse, m.append(nil))
		},
		"data before the head": func(w *world) { w.p.channel.Send(typeData, []byte{1, 1}) },
		"end before the head":  func(w *world) { m := end{id: 1}; w.p.channel.Send(typeEnd, m.append(nil)) },
		"more than the credit": func(w *world) {
			m := response{1, domain.ScrapeHead{Status: 200, Length: -1}}
			w.p.channel.Send(typeResponse, m.append(nil))
			for range widened(1)/MaxPiece + 1 {
				w.p.channel.Send(typeData, append(appendDataHead(nil, 1), page(MaxPiece)...))
			}
		},
		"a large piece": func(w *world) {
			m := response{1, domain.ScrapeHead{Status: 200}}
			w.p.channel.Send(typeResponse, m.append(nil))
			w.p.channel.Send(typeData, append(appendDataHead(nil, 1), page(MaxPiece+1)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(domain.ScrapeRequest, *Response) func() { return nil })
			w.wire.Run()
			m := request{id: 1, credit: firstWindow}
			w.q.nextID = 1
			w.q.scrapes[1] = &Scrape{requester: w.q, id: 1, window: firstWindow, credit: firstWindow, handlers: (&got{}).handlers(func(int) {})}
			w.windows.granted = firstWindow - MinWindow
			if !strings.Contains(name, "request") && name != "same id" {
				w.q.channel.Send(typeRequest, m.append(nil))
			}
			frames(w)
			w.wire.Run()
			if !w.q.mux.Closed() || !w.p.mux.Closed() {
				t.Error("the connection lives on")
			}
			w.wantIdle()
		})
	}
}

// Unknown fields behind those known are for later versions, and unknown ids come after a cancel.
func TestUnknownBytesAndIDsAreIgnored(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200})
		res.End(nil)
		return nil
	})
	w.wire.Run()
	m := request{id: 7, credit: 9}
	w.q.channel.Send(typeRequest, append(m.append(nil), "later"...))
	win := window{99, 5}
	w.q.channel.Send(typeWindow, append(win.append(nil), "later"...))
	w.q.channel.Send(typeCancel, []byte{99, 1})
	e, h := end{id: 99}, response{99, domain.ScrapeHead{Status: 200}}
	w.p.channel.Send(typeResponse, append(h.append(nil), "later"...))
	w.p.channel.Send(typeData, append(appendDataHead(nil, 99), page(10)...))
	w.p.channel.Send(typeEnd, append(e.append(nil), "later"...))
	w.p.channel.Send(17, []byte("later"))
	w.wire.Run()
	if w.q.mux.Closed() {
		t.Error("the connection has ended")
	}
	w.wantIdle()
}

// Whatever the two sides do, bodies arrive unchanged, in order and within their credit, and nothing is left.
func TestRandomScrapes(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		type side struct {
			res       *Response
			body      []byte
			complete  bool
			cancelled bool
		}
		sides := map[string]*side{}
		w := newWorld(t, func(r domain.ScrapeRequest, res *Response) func() {
			s := &side{res: res}
			sides[r.Target] = s
			return func() { s.cancelled = true }
		})
		w.wire.B.Window = random.IntN(5)
		w.wire.Run()
		type one struct {
			*got
			s         *Scrape
			name      string
			cancelled bool
		}
		var all []*one
		for range 200 {
			switch random.IntN(6) {
			case 0:
				o := &one{got: &got{}, name: fmt.Sprint(len(all))}
				var err error
				o.s, err = w.q.Scrape(domain.ScrapeRequest{Target: o.name}, o.handlers(func(int) {}))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, o)
			case 1:
				if len(all) > 0 {
					o := all[random.IntN(len(all))]
					o.s.Consumed(random.IntN(o.s.unread + 1))
				}
			case 2:
				if len(all) > 0 && random.IntN(4) == 0 {
					o := all[random.IntN(len(all))]
					o.cancelled = o.cancelled || !o.s.over
					o.s.Cancel()
				}
			case 3, 4:
				for _, o := range all {
					if s := sides[o.name]; s != nil && !s.complete && random.IntN(3) == 0 {
						s.res.Head(domain.ScrapeHead{Status: 200, Length: -1})
						piece := page(random.IntN(40_000))
						if !s.res.over {
							s.body = append(s.body, piece...)
						}
						s.res.Write(piece)
						if random.IntN(5) == 0 {
							s.complete = true
							s.res.End(nil)
						}
					}
				}
			default:
				w.wire.Run()
			}
			for _, o := range all {
				if o.s.credit < 0 || o.s.unread > o.s.window || o.s.window > MaxWindow {
					t.Fatalf("seed %d: credit %d, unread %d, window %d", seed, o.s.credit, o.s.unread, o.s.window)
				}
			}
		}
		for left := len(all); left > 0; {
			left = 0
			for _, o := range all {
				if !o.s.over {
					left++
				}
				if s := sides[o.name]; s != nil && !s.complete {
					s.complete = true
					s.res.Head(domain.ScrapeHead{Status: 200, Length: -1})
					s.res.End(nil)
				}
				o.s.Consumed(o.s.unread)
			}
			w.wire.Run()
		}
		w.wire.Run()
		for _, o := range all {
			s := sides[o.name]
			switch {
			case o.cancelled && (len(o.ends) != 0 || !bytes.HasPrefix(s.body, o.body)):
				t.Errorf("seed %d: scrape %s was cancelled and has %v", seed, o.name, o.ends)
			case !o.cancelled && (len(o.ends) != 1 || o.ends[0] != nil || !bytes.Equal(o.body, s.body)):
				t.Errorf("seed %d: scrape %s has %d of %d bytes, %v", seed, o.name, len(o.body), len(s.body), o.ends)
			}
		}
		w.wantIdle()
		if t.Failed() {
			return
		}
	}
}

// A response that is longer than its length is cancelled: its source goes on otherwise.
func TestMismatchReachesTheOtherSide(t *testing.T) {
	cancelled := 0
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: 10})
		write(res, page(20), nil)
		return func() { cancelled++ }
	})
	_, g := w.scrape(domain.ScrapeRequest{Within: time.Second})
	w.wire.Run()
	if w.wantIdle(); cancelled != 1 || len(g.ends) != 1 {
		t.Errorf("cancelled %d times, %v", cancelled, g.ends)
	}
}

// A window is granted when half of it is consumed, so that the other side need not stop for a round trip.
func TestHalfAWindowIsGrantedAtATime(t *testing.T) {
	sent := 0
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		for range 3 * MaxWindow / ports.Piece {
			res.Write(page(ports.Piece))
		}
		return nil
	})
	g := &got{}
	s, err := w.q.Scrape(domain.ScrapeRequest{Within: time.Second}, g.handlers(func(n int) { sent += n }))
	if err != nil {
		t.Fatal(err)
	}
	w.wire.Run()
	window := widened(1)
	for _, step := range []struct{ consume, want int }{{window/2 - 1, window}, {1, window + window/2}} {
		s.Consumed(step.consume)
		if w.wire.Run(); sent != step.want {
			t.Errorf("%d bytes are sent after %d more are consumed, want %d", sent, step.consume, step.want)
		}
	}
	s.Cancel()
	w.wire.Run()
	w.wantIdle()
}

// Responses that have sent nothing take their turns before those that have, in the order in which they come.
func TestFirstPiecesComeBeforeSecondOnes(t *testing.T) {
	rs := &Responder{}
	var order []uint64
	for id, begun := range []bool{true, true, false, false, true, false} {
		rs.enqueue(&Response{id: uint64(id), begun: begun, credit: 1, queue: *bytes.NewBufferString("a")})
	}
	for _, r := range rs.ready {
		order = append(order, r.id)
	}
	if !slices.Equal(order, []uint64{2, 3, 5, 0, 1, 4}) || rs.fresh != 3 {
		t.Errorf("%v, of which %d have sent nothing", order, rs.fresh)
	}
}

// A body of known length is granted whole at its begin, and one of any length a share, so that they need no round trips for their window;
// bodies that are not consumed share what there is.
func TestBodiesAreGrantedAtTheirBegin(t *testing.T) {
	for name, test := range map[string]struct {
		length int64
		want   int
	}{"short": {1000, 1000}, "known": {500_000, 500_000}, "long": {2 << 20, widened(1)}, "unknown": {-1, widened(1)}} {
		w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, Length: test.length})
			res.Write(page(max(int(test.length), 1000)))
			if test.length < 0 {
				res.Write(page(2 << 20))
			}
			return nil
		})
		g := &got{}
		s, err := w.q.Scrape(domain.ScrapeRequest{}, g.handlers(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		w.wire.Run()
		if len(g.body) != test.want || s.window != max(test.want, firstWindow) {
			t.Errorf("%s: %d bytes came, in a window of %d; want %d", name, len(g.body), s.window, test.want)
		}
		s.Cancel()
		w.wire.Run()
		w.wantIdle()
	}
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: 1 << 20})
		res.Write(page(1 << 20))
		return nil
	})
	total := 0
	for range 60 {
		if _, err := w.q.Scrape(domain.ScrapeRequest{}, (&got{}).handlers(func(n int) { total += n })); err != nil {
			t.Fatal(err)
		}
		w.wire.Run()
	}
	if most := MaxStart + 60*firstWindow; total > most || total < MaxStart {
		t.Errorf("%d bytes of 60 bodies came unread, want %d to %d", total, MaxStart, most)
	}
}

// Messages with full pieces have lengths that are encrypted in one pass, written in whatever way, also of requests with large ids.
func TestMessagesOfFullPiecesAreAligned(t *testing.T) {
	const pieces = 40
	body := page(pieces * ports.Piece)
	ways := []func(*Response){
		func(res *Response) { write(res, body, func() { res.End(nil) }) },
		func(res *Response) { res.Write(body); res.End(nil) },
	}
	w := newWorld(t, nil)
	for id := uint64(250); id < 257; id++ {
		w.answer = func(_ domain.ScrapeRequest, res *Response) func() {
			res.Head(domain.ScrapeHead{Status: 200, Length: int64(len(body))})
			ways[id%2](res)
			return nil
		}
		w.q.nextID = id - 1
		w.wire.TakeFrames()
		_, g := w.scrape(domain.ScrapeRequest{Within: time.Second})
		w.wire.Run()
		full := 0
		for _, f := range w.wire.TakeFrames() {
			if len(f.Bytes) > ports.Piece && len(f.Bytes)%8 == 0 {
				full++
			}
		}
		if !bytes.Equal(g.body, body) || full != pieces {
			t.Errorf("request %d: %d bytes, %d of %d pieces are aligned", id, len(g.body), full, pieces)
		}
	}
}

// A response that is written while others wait for their turn takes its turn after them.
func TestWritesDoNotPassWaitingResponses(t *testing.T) {
	var all []*Response
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		all = append(all, res)
		return nil
	})
	w.wire.B.Window = 1
	for range 2 {
		w.scrape(domain.ScrapeRequest{Within: time.Second})
	}
	w.wire.Run()
	w.wire.TakeFrames()
	all[0].Write(page(2)) // fills the connection
	all[1].Write(page(3))
	all[0].Write(page(4))
	w.wire.Run()
	var lengths []int
	for _, f := range w.wire.TakeFrames() {
		if f.From == "b" {
			lengths = append(lengths, len(f.Bytes)-3)
		}
	}
	if !slices.Equal(lengths, []int{2, 3, 4}) {
		t.Errorf("pieces of %d bytes", lengths)
	}
}

// The reason of a body that is not complete does not wait for credit.
func TestReasonsNeedNoCredit(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: -1})
		res.Write(page(3 * firstWindow))
		res.End(&domain.ScrapeError{Fault: domain.FaultExporter, Reason: "broke off"})
		return nil
	})
	g := &got{}
	if _, err := w.q.Scrape(domain.ScrapeRequest{Within: time.Second}, g.handlers(func(int) {})); err != nil {
		t.Fatal(err)
	}
	w.wire.Run()
	if w.wantIdle(); len(g.ends) != 1 || g.ends[0] == nil || g.ends[0].Error() != "broke off" {
		t.Errorf("%v", g.ends)
	}
}

// However much credit a requester gives, it is counted.
func TestCreditDoesNotOverflow(t *testing.T) {
	var res *Response
	w := newWorld(t, func(_ domain.ScrapeRequest, r *Response) func() { res = r; return nil })
	_, g := w.scrape(domain.ScrapeRequest{Within: time.Second})
	w.wire.Run()
	for range 1500 {
		m := window{1, compact.MaxUint}
		w.q.channel.Send(typeWindow, m.append(nil))
	}
	w.wire.Run()
	if res.credit <= 0 {
		t.Fatalf("a credit of %d bytes", res.credit)
	}
	res.Head(domain.ScrapeHead{Status: 200, Length: 5})
	res.Write(page(5))
	res.End(nil)
	if w.wire.Run(); len(g.ends) != 1 || g.ends[0] != nil {
		t.Errorf("%v", g.ends)
	}
}

// A time that is over is the shortest one: the client reports it, and the connection goes on.
func TestTimeThatIsOverIsSent(t *testing.T) {
	var within []time.Duration
	w := newWorld(t, func(r domain.ScrapeRequest, res *Response) func() {
		within = append(within, r.Within)
		res.End(nil)
		return nil
	})
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond} {
		w.scrape(domain.ScrapeRequest{Within: d})
	}
	if w.wire.Run(); !slices.Equal(within, []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}) {
		t.Errorf("%v", within)
	}
}

// Heads and ends that a requester reads late count until it has read them, and no longer.
func TestUnreadResponsesCountUntilTheyAreRead(t *testing.T) {
	w := newWorld(t, func(_ domain.ScrapeRequest, res *Response) func() {
		res.Head(domain.ScrapeHead{Status: 200, Length: 0})
		res.End(nil)
		return nil
	})
	w.wire.Run()
	for range 4 {
		w.p.unread = maxUnread - 1
		w.p.drained()
		if w.p.unread != 0 {
			t.Fatalf("%d messages count after they were read", w.p.unread)
		}
	}
}

// The limit on messages that a requester has not read is exact.
func TestUnreadMessageBeyondTheLimitEndsTheConnection(t *testing.T) {
	w := newWorld(t, func(domain.ScrapeRequest, *Response) func() { return nil })
	w.wire.Run()
	w.wire.B.Window = 1
	w.wire.A.Pause()
	m := end{id: 1, code: byClient}
	w.p.send(typeEnd, m.append(nil)) // fills the window
	w.p.unread = maxUnread - 1
	for i, closed := range []bool{false, true} {
		w.p.send(typeEnd, m.append(nil))
		if w.p.mux.Closed() != closed {
			t.Errorf("closed %v after %d unread messages, want %v", !closed, maxUnread+i, closed)
		}
	}
}

// A response that was cancelled while it waited for its turn sends nothing more.
func TestCancelledResponseLosesItsTurn(t *testing.T) {
	wire := muxtest.NewWire()
	pieces := map[uint64]int{}
	scraper, err := mux.New(wire.A).Open(mux.ChannelOptions{Protocol: Protocol, Messages: []func([]byte){
		typeResponse: func([]byte) {}, typeEnd: func([]byte) {},
		typeData: func(b []byte) {
			id, _, err := parseData(b)
			if err != nil {
				t.Error(err)
			}
			pieces[id]++
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	responses := map[uint64]*Response{}
	if _, err = NewResponder(mux.New(wire.B), ResponderOptions{OnRequest: func(_ domain.ScrapeRequest, res *Response) func() {
		responses[res.id] = res
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	wire.Run()
	const ids = 3
	for id := range uint64(ids) {
		m := request{id: id + 1, credit: firstWindow}
		scraper.Send(typeRequest, m.append(nil))
	}
	wire.Run()
	wire.B.Window = 1
	wire.A.Pause()
	for id := range uint64(ids) {
		responses[id+1].Head(domain.ScrapeHead{Status: 200, Length: -1})
		responses[id+1].Write(page(2 * ports.Piece))
	}
	scraper.Send(typeCancel, compact.AppendUint(nil, 2))
	wire.Run()
	wire.A.Resume()
	wire.Run()
	if pieces[1] != 2 || pieces[2] != 0 || pieces[3] != 2 {
		t.Errorf("pieces by request: %v", pieces)
	}
}

// A writer that goes on when it is called runs once at a time, however much credit there is; and it is called when less waits than a full
// queue, not before.
func TestWritersAreCalledOneAfterTheOther(t *testing.T) {
	var res *Response
	w := newWorld(t, func(_ domain.ScrapeRequest, r *Response) func() { res = r; return nil })
	w.wire.Run()
	m := request{id: 1}
	w.q.channel.Send(typeRequest, m.append(nil))
	w.wire.Run()
	res.Head(domain.ScrapeHead{Status: 200, Length: -1})
	calls, depth, deepest := 0, 0, 0
	res.OnDrain(func() {
		calls++
		depth++
		deepest = max(deepest, depth)
		if calls < 20 {
			res.Write(page(queueSize))
		}
		depth--
	})
	res.Write(page(ports.Piece + queueSize))
	more := window{1, ports.Piece}
	w.q.channel.Send(typeWindow, more.append(nil))
	if w.wire.Run(); calls != 0 || res.queue.Len() != queueSize {
		t.Errorf("called %d times while %d bytes wait", calls, res.queue.Len())
	}
	more.bytes = 1 << 30
	w.q.channel.Send(typeWindow, more.append(nil))
	w.wire.Run()
	if calls != 20 || deepest != 1 {
		t.Errorf("called %d times, %d at once", calls, deepest)
	}
}
