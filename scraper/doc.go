// Package scraper accepts registrations of clients, scrapes them, and serves their metrics over HTTP to Prometheus, which
// discovers them by file or HTTP. It is the program dhtprom-scraper as a package, for embedding in services.
//
//	n, err := dhtprom.NewNode(dhtprom.NodeConfig{})
//	...
//	s, err := scraper.Start(ctx, n, scraper.Config{Seed: seed, Secrets: secrets, Path: "aliases.db"})
//	...
//	handler, err := s.Handler(scraper.HandlerConfig{})
//	...
//	http.Handle("/", handler)
//
// domain.ParseSeed and domain.ParseSecret read what dhtprom-scraper keygen prints; domain.SeedFrom and domain.SecretFrom take 32
// random bytes. Scraper.Invite returns the invite that clients need to register.
package scraper
