package muxscrape

import "github.com/dhtprom/dhtprom/ports/bound"

// Bounds lists the limits on scrapes.
func Bounds() []bound.Bound {
	text := func(name, what string, limit int) bound.Bound {
		return bound.Bound{
			Name: "muxscrape." + name, What: what, Scope: bound.PerPacket, Limit: bound.Bytes(limit), Policy: bound.AnswerFail,
			Reason: "far above what HTTP servers take",
		}
	}
	return []bound.Bound{
		{
			Name: "muxscrape.MaxRunning", What: "scrapes under way",
			Scope: bound.PerConnection, Limit: bound.Count(MaxRunning), Policy: bound.AnswerFail,
			Reason: "a site of 5,000 targets that are scraped every 15 s and take 3 s each",
		},
		{
			Name: "muxscrape.maxUnread", What: "ends and heads of responses that a scraper has not read",
			Scope: bound.PerConnection, Limit: bound.Count(maxUnread), Policy: bound.End,
			Reason: "four for each scrape under way",
		},
		{
			Name: "muxscrape.maxUnsent", What: "complete bodies that a client has not sent, because the scraper gives no credit",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxUnsent), Policy: bound.DropOldest,
			Reason: "128 that are as long as a source may send ahead",
		},
		{
			Name: "muxscrape.MaxWindow", What: "body that is sent and not consumed",
			Scope: bound.PerAttempt, Limit: bound.Bytes(MaxWindow), Policy: bound.Wait,
			Reason: "100 Mbit/s over a round trip of 80 ms",
		},
		{
			Name: "muxscrape.MaxWindows", What: "bodies that are sent and not consumed, beyond 16 KiB for each scrape",
			Scope: bound.InAll, Limit: bound.Bytes(MaxWindows), Policy: bound.Wait,
			Reason: "16 large pages at full speed, or 340 small ones",
		},
		text("maxTarget", "name of a target in a request", maxTarget),
		text("maxQuery", "query in a request", maxQuery),
		text("maxFieldName", "name of a header field in a request", maxFieldName),
		text("maxFieldValue", "value of a header field in a request", maxFieldValue),
		text("maxFieldsTotal", "header fields in a request", maxFieldsTotal),
		{
			Name: "muxscrape.maxFields", What: "header fields in a request",
			Scope: bound.PerPacket, Limit: bound.Count(maxFields), Policy: bound.AnswerFail,
			Reason: "Prometheus sends six",
		},
		{
			Name: "muxscrape.maxType", What: "content type in a response",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxType), Policy: bound.End,
			Reason: "types have 120 bytes at most",
		},
		{
			Name: "muxscrape.maxCoding", What: "content coding in a response",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxCoding), Policy: bound.End,
			Reason: "codings have a word",
		},
		{
			Name: "muxscrape.maxVersion", What: "version of a client's program",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxVersion), Policy: bound.Forget,
			Reason: "clients cut longer ones",
		},
		{
			Name: "muxscrape.maxReason", What: "reason of a response that is not complete",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxReason), Policy: bound.Cut,
			Reason: "reasons have a line",
		},
	}
}
