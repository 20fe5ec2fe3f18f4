package web

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on HTTP requests.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "web.maxScrapes", What: "concurrent scrapes over HTTP",
			Scope: bound.InAll, Limit: bound.Count(maxScrapes), Policy: bound.AnswerFail,
			Reason: "most of them wait and hold nothing; thousands of dead clients must not block scrapes of the others",
		},
		{
			Name: "web.maxHeld", What: "answers over HTTP that callers have not read",
			Scope: bound.InAll, Limit: bound.Bytes(maxHeld), Policy: bound.DropOldest,
			Reason:  "sixteen of the largest scrapes; callers that read slowly must not hold more, nor block answers to others",
			Counter: "dhtprom_scrapes_unread_total",
		},
		{
			Name: "web.maxZipping", What: "scrapes over HTTP that are compressed at the same time",
			Scope: bound.InAll, Limit: bound.Count(maxZipping), Policy: bound.Ignore,
			Reason: "500 kB each; others are sent as they are",
		},
		{
			Name: "web.maxDecoders", What: "scrapes over HTTP that are decoded from zstd at the same time",
			Scope: bound.InAll, Limit: bound.Count(maxDecoders), Policy: bound.AnswerFail,
			Reason: "9.6 MB each; exporters use no coding that their caller does not accept",
		},
		{
			Name: "web.readTime", What: "time to read an answer, beyond that of the scrape",
			Scope: bound.PerAttempt, Limit: bound.Time(readTime), Policy: bound.End,
			Reason: "Prometheus's timeout ends with the scrape",
		},
		{
			Name: "web.bodyTime", What: "time to send the body of a request, which is not read",
			Scope: bound.PerAttempt, Limit: bound.Time(bodyTime), Policy: bound.End,
			Reason: "no path has one; the answer does not wait for it",
		},
		{
			Name: "web.RequestTimeout", What: "time of a request over HTTP",
			Scope: bound.PerAttempt, Limit: bound.Time(RequestTimeout), Policy: bound.End,
			Reason: "above the longest scrape",
		},
		{
			Name: "web.maxPages", What: "concurrent requests for other pages",
			Scope: bound.InAll, Limit: bound.Count(maxPages), Policy: bound.AnswerFail,
			Reason: "users and probes; a page takes milliseconds, and reading it has its own limit",
		},
		{
			Name: "web.maxMaking", What: "other pages rendered at the same time",
			Scope: bound.InAll, Limit: bound.Count(maxMaking), Policy: bound.Wait,
			Reason: "a list of 50,000 aliases has 20 MB, and rendering more at a time is not faster",
		},
		{
			Name: "web.maxPhrase", What: "reason in the status line of a failed scrape",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxPhrase), Policy: bound.Cut,
			Reason: "a line of Prometheus's page",
		},
		{
			Name: "web.maxTimeout", What: "timeout in the header of a scrape",
			Scope: bound.PerAttempt, Limit: bound.Time(maxTimeout), Policy: bound.Cut,
			Reason: "far above any scrape timeout in use",
		},
		{
			Name: "web.maxQuery", What: "search text",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxQuery), Policy: bound.Cut,
			Reason: "names are shorter",
		},
		{
			Name: "web.maxReason", What: "reason of a client in an error page",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxReason), Policy: bound.Cut,
			Reason: "reasons fit on one line",
		},
	}
}
