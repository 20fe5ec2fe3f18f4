// Package dhtprom lets Prometheus scrape Go services from anywhere: through NATs, with no open port, no DNS name and no
// proxy in the middle, over HyperDHT.
//
// It is the front door for services that bring dhtprom along instead of running its programs. In a service that has an
// invite of a scraper (dhtprom-scraper invite prints one) this is all:
//
//	go func() {
//		err := dhtprom.Expose(ctx, dhtprom.ClientConfig{Invite: invite, Alias: "shop-7", Gatherer: registry})
//		if err != nil {
//			log.Print(err)
//		}
//	}()
//
// A service that wants more makes a Node and starts on it what it likes: clients, scrapers, and streams of its own
// (Node.Streams), which share the node's sockets and its place in the DHT.
//
//	       your service
//	┌───────────┼─────────────┐
//	▼           ▼             ▼
//	Client    Scraper     Streams           contexts, goroutines, io
//	└───────────┼─────────────┘
//	            ▼
//	          Node                          one loop, one pair of UDP sockets
//
// Everything ends with the context that it was started with, or with its own Close, and tells its peers before it goes,
// within five seconds. Nothing is logged unless a logger is given. Events are typed values of package domain: OnEvent
// gets all of them. It runs on the node's loop, so it must neither block nor call what waits for that loop; everything
// of this package that takes a context or returns an error does.
//
// Those who need to choose the transport, the store or the host use package app, which this package only wires together.
package dhtprom
