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
// # First steps
//
// A node, keys from 32 random bytes that are kept, and a topic, which is the hash of a name:
//
//	n, err := dhtprom.NewNode(dhtprom.NodeConfig{})             // of the public network; n.Close() ends all that runs on it
//	keys, topic := id.KeyPairFromSeed(seed), id.Target(id.Hash([]byte("name")))
//
// Each step has an example of at most 25 lines in the file example_test.go of a package, which runs as a test. Its name is in brackets:
//
//	[client.ExampleExpose]       a registry, until ctx ends; it has a node of its own
//	    err = client.Expose(ctx, client.Config{Invite: invite, Alias: "shop-7", Gatherer: registry})
//	[scraper.Example]            a scraper in a service, and its pages and scrapes on the service's HTTP server
//	    s, err := scraper.Start(ctx, n, scraper.Config{Seed: seed, Secrets: []domain.Secret{secret}})
//	    handler, err := s.Handler(scraper.HandlerConfig{})
//	[ExampleNode_Streams]        an HTTP server that is found by its key, and a connection to it
//	    l, err := n.Streams().Listen(ctx, hyperdht.ListenOptions{Keys: keys}); http.Serve(l, handler)
//	    c, err := n.Streams().Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
//	[ExampleNode_Streams_topic]  keys under a topic; nodes drop them after twenty minutes
//	    err = n.Streams().Announce(ctx, topic, keys, hyperdht.AnnounceOptions{})
//	    peers, err := n.Streams().Lookup(ctx, topic)            // peers[0].PublicKey is one to Dial
//	[ExampleNode_Streams_record] a value of up to about a kilobyte under a key; nodes drop it after two days
//	    _, err = n.Streams().MutablePut(ctx, keys, 1, value)    // a later value needs a greater number
//	    v, err := n.Streams().MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{})
//	[ExampleNode_Streams_swarm]  connections with all peers of a topic
//	    s, err := n.Streams().Swarm(ctx, swarm.Config{})
//	    _, err = s.Join(ctx, topic, swarm.JoinOptions{})
//	    c, err := s.Accept(ctx)                                 // c is a net.Conn, c.Peer.PublicKey its other side
//
// Streams are in package hyperdht/dhtnet, their options and errors in hyperdht and hyperdht/swarm, keys in hyperdht/id, and seeds and
// secrets of scrapers in domain. All of these calls may follow NewNode at once.
//
// # Closing, events, tests
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
