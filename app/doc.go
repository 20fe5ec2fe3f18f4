// Package app holds dhtprom's use cases: Client, Group, Session and Scraper.
//
//   - A Client serves metrics under a key of its own to its scrapers, and registers an alias with each of them.
//   - A Group is several Clients on one transport, for a process that serves several targets.
//   - A Session is a scraper's held connection to one client; RequestMetrics asks over it.
//   - A Scraper accepts registrations, keeps the alias table in a store, and holds a Session per client key.
//
// All of it runs on the host's loop (ports/host): nothing here waits, and whoever is on another goroutine posts.
// Callbacks come in a later turn than the call that asked for them.
//
// # A session
//
//	          Start
//	            │
//	            ▼        OnOpen
//	┌──────► connecting ────────► open
//	│ retry     │                   │
//	│ timer,    │ OnClose,          │ OnClose,
//	│ Nudge     │ connect timeout   │ channel timeout
//	│           ▼                   │
//	└─────── waiting ◄──────────────┘
//
//	connecting, open, waiting ── Close ──► closed
//
// The sessions of a scraper dial a few at a time (dialQueue); connecting begins with the wait for that, and its deadline
// with the dial.
//
// Each state but open and closed has a deadline: connecting the connect timeout, waiting the retry timer. An open
// connection has one until the client has opened the metrics channel. The wait doubles from one second to one
// minute, with jitter; a registration (Nudge) ends it at once and makes it short again, and so does a connection
// that lasted. A registration also begins a dial anew that the client has not answered, and has an open connection
// asked for a sign of life, or gives its channel no more than the time of one; the connection that follows
// one without a sign of life gets no more, either. So does news that the scraper's machine has
// moved, for all sessions.
//
// An open session whose direct path is dead, so that a relay has taken over, dials a second connection after a while and goes over
// to it if it is direct; see pathSearch. It is open all the time.
//
// # A registration at the scraper
//
//	request ─► secret right? ─► names fine, room left? ─► store ─► durable ─► table, session, targets file ─► reply
//	              │ no                  │ no                │ error
//	              ▼                     ▼                   ▼
//	          Unauthorised      reason, with the uid     uid only
//
// The reply goes out after the entry is durable, so nothing that was acknowledged is lost. Registrations that are
// on their way to the disk count as if they were there already, for the alias limit and for who is next.
//
// # A client
//
//	Start ─► listen ──► announced ──┐
//	  └────► connect ─► connected ──┴─► register ─ success ─► wait an hour ───────┐
//	            ▲                          └────── failure ─► wait 1 s … 1 min ───┤
//	            └─────────────────────────────────────────────────────────────────┘
//
// The wait of an hour ends early when the scraper's connection is gone for 15 to 25 s: it may have lost its table. Unless a
// connection lasts, the next such waits double. It also ends when the machine has moved.
//
// Where there are several scrapers each has a round of its own.
package app
