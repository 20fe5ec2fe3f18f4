// Package dht implements ports.Transport over HyperDHT: the protocols of dht-prom-client and dht-prom-alias-rpc on
// connections of hyperdht.
//
// A connection is a link with a multiplexer. Each use of it is a role with one channel, or two for metrics:
//
//	client                                        scraper
//	metricsServer ◀── dhtprom-scrape: scrapes             ──  session
//	              ◀── prometheus-metrics: metrics, ping ──
//	              ──  prometheus-metrics: leave, sets   ──▶
//	registration  ──  register-alias: alias, leave, sets ──▶ aliasServer
//
// Usually a link has one role. It has two where a client registers under the key of its own metrics server: then
// the scraper may request metrics on the connection of the registration, and needs no second one: the registration waits for
// metricsLinger after the answer, and a metrics server replaces it if the scraper opens the metrics channel by then.
//
// Scrapes go over dhtprom-scrape (package muxscrape). A client of an older version or of another implementation does not open that
// channel, and its metrics are requested by the method metrics; a client answers either.
//
// The methods leave and ping are additions of this implementation, and so is the registration of sets of targets: targets, the events
// targets-data and targets-commit (setExchange and setServer). The JavaScript answers UNKNOWN_METHOD, which is harmless.
//
// # States
//
// The states of a link, of a registration on it, of a request for metrics (answer), of a group of goodbyes on a connection that is
// dialled for them, of a goodbye and a registration on the connection of the metrics, and of the exchange that registers a set, as they
// are at the ends of turns. A test compares them with tables, and the tables with what happens in random conversations.
//
// Link:
//
//	connecting  -       ──▶ open, ending, closed
//	            (no limit: until the connection opens or fails, or the last role leaves)
//	open        -       ──▶ ending, closed
//	            (no limit: until the last role leaves, or the connection breaks)
//	ending      -       ──▶ closed
//	            (no limit: until the connection has closed, which hyperdht limits)
//	closed      -
//
// Registration:
//
//	asking     -       ──▶ lingering, replaced, ended
//	           (no limit: until the scraper answers, its channel or connection closes, or the application cancels it)
//	lingering  5s      ──▶ replaced, ended
//	replaced   -
//	ended      -
//
// Answer:
//
//	waiting     -       ──▶ collecting, dropped
//	            (no limit: until there is room for it, or its connection closes)
//	collecting  -       ──▶ waiting, sent, dropped
//	            (no limit: until the application answers, or its connection closes)
//	sent        -
//	dropped     -
//
// Goodbyes:
//
//	waiting   -       ──▶ dialling, over
//	          (no limit: until fewer than maxGoodbyeDials dial, or all are cancelled)
//	dialling  -       ──▶ open, over
//	          (no limit: until the connection opens or fails, or all are cancelled)
//	open      -       ──▶ over
//	          (no limit: until all are answered or cancelled, or the channel or connection closes)
//	over      -
//
// Held goodbye:
//
//	asked        500ms   ──▶ dialled too, over
//	dialled too  -       ──▶ over
//	             (no limit: until either connection has an answer, the dial fails, or it is cancelled)
//	over         -
//
// Held registration:
//
//	waiting   -       ──▶ asked, dialled, over
//	          (no limit: until the application allows to send it or cancels it, or the channel closes)
//	asked     2s      ──▶ answered, dialled, over
//	answered  -       ──▶ dialled, over
//	          (no limit: until the set is registered or rejected, the channel closes, or the application cancels it)
//	dialled   -       ──▶ over
//	          (no limit: until the dialled registration ends, or the application cancels it)
//	over      -
//
// Set:
//
//	asked      -       ──▶ sending, committed, over
//	           (no limit: until the scraper answers, the channel closes, or the exchange is stopped)
//	sending    -       ──▶ committed, over
//	           (no limit: until all content is sent, the channel closes, or the exchange is stopped)
//	committed  -       ──▶ sending, over
//	           (no limit: until the scraper answers, the channel closes, or the exchange is stopped)
//	over       -
package dht
