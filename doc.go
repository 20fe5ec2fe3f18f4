// Package dhtprom lets Prometheus scrape Go services from anywhere: through NATs, with no open port, no DNS name and no central
// proxy, over HyperDHT.
//
// This package has the common part of all roles: a Node, one participant in the DHT. Each role is a package of its own, so that a
// service links only the roles that it uses:
//
//	client     serves a service's metrics to scrapers
//	scraper    accepts registrations, scrapes clients, and serves their metrics to Prometheus
//	node       nodes of a private DHT, blind relays
//	doctor     diagnoses connections between two of them
//	keyfile    files with identities and secrets
//	wiring     provider sets for github.com/google/wire
//
// A service that only needs to be scraped calls client.Expose, without a Node. Others create a Node and start any roles on it:
// clients, scrapers, and streams of their own (Node.Streams), which share the node's sockets and its place in the DHT. One that has a
// HyperDHT node already hands that in (NodeOver).
//
//	       your service
//	┌───────────┼─────────────┐
//	▼           ▼             ▼
//	client    scraper      Streams          contexts, goroutines, io
//	└───────────┼─────────────┘
//	            ▼
//	          Node                          one loop, one pair of UDP sockets
//
// Everything ends with the context that it was started with, or with its own Close, and says goodbye to its peers within
// CloseTimeout. Nothing is logged unless a logger is set. Events are typed values of package domain: OnEvent receives all of
// them. It runs on the node's loop, so it must neither block nor call methods that wait for the loop; all methods with a context
// or an error do.
//
// For tests and trials, node.NewDHT starts a private DHT on the loopback interface; its Bootstrap belongs into NodeConfig, and into
// the arguments of Scraper.Invite.
//
// The programs dhtprom-client and dhtprom-scraper are built from these packages, so a service can use any of their features. To
// choose the transport, the store or the host, use package app, which these packages only wire together.
package dhtprom
