// Package nat concludes what kind of NAT we are behind from what other nodes say our address is.
//
//	Sampler      the node as a whole: is there one public address, and one port?
//	Classifier   one socket, while two peers try to reach each other through their NATs
//
// Both only count samples: an address we were seen at, and who saw it. They neither send nor wait.
package nat
