package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits of the registration service, the scrapes and the alias table.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "app.maxDials", What: "clients that are dialled at a time, for five seconds each at most; those that are scraped come first",
			Scope: bound.InAll, Limit: bound.Count(maxDials), Policy: bound.Wait,
			Reason: "each has some ten DHT requests under way; a restart with thousands of clients dials 300 a second",
		},
		{
			Name: "app.maxAliasConns", What: "connections to the registration service",
			Scope: bound.InAll, Limit: bound.Count(maxAliasConns), Policy: bound.DropFullest,
			Reason:  "a registration takes a second; JavaScript clients keep theirs for two minutes",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"total\"}",
		},
		{
			Name: "app.keptMembers", What: "of them, kept for keys that have an alias or have shown a secret",
			Scope: bound.InAll, Limit: bound.Count(keptMembers), Policy: bound.DropFullest,
			Reason: "strangers must not keep clients out",
		},
		{
			Name: "app.keptStrangers", What: "of them, kept for connections that have shown no secret, by the address that their packets go to",
			Scope: bound.InAll, Limit: bound.Count(keptStrangers), Policy: bound.DropFullest,
			Reason:  "new clients show theirs within a round trip",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"unauthenticated\"}",
		},
		{
			Name: "app.maxAliasConnsPerKey", What: "connections to the registration service",
			Scope: bound.PerKey, Limit: bound.Count(maxAliasConnsPerKey), Policy: bound.DropOldest,
			Reason:  "a client has one, or two when it comes back before the first is found dead",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"key\"}",
		},
		{
			Name: "app.maxMembers", What: "keys remembered for having shown a secret",
			Scope: bound.InAll, Limit: bound.Count(maxMembers), Policy: bound.DropOldest,
			Reason: "two lives of each client of a full table; clients dial under keys of their own",
		},
		{
			Name: "app.refusalBurst", What: "wrong secrets, each of which costs a connection of its own after that",
			Scope: bound.PerProven, Limit: bound.Rate(refusalBurst, 1, refusalEvery), Policy: bound.End,
			Reason:  "a wrong secret in a file is tried by all clients of a site, which must not keep the others out",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"refusals\"}",
		},
		{
			Name: "app.maxRefusing", What: "addresses remembered for wrong secrets",
			Scope: bound.InAll, Limit: bound.Count(maxRefusing), Policy: bound.DropOldest,
			Reason: "100 bytes each",
		},
		{
			Name: "app.maxRefusals", What: "wrong secrets",
			Scope: bound.PerConnection, Limit: bound.Count(maxRefusals), Policy: bound.End,
			Reason:  "each guess after that costs a handshake",
			Counter: "dhtprom_registrations_rejected_total{reason=\"unauthorised\"}",
		},
		{
			Name: "app.requestBurst", What: "registration requests",
			Scope: bound.PerConnection, Limit: bound.Rate(requestBurst, 1, requestEvery), Policy: bound.AnswerFail,
			Reason:  "a group of clients registers its aliases one after the other",
			Counter: "dhtprom_registrations_rejected_total{reason=\"rate_limit\"}",
		},
		{
			Name: "app.aliasFirstRequest", What: "time to the first request",
			Scope: bound.PerConnection, Limit: bound.Time(aliasFirstRequest), Policy: bound.CloseLimited,
			Reason: "a client asks at once",
		},
		{
			Name: "app.aliasIdle", What: "time between requests",
			Scope: bound.PerConnection, Limit: bound.Time(aliasIdle), Policy: bound.CloseLimited,
			Reason: "JavaScript clients keep their connection for two minutes",
		},
		{
			Name: "app.maxPendingWrites", What: "registrations on their way to the disk",
			Scope: bound.InAll, Limit: bound.Count(maxPendingWrites), Policy: bound.AnswerFail,
			Reason:  "some seconds of the slowest disk",
			Counter: "dhtprom_registrations_rejected_total{reason=\"overloaded\"}",
		},
		{
			Name: "app.maxInstances", What: "client processes remembered",
			Scope: bound.PerAlias, Limit: bound.Count(maxInstances), Policy: bound.DropOldest,
			Reason: "a rolling restart has two, a copied seed rarely more than a few",
		},
		{
			Name: "domain.MaxEntries", What: "aliases",
			Scope: bound.InAll, Limit: bound.Count(domain.MaxEntries), Policy: bound.AnswerFail,
			Reason:  "twice a large scraper",
			Counter: "dhtprom_registrations_rejected_total{reason=\"table_full\"}",
		},
		{
			Name: "domain.MaxAlias", What: "alias",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxAlias), Policy: bound.AnswerFail,
			Reason:  "a label of a target",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxHostname", What: "host name",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxHostname), Policy: bound.AnswerFail,
			Reason:  "the longest DNS name",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxService", What: "service",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxService), Policy: bound.AnswerFail,
			Reason:  "a label of a target",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxBody", What: "page of metrics",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxBody), Policy: bound.AnswerFail,
			Reason: "what fits a frame",
		},
		{
			Name: "app.maxSessionRequests", What: "scrapes of one client under way",
			Scope: bound.PerKey, Limit: bound.Count(maxSessionRequests), Policy: bound.AnswerFail,
			Reason:  "Prometheus sends one at a time, two of them in pairs for availability",
			Counter: "dhtprom_proxied_scrapes_failed_total",
		},
		{
			Name: "app.maxSessionLinks", What: "connections of a scraper to a client: in use, dialled for a better path, about to end",
			Scope: bound.PerKey, Limit: bound.Count(maxSessionLinks), Policy: bound.DropOldest,
			Reason: "one at a time but for the change to a direct path, where a relay has taken over",
		},
		{
			Name: "app.maxCollections", What: "collections at a client",
			Scope: bound.InAll, Limit: bound.Count(maxCollections), Policy: bound.Wait,
			Reason: "each scraper asks for one at a time, so more means that a source is slow",
		},
		{
			Name: "app.maxWaitingCollections", What: "collections that wait at a client",
			Scope: bound.PerKey, Limit: bound.Count(maxWaitingCollections), Policy: bound.AnswerFail,
			Reason: "as many as a scraper has under way",
		},
		{
			Name: "app.logBurst", What: "log lines of one kind of event",
			Scope: bound.InAll, Limit: logPace.Limit(), Policy: bound.CountOnly,
			Reason: "all clients come at once after a power cut; 5,000 that register once an hour are 1.4 a second",
		},
		{
			Name: "app.logPeerBurst", What: "log lines of one kind of event",
			Scope: bound.PerKey, Limit: logPeerPace.Limit(), Policy: bound.CountOnly,
			Reason: "what happens once tells as much as what happens often",
		},
		{
			Name: "app.logStrangerBurst", What: "log lines of one kind of event that anybody can cause",
			Scope: bound.InAll, Limit: logStrangerPace.Limit(), Policy: bound.CountOnly,
			Reason: "keys cost nothing",
		},
		{
			Name: "app.maxLogPeers", What: "peers whose log lines of one kind are counted",
			Scope: bound.InAll, Limit: bound.Count(maxLogPeers), Policy: bound.Forget,
			Reason: "100 bytes each; those that are quiet are forgotten",
		},
	}
}
