package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// pool opens the sockets of punchers and closes them when neither a puncher nor a stream uses
// them (hyperdht lib/socket-pool.js).
type pool struct {
	p       *peering
	sockets map[host.Socket]*poolSocket
	stats   PoolStats
}

// poolSocket is a socket of its own port, counted by its users.
type poolSocket struct {
	pool   *pool
	sock   host.Socket
	refs   int
	used   bool // a stream ran over it, so late retransmissions may still come
	linger host.Timer

	// onProbe gets the one-byte datagrams; it belongs to the puncher that holds the socket.
	onProbe func(s *poolSocket, from netip.AddrPort)
}

func newPool(p *peering) *pool {
	return &pool{p: p, sockets: make(map[host.Socket]*poolSocket)}
}

// acquire opens a socket on any port of the node's address; the caller holds one reference.
func (pl *pool) acquire() (*poolSocket, error) {
	local := netip.AddrPortFrom(pl.p.rpc.ServerSocket().LocalAddr().Addr(), 0)
	sock, err := pl.p.host.OpenSocket(local)
	if err != nil {
		return nil, err
	}
	ps := &poolSocket{pool: pl, sock: sock, refs: 1}
	pl.sockets[sock] = ps
	pl.stats.Opened++
	pl.p.cfg.Door.Attach(sock)
	return ps, nil
}

// ref takes a reference on s for a stream, if s is a pool socket. The result releases it.
func (pl *pool) ref(s host.Socket) (release func()) {
	ps := pl.sockets[s]
	if ps == nil {
		return func() {}
	}
	ps.refs++
	ps.used = true
	if ps.linger != nil {
		ps.linger.Stop()
		ps.linger = nil
	}
	return ps.release
}

func (pl *pool) close() {
	open := make([]*poolSocket, 0, len(pl.sockets))
	for _, ps := range pl.sockets {
		open = append(open, ps)
	}
	slices.SortFunc(open, func(a, b *poolSocket) int { return a.sock.LocalAddr().Compare(b.sock.LocalAddr()) })
	for _, ps := range open {
		ps.close()
	}
}

// ReceiveProbe implements [demux.Probes]. An empty datagram is no probe.
func (pl *pool) ReceiveProbe(s host.Socket, from netip.AddrPort, b []byte) bool {
	ps := pl.sockets[s]
	if ps == nil {
		return false
	}
	if len(b) == 1 && ps.onProbe != nil {
		ps.onProbe(ps, from)
	}
	return true
}

// release drops one reference.
func (ps *poolSocket) release() {
	ps.refs--
	if ps.refs > 0 {
		return
	}
	ps.onProbe = nil
	if !ps.used {
		ps.close()
		return
	}
	ps.linger = ps.pool.p.host.AfterFunc(poolLinger, ps.close)
}

func (ps *poolSocket) close() {
	if _, open := ps.pool.sockets[ps.sock]; !open {
		return
	}
	if ps.linger != nil {
		ps.linger.Stop()
	}
	delete(ps.pool.sockets, ps.sock)
	ps.pool.stats.Closed++
	ps.pool.p.routes.drop(ps.sock)
	ps.sock.Close()
}
