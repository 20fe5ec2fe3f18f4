// Package nat concludes what kind of NAT we are behind from what other nodes say our address is.
//
//	Sampler      the node as a whole: is there one public address, and one port?
//	Classifier   one socket, while two peers try to reach each other through their NATs
//
// Both only count samples: one of our addresses, and the responder that saw it. They neither send nor wait.
//
// # States
//
// The states of a classifier, how long each may last, and those that may follow. A test holds the list against what the code does. A
// final state has no limit and no successor.
//
// Classifier:
//
//	unknown     -       ──▶ open, consistent, random
//	            (no limit: until three samples are there, or two and no more are to be had)
//	open        -       ──▶ unknown, consistent, random
//	            (no limit: until the node is firewalled)
//	consistent  -       ──▶ open, random
//	            (no limit: until another sample says otherwise, or it is frozen)
//	random      -       ──▶ open, consistent
//	            (no limit: likewise)
package nat
