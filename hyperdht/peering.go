package hyperdht

import (
	"bytes"
	"io"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/demux"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// peeringConfig is the configuration of a peering.
type peeringConfig struct {
	// Keys is the node's default identity when it dials.
	Keys id.KeyPair
	// Store holds the router entries: servers of this node, and those that announced here.
	Store *records.Store
	// OnMoved runs when a server's relays see it at another address than before; it may be nil.
	OnMoved func()
	// Streams holds the UDX streams of all the node's sockets.
	Streams *stream.Table
	// Door receives all datagrams of the node's sockets.
	Door *demux.Door
	// Probe helps to classify our NAT if the DHT is too small for it. It may be nil.
	Probe AddressProbe
	// RelayAddrs are the known addresses of blind relays.
	RelayAddrs map[id.PublicKey][]HostPort
	// KeepAlive is the keep-alive interval of connections, 0 for none.
	KeepAlive time.Duration
}

// peering is the part of a node that connects peers.
type peering struct {
	host   host.Host
	limits host.Limits // of the host
	rpc    *rpc.Endpoint
	cfg    peeringConfig

	pool        *pool
	local       *localValidator
	servers     serverList
	connections connectionList
	hints       relayHints
	routes      routes
	relayLinks  map[id.PublicKey]*relayLink
	intake      *intake
	punches     punchBudget
	punchQueue  *punchQueue
	drift       natDrift

	attempts  uint64 // numbers them for the trace
	suspended bool
	closed    bool
	stats     PeeringStats
	account   *account // of the machines
}

// newPeering returns the peering part of the node with RPC endpoint e.
func newPeering(h host.Host, e *rpc.Endpoint, cfg peeringConfig) *peering {
	p := &peering{host: h, limits: host.LimitsOf(h), rpc: e, cfg: cfg, relayLinks: make(map[id.PublicKey]*relayLink)}
	p.account = &account{host: h}
	p.pool = newPool(p)
	p.local = newLocalValidator(p)
	p.intake = newIntake(p)
	p.punchQueue = newPunchQueue(p)
	return p
}

// counters returns the counters so far.
func (p *peering) counters() PeeringStats {
	s := p.stats
	s.Pool = p.pool.stats
	s.WrongTransitions = p.account.wrong.Wrong
	for _, l := range p.relayLinks {
		s.SecondWays += l.reserves()
	}
	return s
}

// receiveHandshake routes or answers a PEER_HANDSHAKE request.
func (p *peering) receiveHandshake(r *rpc.Request) {
	m, err := wire.ParseHandshake(r.Value)
	if err != nil {
		p.stats.HandshakesInvalid++
		return
	}
	if r.Target != nil {
		if s := p.servers.at(*r.Target); s != nil {
			s.receiveHandshake(r, m)
			return
		}
	}
	if m.Mode != wire.FromClient && len(m.Noise) == 0 {
		return
	}
	p.perform(relayHandshake(m, r.From, p.relayOf(r.Target)), r, nil)
}

// receiveHolepunch routes or answers a PEER_HOLEPUNCH request.
func (p *peering) receiveHolepunch(r *rpc.Request) {
	m, err := wire.ParseHolepunch(r.Value)
	if err != nil {
		p.stats.HolepunchesInvalid++
		return
	}
	if m.Mode == wire.FromRelay {
		if r.Target != nil {
			if s := p.servers.at(*r.Target); s != nil {
				s.receiveHolepunch(r, m)
			}
		}
		return
	}
	p.perform(relayHolepunch(m, r.From, p.relayOf(r.Target)), r, nil)
}

// ownRequest reports whether a request is for a server of this node, which limits by caller what it reads.
func (p *peering) ownRequest(command uint64, target id.Target) bool {
	return (command == wire.CmdPeerHandshake || command == wire.CmdPeerHolepunch) && p.servers.at(target) != nil
}

// relayOf returns the address from which the server for target announced, invalid if it did not announce here.
func (p *peering) relayOf(target *id.Target) netip.AddrPort {
	if target == nil {
		return netip.AddrPort{}
	}
	p.cfg.Store.Advance(p.host.Now()) // on a node that is not persistent no other call does
	e, ok := p.cfg.Store.Get(*target)
	if !ok {
		return netip.AddrPort{}
	}
	return e.Relay
}

// perform takes a step for a message over sock, nil for the socket the message came in on.
func (p *peering) perform(s step, r *rpc.Request, sock host.Socket) {
	if sock == nil {
		sock = r.Socket
	}
	switch s.kind {
	case stepRespond:
		r.Reply(s.value, rpc.ReplyOptions{NoToken: true, NoCloser: !s.closer, Socket: sock, To: s.to})
	case stepForward:
		p.rpc.Forward(rpc.Forwarded{
			TID: r.TID, Command: r.Command, Target: r.Target, Value: s.value, To: s.to, Socket: sock,
		})
	}
}

func (p *peering) newConnection(t attemptTrace, local, remote id.PublicKey, s side) *Connection {
	c := &Connection{
		p: p, attemptTrace: t, ends: ends{initiator: s == initiator, local: local, remote: remote},
		keepAlive: keepAlive{interval: p.cfg.KeepAlive},
	}
	p.connections.add(c)
	return c
}

// someOf returns a random part of d.
func (p *peering) someOf(d time.Duration) time.Duration {
	return time.Duration(host.DrawUint16(p.host.Rand())) * d / (1 << 16)
}

// drawn returns randomness for the key pair of a handshake, as a source by itself: it is read off the loop, where the host's is not.
func (p *peering) drawn() io.Reader {
	var seed id.Seed
	host.Draw(p.host.Rand(), seed[:])
	return bytes.NewReader(seed[:])
}

func (p *peering) randomPort() uint16 {
	return minRandomPort + uint16(host.DrawUint32(p.host.Rand())%(1<<16-minRandomPort))
}

// networkChanged makes the servers announce again, since their addresses may have changed.
func (p *peering) networkChanged() {
	for _, s := range p.servers.listening {
		s.announcer.refreshSoon()
	}
}

// online wakes the announcers that wait for the network.
func (p *peering) online() {
	for _, s := range p.servers.listening {
		s.announcer.online()
	}
}

// suspend unannounces all servers, ends all connections and calls done.
func (p *peering) suspend(done func()) {
	p.suspended = true
	p.each(done, func(s *Server, settled func()) {
		s.suspended = true
		s.clear()
		s.announcer.suspend(settled)
	})
	p.connections.destroy(ErrSuspended)
}

// resume announces the servers again.
func (p *peering) resume() {
	p.suspended = false
	for _, s := range p.servers.listening {
		s.suspended = false
		s.announcer.resume()
	}
}

// close closes the servers and ends all connections, then calls done. The peering is unusable afterwards.
func (p *peering) close(done func()) {
	p.closed = true
	p.each(func() {
		p.pool.close()
		done()
	}, func(s *Server, settled func()) { s.Close(settled) })
	p.connections.destroy(ErrClosed)
	p.intake.close()
	p.punchQueue.close()
}

// each runs f for every server, and for those that were closed within takeBackTime and are not unannounced yet, and done once
// all have settled.
func (p *peering) each(done func(), f func(s *Server, settled func())) {
	join := host.NewJoin(done)
	ended := join.Add()
	for _, s := range p.servers.announced(p.host.Now()) {
		f(s, join.Add())
	}
	p.host.Defer(ended)
}
