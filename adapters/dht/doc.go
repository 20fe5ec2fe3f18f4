// Package dht implements ports.Transport over HyperDHT: the protocols of dht-prom-client and dht-prom-alias-rpc on
// connections of hyperdht.
//
// A connection is a link with a multiplexer. Each use of it is a role with one channel:
//
//	client                                        scraper
//	metricsServer ◀── prometheus-metrics: metrics, ping ──  session
//	              ──  prometheus-metrics: leave         ──▶
//	registration  ──  register-alias: alias, leave ──▶      aliasServer
//
// Usually a link has one role. It has two where a client registers under the key of its own metrics server: then
// the scraper may request metrics on the connection of the registration, and needs no second one:
//
//	registration asks ─▶ answered ── metrics channel opened in time ─▶ stays, as a metrics server
//	                        └─────── nothing for metricsLinger ──────▶ ends
//
// The methods leave and ping are additions of this implementation. The JavaScript answers UNKNOWN_METHOD, which is harmless.
package dht
