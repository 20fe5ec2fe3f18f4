// Package hyperdht is a HyperDHT node in Go: it finds peers by public key, connects to them through NATs and
// speaks the wire protocol of the JavaScript package hyperdht 6.34.0, on the public network or on a private one.
//
// A Node runs on the loop of a host.Host: its methods must be called there, its handlers run there, and nothing blocks. Package dhtnet
// wraps it for goroutines, with contexts, net.Conn and net.Listener; most programs should use that package.
//
// # Using a node
//
// A host is a machine: package adapters/udp implements the real one, adapters/simnet a simulated one. Other goroutines
// reach its loop with Post, or with Do, which waits:
//
//	h := udp.New(udp.Options{})
//	h.Do(func() {
//		node, err := hyperdht.New(h, hyperdht.Config{}) // the zero Config is a node of the public network
//		...
//	})
//
// Config.OnReady is called when the node has entered the network; Connect and Listen may be called before and wait for it:
//
//	Listen                       accept connections under a key pair, and keep it announced
//	Connect                      connect to a key
//	Announce, Lookup, Unannounce store and find keys under a topic, which is the hash of a name
//	FindPeer                     find the DHT nodes that lead to a server
//	MutablePut, MutableGet       store and read a value under a key, signed by it
//	ImmutablePut, ImmutableGet   store and read a value under its hash
//	NewConnectionPool            share one connection to each key, whichever side has dialled
//	ServeRelay                   carry connections of peers that have no direct path
//	Status, NAT, CheckBootstrap  describe the node, its address and its way into the network
//	Nodes, AddNode               list the DHT nodes of the routing table, and add to them
//	Suspend, Resume, Close       leave the network, for now or for good
//
// Handlers run on the loop, never inside the call that they belong to. A []byte passed to a handler is valid only until the handler
// returns. Errors are matched with errors.Is, and errors.As for *BusyError, *ListenError and
// *RefusedError. Bounds lists the limits on what peers may cost. Steps of connection attempts are recorded in the host's trace as
// AttemptEvent.
//
// # Life of a connection
//
//	client                              DHT                                 server
//	  │                                                                        │ Listen: announce its key's hash
//	  │                                  ◀──── FIND_PEER, ANNOUNCE to 3 nodes ─┤ at the nodes nearest to it
//	  │ Connect(key)                                                           │
//	  ├── FIND_PEER hash(key) ─────────▶ nodes that have the record            │
//	  ├── PEER_HANDSHAKE: Noise 1 ─────▶ relay ──────────────────────────────▶ ├ firewall: admit this key?
//	  ◀───────────────────────────────── relay ◀──────── Noise 2: addresses ───┤
//	  ├── PEER_HOLEPUNCH rounds ───────▶ relay ──────────────────────────────▶ │ unless a direct path is open
//	  ◀═════════════ probes ══════════════════════════════════════════════════▶│
//	  ◀═════════════ UDX stream, secret-stream frames ════════════════════════▶│
//
// # Packages
//
//	id             keys, node ids, targets and their text forms
//	compact        the compact encoding
//	internal/wire  every message
//	internal/kad   routing table, tokens, distances; internal/nat classification of our NAT
//	internal/rpc   requests, queries, node life cycle; internal/records storage for other nodes
//	internal/demux dispatch of received datagrams
//	internal/states tables of the states of machines, which package comments list
//	internal/udx   reliable streams over UDP; internal/stream the same on a host
//	internal/noise, internal/secret  handshake and encryption
//	hyperdht       announce, connect, listen, punch: internals.go shows the machines and their states
//	mux, muxrpc    protomux and protomux-rpc, over a Connection
//	swarm          topics whose peers find each other, on the loop
//	dhtnet         net.Conn and net.Listener, records, swarms
//
// # Terms
//
// A node takes part in the DHT; it is persistent if it stores records for others, ephemeral otherwise. A
// node is firewalled if it cannot be reached unless it has sent a packet first. A target is a 32-byte
// key of the DHT: records are stored at the nodes nearest to it. A relay is the node through which a client's handshake
// reaches a server; it never carries the connection itself, which a blind relay does. Punching opens a path between two
// firewalled peers.
package hyperdht
