// Package dhtprom lets Prometheus scrape Go services from anywhere: through NATs, with no open port, no DNS name and no
// proxy in the middle, over HyperDHT.
//
// This package has what all roles run on: a Node, which is one participant in the DHT. The roles are packages of their own,
// so that a service links the one that it has:
//
//	client     shows a service's metrics to scrapers
//	scraper    accepts registrations, scrapes clients, and serves their metrics to Prometheus
//	node       helps the two to meet: nodes of a private DHT, blind relays
//	doctor     says what stands between two of them
//	wiring     provider sets for github.com/google/wire
//
// A service that only wants to be scraped calls client.Expose, and needs no Node. One that wants more makes a Node and
// starts on it what it likes: clients, scrapers, and streams of its own (Node.Streams), which share the node's sockets and
// its place in the DHT.
//
//	       your service
//	┌───────────┼─────────────┐
//	▼           ▼             ▼
//	client    scraper      Streams          contexts, goroutines, io
//	└───────────┼─────────────┘
//	            ▼
//	          Node                          one loop, one pair of UDP sockets
//
// Everything ends with the context that it was started with, or with its own Close, and tells its peers before it goes,
// within CloseTimeout. Nothing is logged unless a logger is given. Events are typed values of package domain: OnEvent
// gets all of them. It runs on the node's loop, so it must neither block nor call what waits for that loop; everything
// that takes a context or returns an error does.
//
// The programs dhtprom-client and dhtprom-scraper are put together by these packages, so a service can have whatever they
// have. Those who need to choose the transport, the store or the host use package app, which these only wire together.
package dhtprom
