package dht

import (
	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// Sizes reports, for everything whose size depends on peers, how much the transport and its node hold and the limit,
// hyperdht.Unbounded where only the application sets one. It is for finding leaks; names may change.
func (t *Transport) Sizes(tell func(what string, held, most int)) {
	asked, pending, adopted, served := 0, 0, 0, 0
	scrapes, requested, responses := 0, 0, 0
	for _, l := range t.links {
		for _, r := range l.roles {
			switch s := r.(type) {
			case *session:
				if s.rpc != nil {
					asked, pending = asked+len(s.requests), pending+s.rpc.Pending()
					scrapes, requested = scrapes+len(s.running), requested+s.scrapes.Running()
				}
			case *metricsServer:
				responses += s.scrapes.Running()
			}
		}
	}
	for _, s := range t.listeners {
		adopted, served = adopted+len(s.adopted), served+len(s.links)
	}
	tell("links", len(t.links), hyperdht.Unbounded)
	tell("links of servers", served, len(t.links))
	tell("metrics on own links", adopted, len(t.links))
	tell("requests on links", asked, hyperdht.Unbounded)
	unread, held := 0, 0
	for _, n := range t.answers.unreadUsage().by {
		unread = max(unread, n)
	}
	for _, s := range t.answers.servers {
		held = max(held, t.answers.waitingOn(s))
	}
	tell("bytes of answers that one scraper has not read", unread, maxUnread+answerMemory(domain.MaxBody))
	tell("requests on one connection that wait for room", held, maxWaitingAnswers)
	tell("answers being collected", len(t.answers.running), hyperdht.Unbounded)
	tell("requests on channels", pending, asked)
	tell("scrapes on links", scrapes, muxscrape.MaxRunning*len(t.links))
	tell("scrapes on channels", requested, scrapes)
	tell("responses on channels", responses, muxscrape.MaxRunning*len(t.links))
	tell("bytes of sets without a commit", t.sets.held, maxSets)
	tell("credit of scrapes", t.windows.Granted(), muxscrape.MaxWindows)
	t.node.Sizes(tell)
}
