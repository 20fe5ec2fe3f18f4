// Package sim decides whether a change is safe: it runs scrapers, clients and the nodes of a private DHT, the very
// code that ships, on a simulated internet, lets things go wrong there, and watches.
//
//	options ──▶ Run ──▶ World ──▶ scenario: boot, break, heal ──▶ Result: hash, failures, table, plots, transcript
//	                      │
//	                      └─ every event of every client and scraper ──▶ checker, transcript
//
// A scenario is a function of a World; Scenarios lists them. A run is decided by its Options and the commit: run
// twice, it has the same hash, which covers every delivery, drop and timer and every line of the transcript.
//
// # What is checked, always
//
// The checker sees what an operator could see: the events of clients and scrapers, the answers to scrapes, and the
// disk. Whatever a scenario does, none of this may happen:
//
//	identity      a scrape of an alias brings metrics of another client than the one that the scraper gave the alias to
//	expiry        an alias is served although nobody renewed it in time
//	stranger      a client lets somebody in who is not its scraper, or an alias goes to a key that never knew the secret
//	acknowledged  a client was told that its alias is registered, and it is not on the disk, or not there after a restart
//	retries       somebody tries again more often than its backoff allows
//	bounds        a machine has more timers, sockets or sessions than it could need
//	readable      somebody gets what cannot be read, although nobody tampers with datagrams
//	connections   an event tells of the end of a connection that was not open, or not of one that was
//	secret        a secret stands in the transcript
//	leftovers     a machine whose software was closed still has a timer or a socket
//
// # Two phases
//
// Scenarios with faults have two phases. In the first, anything may go wrong, and only the rules above are judged. Then
// the world heals, faults stop, and within a stated time every registered alias must be scrapeable.
package sim
