// Package ports is what dhtprom's use cases need from the world, as interfaces: wall time, the alias store,
// sources of metrics, the targets file and the network.
//
// The rules of ports/host hold for all of them. Everything here is called on the loop and calls back on the loop.
// A method never waits: what takes time takes a done function, which is called at most once, in a later turn than
// the call that it was given to. Where a call returns a cancel function, done is never called after cancel, and
// calling cancel late or twice is harmless. Byte slices that are handed over belong to the receiver.
//
// ClientTransport and MetricsSource are the client's ports. ScraperTransport, the stores, AliasImport and TargetsFile are the
// scraper's. Both know the Node below; a Transport serves either, or both.
//
// portstest has an in-memory implementation of each, and for each the suite that it and the real one must pass.
package ports
