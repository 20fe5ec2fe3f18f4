// Package stun determines a node's public address by STUN (RFC 8489) over the node's sockets, as an address probe for
// hyperdht. Hole punching on a private DHT of one to three nodes requires it, because the answers of one or two nodes do
// not suffice to classify a NAT.
//
// # Client
//
// A Client queries all its servers at the same time. A server with an alternate address (OTHER-ADDRESS of RFC 5780) is
// queried there, too, and counts as two responders. If two responders see different ports, the NAT is random; hyperdht
// draws that conclusion, the Client only reports.
//
//	                            no answer to three requests
//	Probe ──lookup──▶ ask ──────────────────────────────────────▶ unanswered ──┐
//	          │ failed  │ answer                                                ├──▶ done
//	          │         ├──▶ seen ──OTHER-ADDRESS──▶ ask (once) ──▶ …           │
//	          └─────────┴──▶ refused, malformed ────────────────────────────────┘
//
// An answer counts only if it comes from the address of the request to the socket of the request, with the transaction's
// 96 random bits.
//
// # Responder
//
// A Responder answers Binding requests on the two sockets of a node, each naming the other as its alternate, so
// that one bootstrap node is two responders and a private network needs no STUN server. Its answers are short
// and limited for each source, so that they are useless for reflection attacks. It needs both ports reachable from
// outside; where only the server socket's is, the alternate does not answer and the node is one responder.
//
// # Wiring
//
// For flags --stun.server (repeatable) and --dht.bootstrap, on the loop of h:
//
//	servers, err := stun.Servers(values, privateDHT) // without values DefaultServers, or none on a private DHT
//	client, err := stun.New(h, stun.Config{Servers: servers})
//	node, err := hyperdht.New(h, hyperdht.Config{Probe: client, ...})
//
// A bootstrap node with --stun has Probe: stun.NewResponder(h, stun.ResponderConfig{Host: publicAddr}). A node
// with both a Client and a Responder sets the Client's Config.Responder. They cannot be shared between nodes. With no
// servers and no Responder, leave Probe nil. The clients of a private DHT use its bootstrap nodes as servers, by their
// DHT ports.
//
// # States
//
// A probe, and each of its requests.
//
// Probe:
//
//	running  5s      ──▶ over
//	over     -
//
// Transaction:
//
//	asked              500ms   ──▶ asked twice, ended
//	asked twice        1s      ──▶ asked three times, ended
//	asked three times  1s      ──▶ ended
//	ended              -
package stun
