// Package ports has the interfaces between dhtprom's use cases and their environment: wall time, the alias store, sources of
// metrics, the targets file and the network.
//
// The rules of ports/host hold for all of them. Everything here is called on the loop and calls back on the loop. Methods do not
// wait: those that take time have a done function, which is called at most once, in a later turn than the call. Where a call
// returns a cancel function, done is never called after cancel, and calling cancel late or twice is harmless. Byte slices passed
// to a function belong to it.
//
// ClientTransport and MetricsSource are the client's ports. ScraperTransport, the stores, AliasImport and TargetsFile are the
// scraper's, for which a client at the other end of a connection is a MetricsSource too. Both know the Node below; a Transport
// serves either, or both.
//
// portstest has an in-memory implementation of each, and a test suite for each that it and the real one must pass.
package ports
