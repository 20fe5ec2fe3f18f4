package dht

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// readers are connections of scrapers to one client, without a network: what is sent counts until the test says it was read.
type readers struct {
	loop    *portstest.Loop
	answers *answers
	size    int // of the next page, in bytes
	pages   int // collected
	got     []string
	held    []func() // collections that have not ended
	slow    bool
}

// mute is a connection whose peer acknowledges everything and sends nothing.
type mute struct {
	onOpen  func()
	onClose func(error)
	ended   bool
}

func (m *mute) Send(...[]byte) bool             { return true }
func (m *mute) End()                            {}
func (m *mute) Close()                          { m.Destroy(nil) }
func (m *mute) Pause()                          {}
func (m *mute) Resume()                         {}
func (m *mute) OnStart(func())                  {}
func (m *mute) OnOpen(f func())                 { m.onOpen = f }
func (m *mute) OnMessage(func([]byte))          {}
func (m *mute) OnDrain(func())                  {}
func (m *mute) OnEnd(func())                    {}
func (m *mute) OnPath(func())                   {}
func (m *mute) DirectSilence() time.Duration    { return 0 }
func (m *mute) Detour() hyperdht.Detour         { return hyperdht.Detour{} }
func (m *mute) Stats() hyperdht.ConnectionStats { return hyperdht.ConnectionStats{} }
func (m *mute) OnClose(f func(error))           { m.onClose = f }
func (m *mute) HandshakeHash() [64]byte         { return [64]byte{1} }
func (m *mute) Answered() bool                  { return true }
func (m *mute) RemotePublicKey() id.PublicKey   { return id.PublicKey{} }
func (m *mute) RemoteAddr() netip.AddrPort      { return netip.AddrPort{} }
func (m *mute) Path() hyperdht.Path             { return hyperdht.PathDirect }
func (m *mute) Trust()                          {}
func (m *mute) Destroy(err error) {
	if !m.ended {
		m.ended = true
		m.onClose(err)
	}
}

// reader is a mute connection with a metrics server on it.
type reader struct {
	mute
	key    id.PublicKey
	unsent int
	server *metricsServer
}

func (r *reader) RemotePublicKey() id.PublicKey { return r.key }
func (r *reader) Idle() bool                    { return r.Unsent() == 0 }

func (r *reader) Unsent() int {
	if r.ended {
		return 0
	}
	return r.unsent
}

func newReaders() *readers {
	l := portstest.NewLoop(1)
	return &readers{loop: l, answers: newAnswers(l)}
}

func (rs *readers) connect(t *testing.T, key byte) *reader {
	c := &reader{key: id.PublicKey{key}}
	l := newLink(rs.loop, c)
	l.answers = rs.answers
	var err error
	c.server, err = serveMetrics(l, func(ports.Conn) ports.MetricsHandlers {
		return ports.MetricsHandlers{OnScrape: answering(rs.loop, func(reply func(MetricsReply)) {
			rs.pages++
			end := func() { reply(MetricsReply{Success: true, Body: make([]byte, rs.size)}) }
			if rs.slow {
				rs.held = append(rs.held, end)
				return
			}
			end()
		})}
	})
	if err != nil {
		t.Fatal(err)
	}
	rs.loop.Turn(func() { c.onOpen() })
	return c
}

// ask asks on a connection, and counts what is answered as unread.
func (rs *readers) ask(c *reader) {
	rs.loop.Turn(func() {
		rs.answers.ask(c.server, func(r MetricsReply) {
			if !r.Success {
				rs.got = append(rs.got, r.Message)
				return
			}
			c.unsent += answerMemory(len(r.Body))
			rs.got = append(rs.got, fmt.Sprintf("%d MB", len(r.Body)>>20))
		})
	})
}

// took returns the answers since the last call.
func (rs *readers) took() string {
	s := strings.Join(rs.got, "; ")
	rs.got = nil
	return s
}

func TestFurtherPagesWaitUntilTheScraperReads(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	a, b := w.connect(t, 1), w.connect(t, 1)
	w.ask(a)
	w.ask(b)
	w.ask(a)
	w.loop.Advance(time.Minute)
	if got := w.took(); got != "15 MB" || w.pages != 1 {
		t.Fatalf("answered %q with %d collections", got, w.pages)
	}
	a.unsent = 0
	w.loop.Advance(2 * answerRetry)
	if got := w.took(); got != "15 MB" || w.pages != 2 {
		t.Fatalf("then answered %q with %d collections", got, w.pages)
	}
	w.loop.Turn(func() { b.Destroy(nil) })
	if got := w.took(); got != "15 MB" {
		t.Errorf("after the other connection answered %q", got)
	}
	w.loop.Turn(func() { a.Destroy(nil) })
	if w.loop.Timers() != 0 || len(w.answers.waiting)+len(w.answers.running)+len(w.answers.size) != 0 {
		t.Errorf("left: %d timers, %+v", w.loop.Timers(), w.answers)
	}
}

func TestOneScraperDoesNotHoldUpAnother(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	a, b := w.connect(t, 1), w.connect(t, 2)
	w.ask(a)
	w.ask(a)
	w.ask(b)
	if got := w.took(); got != "15 MB; 15 MB" {
		t.Errorf("answered %q", got)
	}
}

// Pages that were small have grown while several were collected. They are collected again, one after the other.
func TestPageThatDoesNotFitWaitsUntilTheScraperReads(t *testing.T) {
	w := newReaders()
	w.slow, w.size = true, 15<<20
	a := w.connect(t, 1)
	for range 3 {
		w.ask(a)
	}
	w.endCollections()
	if got := w.took(); got != "15 MB" || w.answers.withheld != 2 {
		t.Fatalf("answered %q, withheld %d", got, w.answers.withheld)
	}
	for range 2 {
		a.unsent = 0
		w.loop.Advance(2 * answerRetry)
		w.endCollections()
		if got := w.took(); got != "15 MB" {
			t.Errorf("then answered %q", got)
		}
	}
	if w.pages != 5 || w.answers.withheld != 2 {
		t.Errorf("%d collections, withheld %d", w.pages, w.answers.withheld)
	}
}

// endCollections ends those under way.
func (rs *readers) endCollections() {
	held := rs.held
	rs.held = nil
	for _, end := range held {
		rs.loop.Turn(end)
	}
}

// A process serves 200 targets to one scraper, which asks for all of them at the same time.
func TestManyTargetsOfOneScraperAreAllAnswered(t *testing.T) {
	w := newReaders()
	w.size = 1 << 20
	var all []*reader
	for range 200 {
		all = append(all, w.connect(t, 1))
	}
	for _, c := range all {
		w.ask(c)
	}
	for range 1000 {
		w.read(all, 200<<10)
		w.loop.Advance(answerRetry)
	}
	if got := w.took(); strings.Count(got, "1 MB") != 200 || w.answers.withheld+w.answers.shed != 0 {
		t.Errorf("%d of 200 answers, %+v", strings.Count(got, "1 MB"), w.answers.counters())
	}
}

// read acknowledges n bytes on each connection.
func (rs *readers) read(all []*reader, n int) {
	for _, c := range all {
		c.unsent = max(0, c.unsent-n)
	}
}

// Sixteen scrapers read pages of 15 MB over slow links, all at the same time and repeatedly: together six times the limit.
func TestScrapersThatReadSlowlyAreNotCut(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	var all []*reader
	for key := range byte(16) {
		all = append(all, w.connect(t, key+1))
	}
	most := 0
	for range 4 * 60 * int(time.Second/answerRetry) {
		if w.loop.Now().Sub(0)%(30*time.Second) < answerRetry {
			for _, c := range all {
				if w.answers.waitingOn(c.server) == 0 {
					w.ask(c)
				}
			}
		}
		w.read(all, 64<<10) // 1.3 MB/s
		w.loop.Advance(answerRetry)
		total := 0
		for _, c := range all {
			total += c.Unsent()
		}
		most = max(most, total)
	}
	for key, c := range all {
		if c.ended {
			t.Errorf("scraper %d is cut", key)
		}
	}
	if got := w.took(); strings.Count(got, "15 MB") < 3*16 || strings.Contains(got, "wait") {
		t.Errorf("answered %q", got)
	}
	if most > maxUnreadTotal {
		t.Errorf("%d bytes are unread", most)
	}
}

func TestWaitingRequestsAreBounded(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	a := w.connect(t, 1)
	for range 1 + maxWaitingAnswers + 5 {
		w.ask(a)
	}
	if got := strings.Split(w.took(), "; "); len(got) != 6 || !strings.Contains(got[5], "requests wait until earlier answers are read") {
		t.Errorf("answered %q", got)
	}
}

// Scrapers that read nothing: after answerStall the one with the most unread loses its connection when another one requests
// its first page.
func TestMemoryForAllScrapersIsBounded(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	var all []*reader
	for key := range byte(9) {
		c := w.connect(t, key+1)
		all = append(all, c)
		w.ask(c)
		total := 0
		for _, c := range all {
			total += c.Unsent()
		}
		if total > maxUnreadTotal+answerMemory(w.size) {
			t.Fatalf("%d bytes are unread", total)
		}
	}
	w.loop.Advance(answerStall - time.Second)
	if w.answers.shed != 0 {
		t.Error("a connection ends at once")
	}
	w.loop.Advance(10 * time.Second)
	if !all[0].ended || all[8].ended || w.answers.shed == 0 {
		t.Errorf("ended first %v, last %v, counted %d", all[0].ended, all[8].ended, w.answers.shed)
	}
	if got := w.took(); strings.Count(got, "15 MB") != 9 {
		t.Errorf("answered %q", got)
	}
}

// Scrapers that acknowledge a byte now and then do not keep another one waiting indefinitely.
func TestScrapersThatPretendToReadAreCutInTheEnd(t *testing.T) {
	w := newReaders()
	w.size = 15 << 20
	var all []*reader
	for key := range byte(5) {
		all = append(all, w.connect(t, key+1))
		w.ask(all[key])
	}
	last := w.connect(t, 9)
	w.ask(last)
	w.took()
	for range int(answerStarve/time.Second) + 1 {
		w.read(all, 1)
		w.loop.Advance(time.Second)
	}
	if got := w.took(); got != "15 MB" || w.answers.shed != 1 {
		t.Errorf("answered %q, %d ended", got, w.answers.shed)
	}
}
