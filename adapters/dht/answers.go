package dht

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// answers shares out the memory for metrics that scrapers have asked for and have not read: maxUnread for each scraper, over
// all of its connections, and maxUnreadTotal in all. A request waits, before anything is collected for it, until there is
// room for an answer as large as the last one. One page in full is always let in: where all memory is used up, the
// connection that holds the most ends for a scraper that holds nothing.
//
//	asked ── room ──▶ collecting ── answer ──▶ sent, counted until the peer acknowledges it
//	  └── connection closes ──▶ dropped ◀──┘
type answers struct {
	host    host.Host
	servers []*metricsServer // that are open, in the order of opening
	waiting []*answer        // the oldest first
	running []*answer        // being collected
	size    map[domain.PublicKey]int
	retry   host.Timer

	withheld uint64 // answers that did not fit when they came
	shed     uint64 // connections ended because of unread answers
}

// answer is one request for metrics on its way to its answer.
type answer struct {
	server   *metricsServer
	reply    func(domain.MetricsReply)
	reserved int // bytes, while it is collected
	over     bool
}

func newAnswers(h host.Host) *answers {
	return &answers{host: h, size: make(map[domain.PublicKey]int)}
}

// answerMemory is what an answer of n bytes takes until the peer has acknowledged it: packets are a little larger than
// what they carry.
func answerMemory(n int) int { return n + n/2 }

// unread is what answers to a scraper take that it has not acknowledged, in bytes.
func (a *answers) unread(scraper domain.PublicKey) (n int) {
	for i, s := range a.servers {
		if s.scraper() == scraper && !slices.ContainsFunc(a.servers[:i], func(o *metricsServer) bool { return o.link == s.link }) {
			n += s.link.conn.Unsent()
		}
	}
	return n
}

// held is that, and what is reserved for answers being collected.
func (a *answers) held(scraper domain.PublicKey) int {
	n := a.unread(scraper)
	for _, r := range a.running {
		if r.server.scraper() == scraper {
			n += r.reserved
		}
	}
	return n
}

// scrapers lists those with an open connection, each once.
func (a *answers) scrapers() (all []domain.PublicKey) {
	for _, s := range a.servers {
		if key := s.scraper(); !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	return all
}

func (a *answers) total() (n int) {
	for _, key := range a.scrapers() {
		n += a.held(key)
	}
	return n
}

// next is how much an answer to a scraper takes by what the last one took.
func (a *answers) next(scraper domain.PublicKey) int { return cmp.Or(a.size[scraper], firstAnswer) }

// room reports whether an answer for a scraper may be collected now.
func (a *answers) room(scraper domain.PublicKey) bool {
	held, n := a.held(scraper), a.next(scraper)
	if held > 0 && held+n > maxUnread {
		return false
	}
	for total := a.total(); total > 0 && total+n > maxUnreadTotal; total = a.total() {
		if held > 0 || !a.shedLargest() {
			return false
		}
	}
	return true
}

// shedLargest ends the connection with the most unread bytes, if there is any.
func (a *answers) shedLargest() bool {
	var largest *metricsServer
	most := 0
	for _, s := range a.servers {
		if n := s.link.conn.Unsent(); n > most {
			largest, most = s, n
		}
	}
	if largest == nil {
		return false
	}
	a.shed++
	largest.link.end(errUnread)
	return true
}

// enter adds an open server.
func (a *answers) enter(s *metricsServer) { a.servers = append(a.servers, s) }

// leave drops a server with everything that it has asked for.
func (a *answers) leave(s *metricsServer) {
	if !slices.Contains(a.servers, s) {
		return
	}
	a.servers = without(a.servers, s)
	of := func(r *answer) bool {
		r.over = r.over || r.server == s
		return r.server == s
	}
	a.waiting, a.running = slices.DeleteFunc(a.waiting, of), slices.DeleteFunc(a.running, of)
	if key := s.scraper(); !slices.Contains(a.scrapers(), key) {
		delete(a.size, key)
	}
	a.run()
}

// ask has a server answer a request as soon as there is room.
func (a *answers) ask(s *metricsServer, reply func(domain.MetricsReply)) {
	if a.unread(s.scraper()) > maxUnread+answerMemory(domain.MaxBody) {
		a.shed++
		s.link.end(errUnread) // refusals have filled it
		return
	}
	r := &answer{server: s, reply: reply}
	a.waiting = append(a.waiting, r)
	a.run()
	if len(a.waitingOf(s.scraper())) > maxWaitingAnswers && slices.Contains(a.waiting, r) {
		a.waiting = without(a.waiting, r)
		a.withheld++
		reply(domain.MetricsReply{Message: fmt.Sprintf("%d requests wait until earlier answers are read", maxWaitingAnswers)})
	}
}

func (a *answers) waitingOf(scraper domain.PublicKey) (all []*answer) {
	for _, r := range a.waiting {
		if r.server.scraper() == scraper {
			all = append(all, r)
		}
	}
	return all
}

// run starts what there is room for, and looks again in a while where something waits.
func (a *answers) run() {
	for _, r := range slices.Clone(a.waiting) {
		if r.over || !slices.Contains(a.waiting, r) || !a.room(r.server.scraper()) {
			continue
		}
		a.waiting = without(a.waiting, r)
		r.reserved = a.next(r.server.scraper())
		a.running = append(a.running, r)
		r.server.handlers.OnRequest(func(reply domain.MetricsReply) { a.answered(r, reply) })
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

// answered sends an answer, or a failure where it is larger than the room that was left for it.
func (a *answers) answered(r *answer, reply domain.MetricsReply) {
	if r.over {
		return
	}
	r.over = true
	a.running = without(a.running, r)
	key := r.server.scraper()
	if reply.Success {
		n := answerMemory(len(reply.Body))
		a.size[key] = max(n, 1)
		if held := a.held(key); held > 0 && held+n > maxUnread {
			a.withheld++
			reply = domain.MetricsReply{Message: fmt.Sprintf("%d bytes of earlier answers are unread, with %d more they exceed %d", held, n, maxUnread)}
		}
	}
	r.reply(reply)
	a.run()
}

func (a *answers) counters() []ports.Counter {
	one := func(result string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "unread_answers", Help: "Answers withheld, and connections closed, because a scraper had not read earlier answers.",
			Value: n, Labels: []ports.Label{{Name: "result", Value: result}},
		}
	}
	return []ports.Counter{one("withheld", a.withheld), one("closed", a.shed)}
}
