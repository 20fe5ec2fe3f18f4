// Package portmap obtains a mapping of one UDP port from the router of this machine's network, by PCP (RFC 6887) or NAT-PMP (RFC 6886),
// renews it, and releases it at the end. The router then lets in datagrams from everywhere, which a node behind a NAT with random
// ports needs to be reached without a relay.
//
// # Protocol
//
// A Client sends PCP first. A router that answers with version 0, as NAT-PMP has, or does not answer to PCP, is asked by NAT-PMP. One that
// does not answer at all costs five datagrams an hour, and is asked again after a change of the network.
//
//	         MAP                     success
//	start ────────▶ asking (PCP) ──────────────────────────▶ mapped ──▶ renewed at half of the lifetime
//	                  │ version 0, or no answer                 ▲ │ not renewed in time, or refused
//	                  ▼                          success        │ ▼
//	                asking (NAT-PMP): address, then mapping ────┘ resting ──▶ start
//	                  │ refused, or no answer                     ▲
//	                  └───────────────────────────────────────────┘
//
// A router whose external address is private or shared (100.64.0.0/10) is itself behind a NAT. Its mapping does not make this machine
// reachable, so it is released.
//
// A router that restarts forgets its mappings. Its clock (the epoch of an answer) shows that, and a renewal restores the mapping. Lifetimes
// are short, so that this takes minutes, and Check, after signs of a change, does it at once.
//
// Answers count only from the router that was asked, at port 5351, to the socket of the request, which is another one than the mapped
// one. PCP answers have the nonce of the request.
//
// A mapping is a claim of the router: the caller has to verify that datagrams arrive before it relies on it.
//
// # States
//
// A client has one mapping at most.
//
// Client:
//
//	idle     -       ──▶ asking, resting, closed
//	         (no limit: until Start)
//	asking   15s     ──▶ mapped, resting, idle, closed
//	mapped   -       ──▶ asking, resting, idle, closing
//	         (no limit: as long as the router renews it)
//	resting  1h6m0s  ──▶ asking, idle, closed
//	closing  1s      ──▶ closed
//	closed   -
package portmap
