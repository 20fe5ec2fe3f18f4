// Package dht is ports.Transport over HyperDHT: the conversations of dht-prom-client and dht-prom-alias-rpc on
// connections of hyperdht.
//
// A connection is a link with a multiplexer on it. What happens on it are roles, each with one channel:
//
//	client                                        scraper
//	metricsServer ◀── prometheus-metrics: metrics, ping ──  session
//	              ──  prometheus-metrics: leave         ──▶
//	registration  ──  register-alias: alias, leave ──▶      aliasServer
//
// Usually a link has one role. It has two where a client registers under the key of its own metrics server: then
// the scraper may ask for metrics on the connection that the registration came in on, and needs no second one:
//
//	registration asks ─▶ answered ── metrics channel opened in time ─▶ stays, as a metrics server
//	                        └─────── nothing for metricsLinger ──────▶ ends
//
// The methods leave and ping are ours. The JavaScript answers them with UNKNOWN_METHOD, which costs nothing.
package dht
