// Package dhtnet wraps hyperdht for goroutines: connections by public key, through NATs, as net.Conn and net.Listener with
// deadlines, the records of the DHT, and swarms, whose peers find each other by a topic, all with contexts. Servers and clients for TCP,
// such as http.Server, run over it unchanged.
//
//	h := udp.New(udp.Options{}) // this machine, package adapters/udp
//	defer h.Close()
//	dht, err := dhtnet.Start(ctx, h, hyperdht.Config{}) // a node of the public network
//	...
//	keys := id.KeyPairFromSeed(seed)                                          // the address of a server is keys.Public
//	l, err := dht.Listen(ctx, hyperdht.ListenOptions{Keys: keys})             // a net.Listener
//	c, err := dht.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})           // a net.Conn, here or on any other machine
//	err = dht.Announce(ctx, topic, keys, hyperdht.AnnounceOptions{})          // topic := id.Target(id.Hash([]byte("name")))
//	peers, err := dht.Lookup(ctx, topic)                                      // the keys that were announced: peers[0].PublicKey
//	_, err = dht.MutablePut(ctx, keys, seq, []byte("value"))                  // a record under a key
//	v, err := dht.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{})  // the record, from anywhere
//	nodes, err := dht.Nodes(ctx)                                              // hyperdht.Config.Nodes of the next run
//	s, err := dht.Swarm(ctx, swarm.Config{})                                  // package swarm has the rules
//	_, err = s.Join(ctx, topic, swarm.JoinOptions{})                          // announce this peer, and find others
//	c, err := s.Accept(ctx)                                                   // a net.Conn with each of them
//
// A Pool keeps one Conn for each key: peers that dial each other share a connection.
//
// Write does not wait for the peer; Flush waits until the peer has all bytes that were written, as a program should before it exits.
// Beside its stream of bytes, a Conn sends messages that may be lost and overtake each other: SendUnordered, ReceiveUnordered.
//
// HTTP by key is a server on the listener, and a client whose connections are dialled; with the text of the key as the host of a URL:
//
//	http.Serve(l, handler)
//	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
//		name, _, _ := net.SplitHostPort(addr)
//		key, err := id.ParsePublicKey(name)
//		if err != nil {
//			return nil, err
//		}
//		return dht.Dial(ctx, key, hyperdht.ConnectOptions{})
//	}}}
//
// Tests and trials need no public network: node.NewDHT, of this module, starts a private one on the loopback interface, whose
// Bootstrap belongs into hyperdht.Config. A dhtprom.Node has a Net, too (Streams).
//
// A seed is 32 random bytes, from crypto/rand for example; a server with the same seed has the same address. A key's String has 52
// characters, which id.ParsePublicKey parses. Connections are encrypted, and both sides have proven their keys: a server reads the
// caller's from RemoteAddr().(Addr).Key, and hyperdht.ListenOptions.Admit rejects keys before the handshake is answered.
//
// Errors are matched with errors.Is: against those of package hyperdht (ErrPeerNotFound, ErrNotFound, ErrClosed for a closed node and
// so on), context.Canceled and context.DeadlineExceeded, os.ErrDeadlineExceeded, and net.ErrClosed for a Conn or Listener that was
// closed, by its Close or with the host.
//
// A node lives on its host's loop and never blocks; the callers of this package are goroutines that may block. The
// package only moves bytes between the two: it has no time-outs and knows no wire format.
//
//	goroutine ── Read, Write, deadlines ──▶ Conn ── Post ──▶ loop: hyperdht.Connection
//	          ◀────── bytes, errors ────── queue ◀─ handlers ─┘
package dhtnet
