// Package client shows a service's metrics to scrapers, through NATs and without an open port. It is what the program
// dhtprom-client runs, for services that bring it along.
//
// In a service that has an invite of a scraper (dhtprom-scraper invite prints one) this is all:
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
//	c, err := client.Start(ctx, node, client.Config{Invite: invite, Alias: "shop-7", Gatherer: registry})
//
// One that wants to do something in between, such as to register the Collector, calls New and Client.Start.
package client
