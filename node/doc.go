// Package node runs what helps clients and scrapers to meet: the nodes of a private DHT, and blind relays. It is what
// dhtprom-scraper bootstrap and dhtprom-scraper relay run, for services and tests that bring it along.
package node
