// Package node runs the infrastructure of clients and scrapers: the nodes of a private DHT, and blind relays. It is
// dhtprom-scraper bootstrap and dhtprom-scraper relay as a package, for embedding in services and tests.
package node
