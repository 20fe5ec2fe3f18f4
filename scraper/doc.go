// Package scraper accepts registrations of clients, scrapes those that are registered, and serves their metrics over HTTP to
// Prometheus, which discovers them by file or HTTP. It is what the program dhtprom-scraper runs, for services that bring it
// along.
//
//	s, err := scraper.Start(ctx, node, scraper.Config{Seed: seed, Secrets: secrets, Path: "aliases.db"})
//	...
//	handler, err := s.Handler(scraper.HandlerConfig{})
//	...
//	http.Handle("/", handler)
//
// Scraper.Invite is what clients need to register.
package scraper
