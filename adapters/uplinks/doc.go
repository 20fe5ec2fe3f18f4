// Package uplinks is a ports.Transport with two ways to the internet: UDP, and a TURN server that carries datagrams over TCP or TLS. Each has
// a node of its own, and one of them is in use.
//
// UDP is tried first. If no DHT node has answered over it for half a second, the other uplink is opened beside it, and the one over which a
// node answers is used. Over UDP it is tried further, and once nodes have answered there for some seconds the traffic goes over. It goes over
// to the TURN server when no DHT node answers over UDP any more, which a node with hyperdht.Config.QuickReach notices within seconds.
//
// # Going over
//
//	opening   listeners are opened on the next uplink, and announced over it
//	moving    connections made from now on take it; clients register over it, sessions dial a second connection
//	draining  listeners of the former uplink end when their scrapes have, without taking back records, which are those of their successors
//
// So connections over the next uplink are made before those over the former are closed. Where the former does not work any more, nothing is
// waited for. An uplink that was left soon after it was gone over to is waited for twice as long the next time.
//
// What works is remembered, so that the next start opens the TURN server's uplink at once beside the other.
package uplinks
