// Package swarm finds peers that share a topic and keeps one connection with each, as the JavaScript package hyperswarm 4.17 does,
// with whose peers it connects.
//
// A topic is the hash of a name. A peer joins it as a server, which announces its key under the topic on the DHT, as a client, which
// looks the topic up and dials the keys that it finds, or as both:
//
//	s, err := swarm.New(node, swarm.Config{OnConnection: func(c *hyperdht.Connection, p swarm.Peer) {
//		c.OnMessage(func(msg []byte) { ... })
//		c.Send([]byte("hello"))
//	}})
//	session, err := s.Join(id.Target(id.Hash([]byte("weather stations"))), swarm.JoinOptions{})
//	s.Flush(func(err error) { ... }) // announced, and each peer that was found has been dialled
//	session.Leave(nil)
//
// A Swarm lives on the loop of its node's host, as the node does: its methods must be called there, its handlers run there, and
// nothing blocks. Package dhtnet wraps it for goroutines (Net.Swarm), with contexts and net.Conn; most programs should use that.
//
//	Join, Leave, Session          take part in a topic, once or several times
//	JoinPeer, LeavePeer           connect to a key, without a topic
//	Ban, Unban                    keep a key away
//	Flush, Session.Flush          wait for lookups, announcements and dials
//	Listen                        accept connections without a topic
//	Suspend, Resume, Close        leave the network, for now or for good; the node stays
//	Status, Topic, Peer, Peers    describe it
//	NetworkChanged                look everything up again
//
// # Topics
//
// A topic is refreshed when it is joined, 15 to 22 s later, and then each ten to twelve minutes: it is looked up, and a server's record
// is stored at the nodes nearest to it, which drop it after twenty. After a failure the next refresh follows in 5 s, then 10, 20 and so
// on. A client finds a server that joins later at its next refresh; a server with both roles finds the clients that are servers, too,
// at once. When a server leaves, its records are removed.
//
// # One connection for each peer
//
// A peer may be found under several topics, dial at the moment at which it is dialled, or dial again because it has lost the
// connection. There is one connection with it all the same:
//
//   - A peer that is connected is not dialled.
//   - Of two dials at the same time, the one of the side with the greater key stays, on both sides.
//   - A connection that arrives more than 5 s after the present one has opened replaces it.
//
// An incoming connection counts when a packet of the peer has decrypted: the repetition of an old handshake does not end a connection.
// The side that loses a connection in this way sees ErrDuplicate or hyperdht.ErrConnectionClosed.
//
// # Order and number of dials
//
// Peers that are to be dialled wait for one of MaxParallel places, by Priority: those of JoinPeer, peers whose connection has ended,
// peers that were found, and last those whose dials have failed. At MaxPeers connections only those of JoinPeer are dialled.
//
// A peer whose connection has ended is dialled again after about a second, after further failures 5 and 15 s later; one that was
// never connected after 5, 15 and 15 s. A connection that lasts for 15 s resets the count. Then the peer is forgotten until a lookup
// finds it again, or, if JoinPeer has named it, dialled each ten minutes. Where the peer had dialled, this side waits for at least 5 s.
//
// While its node is suspended (hyperdht.Node.Suspend), a swarm tries each 5 s whether it still is, and gives up no peer.
//
// Bounds lists the limits on what peers may cost.
//
// # States
//
// The states of each machine, how long each may last, and those that may follow. These are the tables of the code; a test compares the
// two.
//
// Swarm:
//
//	running     -       ──▶ suspending, closing
//	            (no limit: until the application suspends or closes the swarm)
//	suspending  11s     ──▶ suspended, running, closing
//	suspended   -       ──▶ running, closing
//	            (no limit: until the application resumes or closes the swarm)
//	closing     11s     ──▶ closed
//	closed      -
//
// Topic:
//
//	idle         -       ──▶ refreshing, suspended
//	             (no limit: is refreshed, or suspended, in the turn in which it is joined)
//	refreshing   -       ──▶ refreshing, resting, withdrawing, suspended, left
//	             (no limit: the server is announced first, which lasts while there is no network; a lookup ends after its last repetition)
//	resting      12m0s   ──▶ refreshing, withdrawing, suspended, left
//	withdrawing  10s     ──▶ refreshing, suspended, left
//	suspended    -       ──▶ refreshing, left
//	             (no limit: the application resumes the swarm)
//	left         -
//
// Peer:
//
//	idle       -       ──▶ queued, connected, forgotten
//	           (no limit: it leaves in the turn in which it was added, unless it is banned, or named by JoinPeer in a suspended swarm)
//	queued     -       ──▶ dialling, connected, idle
//	           (no limit: until there is room for its dial, or the topics that it was found under are left)
//	dialling   4m0s    ──▶ connected, waiting, idle
//	connected  -       ──▶ connected, waiting, idle
//	           (no limit: until the connection ends; another one may replace it)
//	waiting    12m30s  ──▶ queued, connected, idle
//	forgotten  -
package swarm
