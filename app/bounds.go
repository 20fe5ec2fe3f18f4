package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits of the registration service, the scrapes and the alias table.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "app.maxDials", What: "clients dialled at a time, for five seconds each at most; those being scraped come first",
			Scope: bound.InAll, Limit: bound.Count(maxDials), Policy: bound.Wait,
			Reason: "each has some ten DHT requests in progress; a restart with thousands of clients dials 300 a second",
		},
		{
			Name: "app.maxMissed", What: "clients that a member of a group reports as out of its reach",
			Scope: bound.InAll, Limit: bound.Count(maxMissed), Policy: bound.DropOldest,
			Reason: "they are in the member's record in etcd, 32 bytes each; those that are gone for long are not taken by another one",
		},
		{
			Name: "app.maxTrials", What: "clients out of their holders' reach that another member of the group begins to dial, in five seconds",
			Scope: bound.InAll, Limit: bound.Count(maxTrials), Policy: bound.Wait,
			Reason: "most are switched off; each is tried for a minute in ten, and while it is scraped there",
		},
		{
			Name: "app.maxPinned", What: "clients that a member of a group holds because their holders cannot reach them",
			Scope: bound.InAll, Limit: bound.Count(maxPinned), Policy: bound.RefuseNew,
			Reason: "as for app.maxMissed; further ones are connected for each scrape",
		},
		{
			Name: "app.maxAliasConns", What: "connections to the registration service",
			Scope: bound.InAll, Limit: bound.Count(maxAliasConns), Policy: bound.DropFullest,
			Reason:  "a registration takes a second; JavaScript clients keep a connection for two minutes",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"total\"}",
		},
		{
			Name: "app.keptMembers", What: "of them, reserved for keys that have an alias or have sent a valid secret",
			Scope: bound.InAll, Limit: bound.Count(keptMembers), Policy: bound.DropFullest,
			Reason: "strangers must not block clients",
		},
		{
			Name: "app.keptStrangers", What: "of them, reserved for connections without a valid secret, by the address that their packets go to",
			Scope: bound.InAll, Limit: bound.Count(keptStrangers), Policy: bound.DropFullest,
			Reason:  "new clients send it within a round trip",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"unauthenticated\"}",
		},
		{
			Name: "app.maxAliasConnsPerKey", What: "connections to the registration service",
			Scope: bound.PerKey, Limit: bound.Count(maxAliasConnsPerKey), Policy: bound.DropOldest,
			Reason:  "a client has one, or two when it reconnects before the first times out",
			Counter: "dhtprom_registration_connections_denied_total{limit=\"key\"}",
		},
		{
			Name: "app.maxMembers", What: "keys remembered for a valid secret",
			Scope: bound.InAll, Limit: bound.Count(maxMembers), Policy: bound.DropOldest,
			Reason: "two runs of 10,000 clients; clients dial under keys of their own",
		},
		{
			Name: "app.refusalBurst", What: "wrong secrets, after which each costs a connection of its own",
			Scope: bound.PerProven, Limit: bound.Rate(refusalBurst, 1, refusalEvery), Policy: bound.End,
			Reason:  "all clients of a site may have a file with a wrong secret, and must not block the others",
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
			Reason:  "a client with several targets registers those at scrapers without sets one after the other",
			Counter: "dhtprom_registrations_rejected_total{reason=\"rate_limit\"}",
		},
		{
			Name: "app.setBurst", What: "requests of sets of targets on the connection of the scrapes",
			Scope: bound.PerConnection, Limit: bound.Rate(setBurst, 1, setEvery), Policy: bound.AnswerFail,
			Reason:  "a client whose targets change all the time registers once a second, in two or three requests",
			Counter: "dhtprom_registrations_rejected_total{reason=\"rate_limit\"}",
		},
		{
			Name: "app.aliasFirstRequest", What: "time to the first request",
			Scope: bound.PerConnection, Limit: bound.Time(aliasFirstRequest), Policy: bound.CloseLimited,
			Reason: "a client sends it at once",
		},
		{
			Name: "app.aliasIdle", What: "time between requests",
			Scope: bound.PerConnection, Limit: bound.Time(aliasIdle), Policy: bound.CloseLimited,
			Reason: "JavaScript clients keep their connection for two minutes",
		},
		{
			Name: "app.maxPendingWrites", What: "registrations being written",
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
			Reason:  "ten clients with as many targets as they can have",
			Counter: "dhtprom_registrations_rejected_total{reason=\"table_full\"}",
		},
		{
			Name: "domain.MaxTargets", What: "targets of one client",
			Scope: bound.PerKey, Limit: bound.Count(domain.MaxTargets), Policy: bound.AnswerFail,
			Reason:  "a large site; more are two clients",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxLabels", What: "labels of a target",
			Scope: bound.PerPacket, Limit: bound.Count(domain.MaxLabels), Policy: bound.AnswerFail,
			Reason:  "an operator sets a few",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxLabelName", What: "name of a label",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxLabelName), Policy: bound.AnswerFail,
			Reason:  "names are words",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxLabelValue", What: "value of a label",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxLabelValue), Policy: bound.AnswerFail,
			Reason:  "a line of text",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxLabelsSize", What: "labels of a target",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxLabelsSize), Policy: bound.AnswerFail,
			Reason:  "10,000 targets with 200 bytes each make 2 MB in each answer of service discovery",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxFields", What: "header fields of a scrape that a target asks for",
			Scope: bound.PerPacket, Limit: bound.Count(domain.MaxFields), Policy: bound.AnswerFail,
			Reason:  "a tenant and a token",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxFieldName", What: "name of such a field",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxFieldName), Policy: bound.AnswerFail,
			Reason:  "the longest registered one has 40 bytes",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxAlias", What: "alias",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxAlias), Policy: bound.AnswerFail,
			Reason:  "a label of a target",
			Counter: "dhtprom_registrations_rejected_total{reason=\"bad_name\"}",
		},
		{
			Name: "domain.MaxHostname", What: "length of a host name",
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
			Name: "domain.MaxBody", What: "size of a page of metrics",
			Scope: bound.PerPacket, Limit: bound.Bytes(domain.MaxBody), Policy: bound.AnswerFail,
			Reason: "the largest that fits a frame",
		},
		{
			Name: "app.maxSessionRequests", What: "scrapes of one client in progress",
			Scope: bound.PerKey, Limit: bound.Count(maxSessionRequests), Policy: bound.AnswerFail,
			Reason:  "a site of 5,000 targets that are scraped every 15 s and take 3 s each",
			Counter: "dhtprom_proxied_scrapes_failed_total",
		},
		{
			Name: "app.maxTargetRequests", What: "of them, scrapes of one target",
			Scope: bound.PerKey, Limit: bound.Count(maxTargetRequests), Policy: bound.AnswerFail,
			Reason:  "Prometheus sends one at a time, two of them in pairs for availability",
			Counter: "dhtprom_proxied_scrapes_failed_total",
		},
		{
			Name: "app.maxSingles", What: "targets of a client that are registered each by itself with scrapers that do not know sets",
			Scope: bound.InAll, Limit: bound.Count(maxSingles), Policy: bound.Ignore,
			Reason: "each is a server on the DHT, with a connection per scraper",
		},
		{
			Name: "app.maxSessionLinks", What: "connections of a scraper to a client: in use, dialled for a better path, about to close",
			Scope: bound.PerKey, Limit: bound.Count(maxSessionLinks), Policy: bound.DropOldest,
			Reason: "one, except during the change from a relay to a direct path",
		},
		{
			Name: "app.maxCollections", What: "concurrent collections at a client for scrapers that cannot cancel them",
			Scope: bound.InAll, Limit: bound.Count(maxCollections), Policy: bound.Wait,
			Reason: "each scraper requests one at a time, so more means a slow source",
		},
		{
			Name: "app.maxWaitingCollections", What: "collections at a client that wait",
			Scope: bound.PerKey, Limit: bound.Count(maxWaitingCollections), Policy: bound.AnswerFail,
			Reason: "a scraper has as many in progress",
		},
		{
			Name: "app.maxScrapes", What: "concurrent collections of a target for other scrapers",
			Scope: bound.PerKey, Limit: bound.Count(maxScrapes), Policy: bound.Wait,
			Reason: "an exporter gets one request at a time",
		},
		{
			Name: "app.maxPage", What: "page of metrics that a service with a scraper requests in full",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxPage), Policy: bound.AnswerFail,
			Reason: "as much as a client sends unless it is configured otherwise",
		},
		{
			Name: "app.maxProbes", What: "concurrent collections with parameters at a target",
			Scope: bound.InAll, Limit: bound.Count(maxProbes), Policy: bound.Wait,
			Reason: "500 probes a minute that take 3 s each",
		},
		{
			Name: "app.maxLine", What: "first line of an answer that is no page of metrics, in logs and on pages",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxLine), Policy: bound.Cut,
			Reason: "reasons fit on one line",
		},
		{
			Name: "app.logBurst", What: "log lines of one kind of event",
			Scope: bound.InAll, Limit: logPace.Limit(), Policy: bound.CountOnly,
			Reason: "all clients come at once after a power cut; 5,000 that register once an hour are 1.4 a second",
		},
		{
			Name: "app.logPeerBurst", What: "log lines of one kind of event",
			Scope: bound.PerKey, Limit: logPeerPace.Limit(), Policy: bound.CountOnly,
			Reason: "repetitions add no information",
		},
		{
			Name: "app.logStrangerBurst", What: "log lines of one kind of event that any peer can cause",
			Scope: bound.InAll, Limit: logStrangerPace.Limit(), Policy: bound.CountOnly,
			Reason: "keys are free",
		},
		{
			Name: "app.maxLogPeers", What: "peers whose log lines of one kind are counted",
			Scope: bound.InAll, Limit: bound.Count(maxLogPeers), Policy: bound.Forget,
			Reason: "100 bytes each; quiet ones are removed",
		},
	}
}
