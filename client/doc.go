// Package client serves a service's metrics to scrapers, through NATs and without an open port. It is the program dhtprom-client
// as a package, for embedding in services.
//
// A service with an invite of a scraper (dhtprom-scraper invite prints one) needs no more than this:
//
//	go func() {
//		err := client.Expose(ctx, client.Config{Invite: invite, Alias: "shop-7", Gatherer: registry})
//		if err != nil {
//			log.Print(err)
//		}
//	}()
//
// A service with a dhtprom.Node of its own starts clients on it:
//
//	n, err := dhtprom.NewNode(dhtprom.NodeConfig{})
//	...
//	c, err := client.Start(ctx, n, client.Config{Invite: invite, Alias: "shop-7", Gatherer: registry})
//
// A process with several targets has Config.Targets. They share one key and one connection to each scraper, and Client.SetTargets replaces
// them while the client runs.
//
// To do something in between, such as registering the Collector, call New and Client.Start.
package client
