// Package stun tells a node its public address by STUN (RFC 8489), over the node's own sockets: as an address
// probe for hyperdht. On a private DHT of one to three nodes that is what hole punching takes, because a NAT
// cannot be classified by what one or two nodes say.
//
// # Asking
//
// A Client asks all its servers at once. One that knows an alternate address of its own (OTHER-ADDRESS of RFC
// 5780) is asked there, too: two responders, of which each counts, in one server. If two responders see
// different ports, the NAT is random; hyperdht draws that conclusion, the Client only reports.
//
//	                        500 ms, 1 s, 1 s without an answer
//	Probe ──lookup──▶ ask ──────────────────────────────────────▶ unanswered ──┐
//	          │ failed  │ answer                                                ├──▶ done
//	          │         ├──▶ seen ──OTHER-ADDRESS──▶ ask (once) ──▶ …           │
//	          └─────────┴──▶ refused, nonsense ─────────────────────────────────┘
//
// The whole of a probe ends after probeTimeout, whatever a resolver does. Answers count only from the address
// that was asked, on the socket that was asked from, with the transaction's 96 random bits.
//
// # Answering
//
// A Responder answers Binding requests on the two sockets of a node, each naming the other as its alternate, so
// that one bootstrap node is two responders and a private network needs no STUN server. Its answers are short
// and limited for each source, so that they are no use for flooding others. It needs both ports reachable from
// outside; where only the server socket's is, the alternate stays silent and the node is one responder.
//
// # Wiring
//
// For flags --stun.server (repeatable) and --dht.bootstrap, on the loop of h:
//
//	servers, err := stun.Servers(values, privateDHT) // none given: DefaultServers, or none on a private DHT
//	client, err := stun.New(h, stun.Config{Servers: servers})
//	node, err := hyperdht.New(h, hyperdht.Config{Probe: client, ...})
//
// A bootstrap node with --stun has Probe: stun.NewResponder(h, stun.ResponderConfig{Host: publicAddr}). A node
// that asks and answers gives its Responder to its Client, in Config. Each node has a Client and a Responder of
// its own. With no servers and no Responder, leave Probe nil. The clients of a private DHT name its bootstrap
// nodes as servers, by their DHT ports.
package stun
