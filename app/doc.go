// Package app holds dhtprom's use cases: Client, Session and Scraper.
//
//   - A Client serves metrics under a key of its own to its scrapers, and registers an alias, or the set of its targets, with each of them.
//   - A Session is a scraper's held connection to one client, for all of its targets; Scrape uses it.
//   - A Scraper accepts registrations, keeps the alias table in a store, and holds a Session per client key. As a member of a group it
//     accepts them while it leads, and holds those of its share.
//
// All of it runs on the host's loop (ports/host): nothing here waits, and other goroutines use Post. Callbacks run in a later
// turn than the call that started the operation.
//
// # A session
//
// The sessions of a scraper dial a few at a time (dialQueue); connecting begins with the wait for a turn, and its deadline with
// the dial.
//
// Each state but open and closed has a deadline: connecting the connect timeout, waiting the retry timer. An open connection has
// one until the client has opened the metrics channel. The wait doubles from one second to one minute, with jitter; a
// registration (Nudge) ends and resets it, and a connection that lasted resets it. A registration also restarts a dial that the
// client has not answered, and probes an open connection, or shortens the deadline of its channel to that of a probe; the
// connection that follows a failed probe has the shorter deadline, too. A move of the scraper's machine does the same for all
// sessions, and restarts the connect timeout of a dial that goes on. A scrape that times out without the beginning of an answer probes,
// too, but a failed probe then ends the connection only if nothing is under way on it.
//
// An open session whose direct path is dead, so that a relay has taken over, dials a second connection after a while and switches
// to it if it is direct; see pathSearch. It is open all the time.
//
// # A registration at the scraper
//
//	request ─► secret right? ─► names valid, room left? ─► store ─► durable ─► table, session, targets file ─► reply
//	              │ no                  │ no                │ error
//	              ▼                     ▼                   ▼
//	          Unauthorised      reason, with the uid     uid only
//
// The reply is sent after the entry is durable, so no acknowledged registration is lost. Registrations that are being written
// already count for the alias limit and for the alias's current key.
//
// # A registration of a set
//
// A client with several targets registers them together, under one key. Its first request has the revision of the set; the scraper
// replies that it needs the set, or the changes since the last one, or renews what it has:
//
//	request ─► secret right? ─► revision known? ─► content, where it is needed ─► next set ─► each target ─► store ─► durable ─► table, reply
//	              │ no              │ no                                             │           │ pinned, invalid or no room left
//	              ▼                 ▼                                                ▼           ▼
//	          Unauthorised      need all, or changes                          whole set fails   that target is rejected
//
// One change of a set is written at a time. A target that is pinned to the key that it had by itself is accepted with a proof of
// that key, and its pin moves. After a load of the table, the sets are those of its entries.
//
// # A group
//
// A member takes the table from the store that the group shares, until it leads. Then it reads the table once, and has it as a scraper
// without a group does: its clock judges expiry, and its changes are written before they count. At the end of its term it takes the table
// from the store again.
//
// The key of a client and the list of members decide which member holds it. After a change of the list a member dials the clients that are
// its own now, and reports when each dial has ended; only then do the former holders close their connections. A scrape at another member is passed on
// to the holder, once, and goes to the client from here if that does not answer: such a session is a visit, and ends after a minute without
// scrapes.
//
// # A client
//
// A client that starts listens, and connects to its scrapers at the same time. It registers with each when the connection is open
// and its server is announced, or after announcePatience: again an hour after a success, and after a wait from one second to one
// minute that doubles after each failure.
//
// The wait of an hour ends early when the scraper's connection is gone for 15 to 25 s: it may have lost its table. Unless a
// connection lasts, the next such waits double. It also ends when the machine has moved.
//
// Each of several scrapers has its own cycle (registrar). A set that changes is registered a second later, on the scraper's connection to
// the client if that is possible. With a scraper that does not know sets, each target is registered by a Client of its own (singles); the
// set is tried again with each cycle.
//
// # States
//
// The states of a session, of its search for a direct path, of its turn to dial and of a client's registration with a scraper, how
// long each may last, and those that may follow. A test compares them with the tables of the code, and with what sessions and
// clients do.
//
// Session:
//
//	connecting  -       ──▶ open, waiting, closed
//	            (no limit: its dial has a turn, and then the connect timeout)
//	open        -       ──▶ waiting, closed
//	            (no limit: until the connection closes; the metrics channel opens within the channel timeout)
//	waiting     -       ──▶ connecting, closed
//	            (no limit: until the retry timer expires, or the client registers)
//	closed      -
//
// Path search:
//
//	idle      -       ──▶ direct, queued, dialling
//	          (no limit: until the session has a direct path, or its machine takes another way to the network)
//	direct    -       ──▶ idle, waiting, queued, dialling
//	          (no limit: until a relay takes over, the machine takes another way to the network, or the session loses its connection)
//	waiting   -       ──▶ idle, direct, queued, dialling
//	          (no limit: until nothing has come on the old path for 30 s, or as long as the last try says)
//	queued    -       ──▶ idle, direct, dialling
//	          (no limit: until it is its turn to dial)
//	dialling  45s     ──▶ idle, direct, waiting, queued
//
// Dial turn:
//
//	none      -       ──▶ waiting, ahead, dialling
//	          (no limit: until the session starts or retries, or its search for a path dials)
//	waiting   -       ──▶ none, ahead, dialling
//	          (no limit: until its turn, or the session needs it no more; a client that registers is dialled at once)
//	ahead     -       ──▶ none, dialling
//	          (no limit: a scrape waits for it: before those without one, until its turn)
//	dialling  5s      ──▶ none, waiting
//
// Registrar:
//
//	new         -       ──▶ connecting, stopped
//	            (no limit: until the client starts)
//	connecting  45s     ──▶ held, asking, registered, failed, stopped
//	held        10s     ──▶ asking, failed, stopped
//	            (ended by the announcement of the client)
//	asking      10s     ──▶ registered, failed, stopped
//	registered  -       ──▶ connecting, stopped
//	            (no limit: until an hour is over, the machine moves, or the scraper's connection is gone for a while)
//	failed      -       ──▶ connecting, stopped
//	            (no limit: until the retry, after one second to one minute or the time that the scraper has named)
//	stopped     -
package app
