package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// queue holds the requests of one kind from one scraper: those that are being collected and those that wait for that.
type queue struct {
	limit   int // of collections at once
	most    int // of those that wait
	running int
	waiting []*collection
}

// enter starts a request, or has it wait. It reports whether there is room.
func (q *queue) enter(c *collection) bool {
	switch {
	case q.running < q.limit:
		q.running++
		c.start()
	case len(q.waiting) < q.most:
		q.waiting = append(q.waiting, c)
	default:
		return false
	}
	return true
}

// leave removes a request, and starts the next one in its place.
func (q *queue) leave(c *collection) {
	if i := slices.Index(q.waiting, c); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	q.running--
	for q.running < q.limit && len(q.waiting) > 0 {
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.running++
		next.start()
	}
}

// collection is a request that a client answers from its source, a ports.Scrape for the scraper.
type collection struct {
	conn     *clientConn
	target   ClientTarget
	counts   *targetQueues
	queue    *queue // nil for one that was rejected
	request  domain.ScrapeRequest
	handlers ports.ScrapeHandlers
	arrived  host.Instant
	timer    host.Timer
	run      ports.Scrape        // at the source; nil while it waits
	status   *domain.StatusError // of an exporter that does not answer with 200 OK
	bytes    int
	over     bool
}

// onScrape answers a request.
func (cc *clientConn) onScrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	s, host := cc.scraper, cc.client.cfg.Host
	c := &collection{conn: cc, request: r, handlers: h, arrived: host.Now(), counts: &targetQueues{}}
	known := false
	c.target, known = cc.client.target(r.Target)
	if known = known && s.registrar != nil; known { // else the peer is not admitted
		c.counts = s.queues(c.target.Alias, len(cc.client.scrapers))
	}
	c.counts.requests++
	tell(cc.client.cfg.OnEvent, domain.MetricsRequest{UID: cc.uid, Peer: cc.peer, Target: c.name()})
	c.request.Header = passed(r.Header, c.target.Fields)
	c.queue = &c.counts.scrapes
	switch {
	case r.Text:
		c.queue = &s.texts
	case r.Query != "":
		c.queue = &c.counts.probes
	}
	if !r.Text {
		c.limitTo(r.Within)
	}
	if !known && r.Target == "" && cc.client.cfg.Targets != nil {
		s.renew() // it does not know sets, and has their key from a newer version
	}
	switch {
	case !known:
		c.queue = nil
		host.Post(func() { c.end(errNoTarget) })
	case !c.queue.enter(c):
		c.queue = nil
		host.Post(func() { c.end(errBusy) })
	}
	return c
}

// name is the target in events: of a client that has several.
func (c *collection) name() domain.Alias {
	if c.conn.client.cfg.Targets == nil {
		return ""
	}
	if c.target.Source == nil {
		return domain.Alias(clip(c.request.Target))
	}
	return c.target.Alias
}

// limitTo ends the collection after a time, or after the client's own limit.
func (c *collection) limitTo(within time.Duration) {
	if most := c.conn.client.cfg.CollectTimeout; most > 0 {
		within = min(within, most)
	}
	c.timer = c.conn.client.cfg.Host.AfterFunc(within, func() {
		waiting := "the metrics source"
		if c.run == nil {
			waiting = "an earlier collection to end"
		}
		c.abort(&domain.TimeoutError{Waiting: waiting, After: within})
	})
	c.request.Within = within
}

// start begins the collection. The time of a request for text begins here: its scraper has given up long before, and cannot tell.
func (c *collection) start() {
	r := c.request
	if r.Text {
		c.limitTo(textTimeout)
		r.Within = c.request.Within
	} else {
		r.Within -= c.conn.client.cfg.Host.Now().Sub(c.arrived)
	}
	r.Compress = r.Compress && !near(c.conn.conn.Peer())
	c.run = c.target.Source.Scrape(r, ports.ScrapeHandlers{OnHead: c.onHead, OnData: c.onData, OnEnd: c.end})
}

// near reports whether a peer is in the same local network, or on this machine, as programs are that share a DHT on its loopback addresses.
func near(p domain.Peer) bool { return p.Path == domain.PathLAN || p.Addr.Addr().Unmap().IsLoopback() }

func (c *collection) onHead(h domain.ScrapeHead) {
	if c.request.Text && h.Length > domain.MaxBody {
		c.abort(&domain.BodyTooLargeError{Size: int(h.Length), Max: domain.MaxBody})
		return
	}
	if h.Status != domain.StatusOK {
		c.status = &domain.StatusError{Status: h.Status}
	}
	c.handlers.OnHead(h)
}

func (c *collection) onData(b []byte) {
	if c.bytes += len(b); c.request.Text && c.bytes > domain.MaxBody {
		c.abort(&domain.BodyTooLargeError{Size: c.bytes, Max: domain.MaxBody})
		return
	}
	if c.status != nil && c.bytes == len(b) {
		c.status.Line = firstLine(b)
	}
	c.handlers.OnData(b)
}

// abort ends the collection before the source does.
func (c *collection) abort(err error) {
	if c.run != nil {
		c.run.Cancel()
	}
	c.end(err)
}

// forget ends the collection without a call of its handlers.
func (c *collection) forget() {
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.queue != nil {
		c.queue.leave(c)
	}
}

// end reports the result.
func (c *collection) end(err error) {
	if c.over {
		return
	}
	c.forget()
	client := c.conn.client
	if err == nil && c.status == nil {
		c.counts.bytes += uint64(c.bytes)
		tell(client.cfg.OnEvent, domain.MetricsSuccess{
			UID: c.conn.uid, Peer: c.conn.peer, Target: c.name(), Bytes: c.bytes, Took: client.cfg.Host.Now().Sub(c.arrived),
		})
		c.handlers.OnEnd(nil)
		return
	}
	c.counts.failed++
	failure := err
	if err == nil {
		failure = c.status
	}
	tell(client.cfg.OnEvent, domain.MetricsError{UID: c.conn.uid, Peer: c.conn.peer, Target: c.name(), Err: failure})
	switch {
	case err == nil: // the status is passed on
		c.handlers.OnEnd(nil)
	case c.request.Text:
		c.handlers.OnEnd(&domain.RemoteError{Message: textFailure(c.conn.uid, err)})
	default:
		c.handlers.OnEnd(scrapeError(c.conn.uid, err))
	}
}

// textFailure is the message to a scraper that requested text: the uid, under which the client's log has the reason, and the size of a page
// that was too large, because that cannot be mended at the client alone.
func textFailure(uid domain.UID, err error) string {
	message := fmt.Sprintf("Failed to obtain metrics (uid %s)", uid)
	if large, ok := errors.AsType[*domain.BodyTooLargeError](err); ok {
		message = fmt.Sprintf("%s: %s", message, large)
	}
	return message
}

// scrapeError returns the failure that is reported to a scraper: what the source reports as one, and the uid for all others, which may have
// secrets of this machine in them.
func scrapeError(uid domain.UID, err error) *domain.ScrapeError {
	reported, ok := errors.AsType[*domain.ScrapeError](err)
	switch {
	case ok:
		return reported
	case errors.Is(err, domain.ErrTimeout):
		return &domain.ScrapeError{Fault: domain.FaultTime, Reason: err.Error()}
	case errors.Is(err, errBusy):
		return &domain.ScrapeError{Fault: domain.FaultClient, Reason: "too many scrapes of this target wait for an earlier one"}
	}
	return &domain.ScrapeError{Fault: domain.FaultExporter, Reason: fmt.Sprintf("failed to obtain metrics (uid %s)", uid)}
}

// Consumed implements ports.Scrape.
func (c *collection) Consumed(n int) {
	if !c.over && c.run != nil {
		c.run.Consumed(n)
	}
}

// Cancel implements ports.Scrape.
func (c *collection) Cancel() {
	if c.over {
		return
	}
	if c.run != nil {
		c.run.Cancel() // before the next collection starts
	}
	c.forget()
}

// maxLine bounds the first line of an answer that is no page of metrics, in bytes.
const maxLine = 200

// firstLine returns the first line of a text from the network that has any text, cut, without control characters.
func firstLine(b []byte) string {
	for line := range strings.Lines(string(b[:min(len(b), 4*maxLine)])) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == utf8.RuneError {
				return -1
			}
			return r
		}, line))
		if line != "" {
			return strings.ToValidUTF8(line[:min(len(line), maxLine)], "")
		}
	}
	return ""
}
