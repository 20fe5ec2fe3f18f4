package dht

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on messages.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "dht.maxUnread", What: "answers of a client that its scraper has not read, over all connections",
			Scope: bound.PerKey, Limit: bound.Bytes(maxUnread), Policy: bound.Wait,
			Reason:  "one page of the maximum size; the next one is collected when there is room for it",
			Counter: `dhtprom_unread_answers_total{result="withheld"}`,
		},
		{
			Name: "dht.maxUnreadTotal", What: "answers that scrapers have not read",
			Scope: bound.InAll, Limit: bound.Bytes(maxUnreadTotal), Policy: bound.End,
			Reason:  "four scrapers that read nothing; where another one with nothing unread waits, the connection with the most unread bytes is closed if nothing was read on it for 15 s, or after five minutes",
			Counter: `dhtprom_unread_answers_total{result="closed"}`,
		},
		{
			Name: "dht.maxWaitingAnswers", What: "requests that wait until answers are read",
			Scope: bound.PerConnection, Limit: bound.Count(maxWaitingAnswers), Policy: bound.AnswerFail,
			Reason:  "as many as a scraper has in progress for one client",
			Counter: `dhtprom_unread_answers_total{result="withheld"}`,
		},
		{
			Name: "dht.DefaultMaxName", What: "name in a registration that is validated",
			Scope: bound.PerPacket, Limit: bound.Bytes(DefaultMaxName), Policy: bound.AnswerFail,
			Reason: "far above the rules for names, so that those give the reason",
		},
		{
			Name: "dht.maxSet", What: "content of a set of targets that is kept until its commit",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxSet), Policy: bound.AnswerFail,
			Reason:  "5,000 targets of 1,600 bytes each; sent only after the scraper has accepted the secret",
			Counter: `dhtprom_sets_dropped_total{reason="size"}`,
		},
		{
			Name: "dht.maxSets", What: "contents of sets of targets that are kept until their commits",
			Scope: bound.InAll, Limit: bound.Bytes(maxSets), Policy: bound.AnswerFail,
			Reason:  "eight of the maximum size, or 100 of 2,000 usual targets",
			Counter: `dhtprom_sets_dropped_total{reason="memory"}`,
		},
		{
			Name: "dht.maxSetTime", What: "time from the first piece of a set's content to its commit",
			Scope: bound.PerConnection, Limit: bound.Time(maxSetTime), Policy: bound.AnswerFail,
			Reason:  "clients give up after a minute; a peer that stops in the middle must not hold memory as long as its connection",
			Counter: `dhtprom_sets_dropped_total{reason="time"}`,
		},
		{
			Name: "dht.maxProofs", What: "proofs of former keys that are verified",
			Scope: bound.PerAttempt, Limit: bound.Count(maxProofs), Policy: bound.Ignore,
			Reason: "one for each target that a client of a version without sets can have",
		},
		{
			Name: "dht.maxMessage", What: "text of a rejection",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxMessage), Policy: bound.Cut,
			Reason: "reasons fit on one line",
		},
	}
}
