// Package hyperdht is a HyperDHT node in Go: it finds peers by public key, connects to them through NATs and
// speaks the wire protocol of the JavaScript package hyperdht 6.34.0, on the public network or on a private one.
//
// A Node lives on a host.Host and runs wholly on that host's loop: methods are called there, handlers run
// there, and nothing ever waits. Package dhtnet is the blocking face for goroutines.
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
// # Where things are
//
//	id             keys, node ids, targets and their text forms
//	compact        the compact encoding
//	internal/wire  every message
//	internal/kad   routing table, tokens, distances; internal/nat what NAT we are behind
//	internal/rpc   requests, queries, node life cycle; internal/records what a node stores for others
//	internal/udx   reliable streams over UDP; internal/stream the same on a host
//	internal/noise, internal/secret  handshake and encryption
//	mux, muxrpc    protomux and protomux-rpc, over a Connection
//	dhtnet         net.Conn and net.Listener
//
// # Words
//
// A node takes part in the DHT; it is persistent when others may store things on it, ephemeral otherwise. A
// node is firewalled when it cannot be reached unless it has sent something first. A target is the 32-byte
// place in the DHT that something is stored near. A relay is the node through which a client's handshake
// reaches a server; it never carries the connection itself. Punching is what two firewalled peers do to reach
// each other.
package hyperdht
