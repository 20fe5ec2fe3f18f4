// Package jspeer runs the published JavaScript packages as peers in Go tests.
//
// A Peer is a node process that runs interop/js/peer.js, which documents its commands, and ends with the test. Commands are
// calls with a timeout, events are awaited; a Peer may run any number of DHT nodes, clients and scrapers, but those to be
// killed separately need a Peer each.
//
// Without node or npm, tests that need a Peer are skipped visibly. Where DHTPROM_REQUIRE_INTEROP=1 or CI is set they fail instead,
// so that a green run proves what it should. The packages include axe-core, for tests of the status pages.
package jspeer
