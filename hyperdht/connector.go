package hyperdht

import (
	"cmp"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// ConnectOptions are the options of a dial; the zero value suits most.
type ConnectOptions struct {
	// Keys is our identity to the server; nil means the node's default key pair.
	Keys *id.KeyPair
	// RelayAddrs are DHT nodes to which the server may have announced; they are tried first.
	RelayAddrs []netip.AddrPort
	// Addrs are addresses at which the server may be reachable itself. They are dialled first, without any DHT node.
	Addrs []HostPort
	// NoLocal keeps our own addresses from the server and does not try its.
	NoLocal bool
	// ReusableSocket offers the server to dial again over the same socket, and tries a stored one first.
	ReusableSocket bool
	// RelayThrough are blind relays, one of which carries the connection while there is no direct path.
	RelayThrough []id.PublicKey
	// Paths limits the paths that the connection may take.
	Paths PathRule
	// AdmitPunch reports whether to punch holes into the NATs of both sides, once these are known and the server agrees; nil always
	// does. Without a punch, the dial ends with ErrHolepunchAborted, unless it finds a path without one or a relay carries it. It runs on the
	// loop and must not block. It implies SlowOpen: the first datagram may lead to a path before this side is asked.
	AdmitPunch func(Punch) bool
	// SlowOpen leaves out the low-TTL datagram that opens our NAT before the first hole-punch message.
	SlowOpen bool
}

// connector finds a path to a server for one Connection (hyperdht lib/connect.js).
type connector struct {
	machine[dialState]
	p      *peering
	conn   *Connection
	opts   ConnectOptions
	remote id.PublicKey
	target id.Target
	group  *rpc.CallGroup
	raw    *stream.Stream // until a direct path has been found, or the dial is over

	greeting
	finding
	known knownAddrs
	serverAnswer

	race      race
	early     *way  // of a stream packet that came before the handshake's answer
	failure   error // of the search for more ways, while those that were found may still succeed
	relayPath *relayPath
	relayChoice
	punch      *dialPunch
	lan        lanPings
	heartbeats heartbeats
}

type dialState uint8

const (
	dialStarting dialState = iota
	dialGreeting
	dialFinding
	dialSearching
	dialPassive
	dialRacing
	dialRelayed
	dialCarried
	dialOver
)

var dialTable = &table[dialState]{Name: "connector", States: []rule[dialState]{
	dialStarting: {
		Name: "starting", Why: "waits for our own node to enter the network",
		Next: []dialState{dialGreeting, dialOver},
	},
	dialGreeting: {Name: "greeting", Why: "the host ends each computation", Next: []dialState{dialFinding, dialOver}},
	dialFinding:  {Name: "finding", Limit: findLimit, Next: []dialState{dialSearching, dialOver}},
	dialSearching: {
		Name: "searching", Limit: wayLimit,
		Next: []dialState{dialPassive, dialRacing, dialOver},
	},
	dialPassive: {
		Name: "passive", Limit: passiveTimeout,
		Next: []dialState{dialSearching, dialRacing, dialOver},
	},
	dialRacing:  {Name: "racing", Limit: wayLimit, Next: []dialState{dialRacing, dialRelayed, dialOver}},
	dialRelayed: {Name: "relayed", Limit: searchLimit, Next: []dialState{dialCarried, dialOver}},
	dialCarried: {
		Name: "carried", Why: "nothing is held but what the relayed connection needs, and ends with it",
		Next: []dialState{dialOver},
	},
	dialOver: {Name: "over"},
}}

// passed ends a state at its deadline.
func (c *connector) passed(s dialState) {
	switch s {
	case dialFinding:
		c.conn.close(ErrPeerConnectionFailed)
	case dialPassive:
		c.become(dialSearching)
		c.fail(ErrHolepunchAborted)
	case dialRelayed:
		c.stopSearch()
		c.become(dialCarried)
	case dialRacing:
		if c.relayPath != nil && c.relayPath.in(relayPaired) {
			c.relayPath.abort(ErrUnopened)
			if c.in(dialRacing) {
				c.become(dialRacing)
			}
			return
		}
		fallthrough
	default:
		c.conn.close(cmp.Or(c.failure, ErrHolepunchAborted))
	}
}

// connect starts connecting to a key. The connection's handlers never run within this call.
func (p *peering) connect(remote id.PublicKey, opts ConnectOptions) *Connection {
	keys := p.cfg.Keys
	if opts.Keys != nil {
		keys = *opts.Keys
	}
	conn := p.newConnection(p.newAttemptTrace(remote), keys.Public, remote, initiator)
	conn.ways = &wayLog{conn: conn}
	if p.closed || p.suspended {
		err := ErrSuspended
		if p.closed {
			err = ErrClosed
		}
		conn.close(err)
		return conn
	}
	c := &connector{
		p: p, conn: conn, opts: opts, remote: remote, target: remote.Target(),
		group:    p.rpc.NewCallGroup(),
		greeting: greeting{noise: noise.NewInitiator(keys, remote, p.drawn())},
	}
	c.begin(p.account, dialTable, dialStarting, c.passed)
	c.raw = p.cfg.Streams.New(c.firewall)
	c.raw.Confine(nil)
	c.raw.OnClose(func(err error) {
		if c.raw != nil && err != nil {
			c.fail(err)
		}
	})
	conn.cancel = c.stop
	p.host.Defer(c.enter)
	return conn
}

func (c *connector) note(e AttemptEvent) { c.conn.attemptTrace.note(e) }

// greet writes message 1, and begins to look for the server then.
func (c *connector) greet(begin func()) {
	c.become(dialGreeting)
	c.note(AttemptEvent{Step: AttemptStarted})
	hs, payload := c.noise, c.prepare()
	var message []byte
	var err error
	c.p.host.Compute(func() { message, err = hs.WriteMessage(payload) }, func() {
		if !c.in(dialGreeting) {
			return
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.message = message
		c.become(dialFinding)
		begin()
	})
}

// search tries the stored route, then the known relays, then a query.
func (c *connector) search() {
	c.begun = true
	if r, ok := c.p.routes[c.remote]; ok && c.opts.ReusableSocket && c.opts.Paths != RelayOnly {
		c.attempt(r.addr, r.sock, func() {
			if c.in(dialFinding) {
				delete(c.p.routes, c.remote)
				c.find()
			}
		})
		return
	}
	c.find()
}

// prepare returns the payload of message 1, which describes this node to the server.
func (c *connector) prepare() []byte {
	m := wire.NoisePayload{
		Version:      1,
		UDX:          &wire.UDXInfo{ReusableSocket: c.opts.ReusableSocket, ID: c.raw.ID()},
		SecretStream: &wire.SecretStreamInfo{},
	}
	relayOnly := c.opts.Paths == RelayOnly
	if addr, ok := c.p.rpc.RemoteAddr(); ok && !relayOnly {
		c.public = true
		m.Firewall = wire.FirewallOpen
		m.Addrs4 = append(m.Addrs4, addr)
	}
	if !c.opts.NoLocal && !relayOnly {
		m.Addrs4 = append(m.Addrs4, c.p.localAddrs()...)
	}
	if len(c.opts.RelayThrough) > 0 && c.opts.Paths != DirectOnly {
		c.choose(c.p, c.opts.RelayThrough)
	}
	m.RelayThrough = c.named()
	return m.Append(nil)
}

// fail ends the search for ways. It closes the connection unless a way that was found, or a relay, may still carry it.
func (c *connector) fail(err error) {
	switch {
	case c.over(), c.raw == nil: // a direct way has been selected in this turn
	case c.in(dialRacing), c.relayPath != nil:
		c.failure = err
		c.persist()
	default:
		c.conn.close(err)
	}
}

// stop ends all activities of the connector.
func (c *connector) stop() {
	if c.over() {
		return
	}
	if c.in(dialSearching, dialPassive, dialRacing) && c.raw != nil && c.conn.err != nil {
		c.p.hints.strandedBy(c.remote, c.relay)
	}
	c.become(dialOver)
	c.stopSearch()
	if c.relayPath != nil {
		c.relayPath.close()
	}
	if c.raw != nil {
		raw := c.raw
		c.raw = nil
		raw.Destroy(nil)
	}
}

// stopSearch ends the search for a path.
func (c *connector) stopSearch() {
	if c.punch != nil {
		c.punch.close()
	}
	c.heartbeats.stop()
	c.stopHeadStart()
	c.endQuery()
	c.group.Cancel()
}

func (c *connector) endQuery() {
	if c.query != nil {
		c.query.Destroy()
		c.query = nil
	}
}
