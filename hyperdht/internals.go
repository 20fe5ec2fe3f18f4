// How peers are connected, for maintainers: handshakes and hole-punch messages are routed through DHT nodes, servers
// announced, connections accepted and opened, holes punched through NATs, and the winning path becomes an encrypted
// Connection.
//
// Everything here runs on the host's loop. The objects and their messages:
//
//	            findPeer query            PEER_HANDSHAKE (Noise IK, message 1 and 2)
//	connector ────────────────▶ DHT ◀──────────────── router ──▶ server ──▶ incoming (one per message 1)
//	    │                        ▲                                              │
//	    │                        └──── announcer (FIND_PEER, ANNOUNCE, pings) ──┘ relays of the server
//	    ▼                                                                       ▼
//	 puncher  ◀───────────── PEER_HOLEPUNCH, probes on pool sockets ───────▶ puncher
//	    │                                                                       │
//	    └────────────▶ Connection  ◀═══ UDX + secret stream ═══▶  Connection ◀──┘
//
// There may be several ways to a peer: an address that is open, private ones, a punched pair of pool sockets, a blind
// relay. A packet on a way proves nothing, so the dialling side sends its first packets on all of them, continues to search, and
// selects the way on which the first packet arrives that decrypts (race). The answering side selects the way on which the first
// packet of the stream arrives.
//
// # A connector (hyperdht lib/connect.js)
//
// A connector finds nodes that lead to the server, has its handshake passed on, and then looks for ways to the server: an address
// that is open, the local network, hole punching (a machine of its own), a relay. The first on which a packet comes back that decrypts
// wins.
//
// A relayed connection sends heartbeats on direct ways that are found later, and moves to the first that is answered.
//
// The relay of a connection that has a direct path is kept in reserve if both sides keep it (secondWay). It takes over when that path
// is silent, loses much or becomes slow, and the connection returns when the path answers again. All paths over one relay share a
// connection to it (relayLink).
//
// # Callers
//
// A handshake costs Diffie-Hellman operations, a socket and memory before anything is known of its sender. The intake
// limits that over all servers of a node: paces before a message is read, turns between networks and addresses while
// messages wait to be read, and shares of the room for callers until their connections are open, or no better path than a
// relay's is looked for.
//
// # The queue for random punches
//
// A punch that guesses ports is costly, so a node makes one at a time, for its dials and its callers together. The others wait in a
// queue (punchQueue). The answer that refuses a punch round says when to ask again. Where that is soon, or a relay carries the connection
// meanwhile, the punch round is repeated then; otherwise the attempt ends with a BusyError, and the application dials again then.
//
// # An incoming attempt (hyperdht lib/server.js)
//
// One incoming answers each message 1: it reads the message when its turn comes, answers once the node's own addresses are checked,
// and then waits for the caller: for its first packet, its rounds of hole punching, or its side of a relay. While a relay carries
// the connection, it searches for a direct path for a while.
//
// It is forgotten 10 s after the attempt ended, and until then answers retransmissions of the same message 1
// with the same message 2.
//
// # States
//
// The states of each machine, how long each may last, and those that may follow. These are the tables of the code; a test
// compares the two. A final state has no limit and no successor. Faults reports what lasts longer.
//
// Node:
//
//	running     -       ──▶ suspending, closing
//	            (no limit: until the application suspends or closes the node)
//	suspending  3s      ──▶ suspended, running, closing
//	suspended   -       ──▶ running, closing
//	            (no limit: until the application resumes or closes the node)
//	closing     3s      ──▶ closed
//	closed      -
//
// Announcer:
//
//	idle       -       ──▶ cycling, suspended, stopped
//	           (no limit: starts, or is suspended, in the turn in which its server does)
//	cycling    -       ──▶ pinging, waiting, offline, suspended, stopped
//	           (no limit: the lookup and the requests end after their last repetition)
//	pinging    -       ──▶ cycling, waiting, suspended, stopped
//	           (no limit: pings end, and so many rounds are sent)
//	waiting    1s      ──▶ cycling, waiting, suspended, stopped
//	offline    -       ──▶ waiting, suspended, stopped
//	           (no limit: the endpoint reports when nodes answer again)
//	suspended  -       ──▶ cycling, stopped
//	           (no limit: the application resumes it)
//	stopped    -
//
// Connector:
//
//	starting   -       ──▶ greeting, over
//	           (no limit: waits for our own node to enter the network)
//	greeting   -       ──▶ finding, over
//	           (no limit: the host ends each computation)
//	finding    5m0s    ──▶ searching, over
//	searching  2m0s    ──▶ passive, racing, over
//	passive    10s     ──▶ searching, racing, over
//	racing     2m0s    ──▶ racing, relayed, over
//	relayed    30m0s   ──▶ carried, over
//	carried    -       ──▶ over
//	           (no limit: nothing is held but what the relayed connection needs, and ends with it)
//	over       -
//
// Punch:
//
//	thinking   -       ──▶ asking, reserving, proving, unknown, later, punching, over
//	           (no limit: pings and address probes end, by which our NAT is classified)
//	asking     -       ──▶ thinking, over
//	           (no limit: a request ends after its last repetition)
//	reserving  -       ──▶ thinking, over
//	           (no limit: as for asking)
//	proving    500ms   ──▶ thinking, over
//	unknown    1s      ──▶ thinking, over
//	later      2m0s    ──▶ thinking, over
//	punching   1m10.2s ──▶ over
//	           (ended by the puncher)
//	over       -
//
// Caller:
//
//	arrived     -       ──▶ queued, reading, forgotten
//	            (no limit: is queued, read or dropped in the same turn)
//	queued      4s      ──▶ reading, forgotten
//	reading     -       ──▶ asking, preparing, remembered, forgotten
//	            (no limit: the host ends each computation)
//	asking      4s      ──▶ preparing, remembered, forgotten
//	preparing   500ms   ──▶ answering, remembered, forgotten
//	            (ended by the check of our own addresses)
//	answering   -       ──▶ waiting, remembered, forgotten
//	            (no limit: as for reading)
//	waiting     10s     ──▶ punching, busy, joining, relayed, remembered, forgotten
//	punching    1m10.2s ──▶ joining, remembered, forgotten
//	            (ended by the puncher)
//	busy        2m5s    ──▶ busy, punching, joining, relayed, remembered, forgotten
//	joining     15s     ──▶ remembered, forgotten
//	            (ended by the relay path)
//	relayed     30m0s   ──▶ punching, busy, remembered, forgotten
//	remembered  15s     ──▶ forgotten
//	forgotten   -
//
// Opening:
//
//	waiting  15s     ──▶ over
//	over     -
//
// Puncher:
//
//	ready      -       ──▶ reopening, punching, guessing, closed
//	           (no limit: the incoming attempt, or the punch of the dialling side, has limits and closes it)
//	reopening  -       ──▶ reopened, punching, guessing, closed
//	           (no limit: pings and address probes end, and so many sockets are tried)
//	reopened   -       ──▶ punching, guessing, closed
//	           (no limit: as for ready)
//	punching   22s     ──▶ closed
//	guessing   1m10.2s ──▶ closed
//	closed     -
//
// Relay path:
//
//	reserved     500ms   ──▶ deferred, joining, ended
//	deferred     10m0s   ──▶ standing by, ended
//	joining      15s     ──▶ paired, standing by, ended
//	paired       -       ──▶ moving, standing by, ended
//	             (no limit: ends with the connection that it carries)
//	moving       -       ──▶ moved, ended
//	             (no limit: the stream closes if what it sent before is never acknowledged)
//	moved        -       ──▶ warm, standing by, ended
//	             (no limit: a peer that stays on the relay needs it for as long as the connection lasts)
//	standing by  20s     ──▶ warm, deferred, ended
//	warm         1m5s    ──▶ warm, carrying, deferred, ended
//	carrying     -       ──▶ warm, deferred, ended
//	             (no limit: ends with the connection that it carries)
//	ended        -
//
// Connection:
//
//	connecting  -       ──▶ started, open, closed
//	            (no limit: until there is a path, or the search for one ends, which has limits)
//	started     -       ──▶ open, closed
//	            (no limit: until the first packet of the other side has decrypted, or the stream below closes)
//	open        -       ──▶ closed
//	            (no limit: until both sides have ended, one destroys it, or nothing comes from the other)
//	closed      -
//
// Relay pair:
//
//	waiting  20s     ──▶ active, ended
//	active   -       ──▶ ended
//	         (no limit: until a side leaves or withdraws it, its room is needed, or it carries nothing for a minute)
//	ended    -
//
// Punch place:
//
//	none   -       ──▶ taken
//	       (no limit: until the waiter is refused)
//	taken  -       ──▶ kept, none
//	       (no limit: until the waiter punches, its attempt ends, or it has not asked again queueGrace after its time)
//	kept   -       ──▶ taken, none
//	       (no limit: its attempt has ended with a time: until the next attempt asks, or queueGrace after that time)

package hyperdht
