package dht

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// answers limits the memory for answers that scrapers have requested and not read: maxUnread for each scraper, over all of
// its connections, and maxUnreadTotal in all. A request waits, before its metrics are collected, until there is room for an
// answer as large as the last one on its connection. A page that turns out larger than the room is collected again when
// there is room.
//
// Scrapers with no unread answers come first: while one waits, the others get no more, so it waits only until they have
// read. To make room for it, a connection is closed if its scraper has acknowledged nothing for answerStall, or any
// connection after answerStarve.
type answers struct {
	host    host.Host
	servers []*metricsServer         // the open ones, in the order of opening
	waiting []*answer                // the oldest first
	running []*answer                // being collected
	size    map[domain.PublicKey]int // memory of the last answer to a scraper, in bytes
	retry   host.Timer

	withheld uint64 // answers that did not fit once collected, and requests above maxWaitingAnswers
	shed     uint64 // connections ended because of unread answers
}

// answer is one pending request for metrics. Its states are in doc.go. Once it is sent, its memory counts until the scraper has
// acknowledged it.
type answer struct {
	server   *metricsServer
	reply    func(MetricsReply)
	asked    host.Instant
	reserved int // bytes, while it is collected
	cancel   func()
}

func newAnswers(h host.Host) *answers { return &answers{host: h, size: make(map[domain.PublicKey]int)} }

// answerMemory estimates the memory of an answer of n bytes until the peer has acknowledged it, packet overhead included.
func answerMemory(n int) int { return n + n/2 }

// unread returns the memory of answers that a scraper has not acknowledged, in bytes.
func (a *answers) unread(scraper domain.PublicKey) int { return a.unreadUsage().by[scraper] }

// usage is the memory of answers, in bytes.
type usage struct {
	by    map[domain.PublicKey]int // by scraper
	total int
}

// usage sums the unread bytes and those reserved for answers being collected.
func (a *answers) usage() usage {
	u := a.unreadUsage()
	for _, r := range a.running {
		u.add(r.server.scraper(), r.reserved)
	}
	return u
}

func (u *usage) add(scraper domain.PublicKey, n int) {
	u.by[scraper] += n
	u.total += n
}

func (a *answers) unreadUsage() usage {
	u := usage{by: map[domain.PublicKey]int{}}
	counted := map[*link]bool{} // a link may have a new server before the old one has left
	for _, s := range a.servers {
		if !counted[s.link] {
			counted[s.link] = true
			u.add(s.scraper(), s.link.conn.Unsent())
		}
	}
	return u
}

// holds reports whether the scraper of a request has unread answers or reserved memory.
func (u usage) holds(r *answer) bool { return u.by[r.server.scraper()] > 0 }

// takes reports whether there is room for an answer of n bytes. The first answer always fits, whatever its size.
func (u usage) takes(r *answer, n int) bool {
	return (!u.holds(r) || u.by[r.server.scraper()]+n <= maxUnread) && (u.total == 0 || u.total+n <= maxUnreadTotal)
}

// next estimates the memory of an answer, in bytes: that of the last one on its connection, or else to its scraper.
func (a *answers) next(r *answer) int {
	return cmp.Or(r.server.size, a.size[r.server.scraper()], firstAnswer)
}

// watch records which connections have acknowledged something.
func (a *answers) watch() {
	for _, s := range a.servers {
		if n := s.link.conn.Unsent(); n < s.unread || n == 0 {
			s.unread, s.read = n, a.host.Now()
		}
	}
}

// makeRoom closes a connection for a request that has no room and whose scraper has nothing unread: the connection with the
// most unread bytes of those whose scraper does not read, or of all when the request has waited for answerStarve.
func (a *answers) makeRoom(r *answer) {
	now := a.host.Now()
	starved := now.Sub(r.asked) >= answerStarve
	a.shedLargest(func(s *metricsServer) bool { return starved || now.Sub(s.read) >= answerStall })
}

// shedLargest closes the connection with the most unread bytes among those that of selects, if any.
func (a *answers) shedLargest(of func(*metricsServer) bool) {
	var largest *metricsServer
	most := 0
	for _, s := range a.servers {
		if n := s.link.conn.Unsent(); n > most && of(s) {
			largest, most = s, n
		}
	}
	if largest != nil {
		a.shed++
		largest.link.end(errUnread)
	}
}

// enter adds an open server.
func (a *answers) enter(s *metricsServer) { a.servers = append(a.servers, s) }

// leave removes a server and drops its requests.
func (a *answers) leave(s *metricsServer) {
	if !slices.Contains(a.servers, s) {
		return
	}
	a.servers = without(a.servers, s)
	of := func(r *answer) bool { return r.server == s }
	for _, r := range slices.DeleteFunc(slices.Clone(a.running), func(r *answer) bool { return !of(r) }) {
		r.cancel()
	}
	a.waiting, a.running = slices.DeleteFunc(a.waiting, of), slices.DeleteFunc(a.running, of)
	if key := s.scraper(); !slices.ContainsFunc(a.servers, func(o *metricsServer) bool { return o.scraper() == key }) {
		delete(a.size, key)
	}
	a.run()
}

// ask has a server answer a request as soon as there is room.
func (a *answers) ask(s *metricsServer, reply func(MetricsReply)) {
	if a.unread(s.scraper()) > maxUnread+answerMemory(domain.MaxBody) {
		a.shed++
		s.link.end(errUnread) // filled with failure replies
		return
	}
	r := &answer{server: s, reply: reply, asked: a.host.Now()}
	a.waiting = append(a.waiting, r)
	a.run()
	if a.waitingOn(s) > maxWaitingAnswers && slices.Contains(a.waiting, r) {
		a.waiting = without(a.waiting, r)
		a.withheld++
		reply(MetricsReply{Message: fmt.Sprintf("%d requests wait until earlier answers are read", maxWaitingAnswers)})
	}
}

// waitingOn counts the requests that wait on a connection.
func (a *answers) waitingOn(s *metricsServer) (n int) {
	for _, r := range a.waiting {
		if r.server == s {
			n++
		}
	}
	return n
}

// run starts the requests that there is room for, and runs again after answerRetry while any wait.
func (a *answers) run() {
	a.watch()
	for _, holding := range []bool{false, true} { // scrapers that hold nothing first
		if starved := a.startAll(holding); starved != nil && !holding {
			a.makeRoom(starved)
			break
		}
	}
	switch {
	case len(a.waiting) == 0:
		if a.retry != nil {
			a.retry.Stop()
			a.retry = nil
		}
	case a.retry == nil:
		a.retry = a.host.AfterFunc(answerRetry, func() {
			a.retry = nil
			a.run()
		})
	}
}

// startAll starts the requests that there is room for, of scrapers that hold memory or of the others, and returns the first
// that does not fit.
func (a *answers) startAll(holding bool) (stuck *answer) {
	u := a.usage()
	for _, r := range slices.Clone(a.waiting) {
		switch {
		case u.holds(r) != holding:
		case u.takes(r, a.next(r)):
			if slices.Contains(a.waiting, r) { // an immediate answer starts others
				a.start(r)
				u = a.usage()
			}
		case stuck == nil:
			stuck = r
		}
	}
	return stuck
}

// start has an answer collected.
func (a *answers) start(r *answer) {
	a.waiting = without(a.waiting, r)
	r.reserved = a.next(r)
	a.running = append(a.running, r)
	r.cancel = scrape.Collect(scrapeFunc(r.server.handlers.OnScrape), domain.ScrapeRequest{Text: true}, domain.MaxBody,
		func(p scrape.Page, err error) {
			remote, ok := errors.AsType[*domain.RemoteError](err)
			switch {
			case ok:
				a.answered(r, MetricsReply{Message: cut(remote.Message)})
			case err != nil:
				a.answered(r, MetricsReply{Message: cut(err.Error())})
			default:
				a.answered(r, MetricsReply{Success: true, Body: p.Body})
			}
		})
}

// scrapeFunc is a function as a ports.MetricsSource.
type scrapeFunc func(domain.ScrapeRequest, ports.ScrapeHandlers) ports.Scrape

// Scrape implements ports.MetricsSource.
func (f scrapeFunc) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return f(r, h)
}

// answered sends an answer, or queues its request again until there is room for one of its size.
func (a *answers) answered(r *answer, reply MetricsReply) {
	a.running = without(a.running, r)
	s := r.server
	if n := answerMemory(len(reply.Body)); reply.Success {
		s.size, a.size[s.scraper()] = n, n
		if !a.usage().takes(r, n) {
			a.withheld++
			a.waiting = append([]*answer{r}, a.waiting...)
			a.run()
			return
		}
	}
	r.reply(reply)
	s.unread, s.read = s.link.conn.Unsent(), a.host.Now()
	a.run()
}

func (a *answers) counters() []ports.Counter {
	one := func(result string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "unread_answers", Help: "Answers delayed, requests rejected, and connections closed, because scrapers had not read earlier answers.",
			Value: n, Labels: []ports.Label{{Name: "result", Value: result}},
		}
	}
	return []ports.Counter{one("withheld", a.withheld), one("closed", a.shed)}
}
