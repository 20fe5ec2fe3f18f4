// Package turnserver is a TURN server (RFC 8656) for nodes on networks from which only TCP to a port such as 443 gets out: it is
// dhtprom-scraper relay --turn.listen-address as a package, and made of the server of github.com/pion/turn.
//
//	client ──TCP or TLS──▶ listener ──▶ allocation: a UDP port here ──UDP──▶ peers
//
// What pion's server leaves to its user is here: users with credentials that expire, limits on connections, on allocations and on their
// bandwidth, the addresses that clients must not reach through the server, and counters.
//
// It is apart from package node so that services which embed that do not link it.
package turnserver
