// Package scraper accepts registrations of clients, scrapes them, and serves their metrics over HTTP to Prometheus, which
// discovers them by file or HTTP. It is the program dhtprom-scraper as a package, for embedding in services.
//
//	s, err := scraper.Start(ctx, node, scraper.Config{Seed: seed, Secrets: secrets, Path: "aliases.db"})
//	...
//	handler, err := s.Handler(scraper.HandlerConfig{})
//	...
//	http.Handle("/", handler)
//
// Scraper.Invite returns the invite that clients need to register.
package scraper
