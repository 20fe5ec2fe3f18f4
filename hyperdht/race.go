package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// race selects one of the ways to the peer of a handshake. An unauthenticated packet does not validate a way: another host may
// answer at the peer's private address, and an open peer may be unreachable from here. The first packets of the connection are
// sent on all ways, and the way on which the first packet arrives that decrypts is selected.
//
// Only the side that sends on several ways decides. That is the dialling side, and the answering one if it tries the address
// that an open caller has named and holds a relay in reserve. Else that side answers on the way on which the first packet arrived,
// as the reference implementation does.
type race struct {
	conn     *Connection
	raw      *stream.Stream
	remoteID uint32
	ways     []way
}

// way is a socket here and an address of the peer, or of the blind relay.
type way struct {
	sock host.Socket
	to   netip.AddrPort
	path Path
}

// begin connects on the first way. keys are those of the handshake.
func (r *race) begin(w way, keys noise.Result) error {
	if err := r.raw.Connect(w.sock, r.remoteID, w.to); err != nil {
		return err
	}
	r.raw.WatchRemote() // the peer may answer from another address
	r.ways = append(r.ways, w)
	r.conn.ways.try(w.path, w.to)
	r.conn.start(r.raw, keys, w.path)
	return nil
}

// join adds a way.
func (r *race) join(w way) {
	if len(r.ways) == maxDirectWays || slices.Contains(r.ways, w) {
		return
	}
	r.ways = append(r.ways, w)
	r.conn.ways.try(w.path, w.to)
	r.conn.attemptTrace.note(AttemptEvent{Step: AttemptTried, Path: w.path, Addr: w.to})
	r.raw.Race(stream.Way{Socket: w.sock, RemoteID: r.remoteID, Remote: w.to})
}

// leave removes the relay from the race. It reports whether direct ways remain.
func (r *race) leave() bool {
	if len(r.ways) == 0 {
		return false
	}
	if r.conn.path == PathRelayed {
		r.end(r.ways[0], r.remoteID)
		for _, w := range r.ways[1:] {
			r.raw.Race(stream.Way{Socket: w.sock, RemoteID: r.remoteID, Remote: w.to})
		}
	}
	return true
}

// wonBy ends the race with the relay if the last packet, which has decrypted, came over it.
func (r *race) wonBy(rp *relayPath) bool {
	via := r.raw.Via()
	if rp == nil || !rp.in(relayPaired) || !rp.carries(via.Socket, via.Remote) {
		return false
	}
	r.end(way{via.Socket, via.Remote, PathRelayed}, rp.remoteID)
	return true
}

// win ends the race with the direct way of the last packet, which has decrypted.
func (r *race) win(pathOf func(sock host.Socket, from netip.AddrPort) Path) way {
	via := r.raw.Via()
	won := way{sock: via.Socket, to: via.Remote}
	if i := slices.IndexFunc(r.ways, func(w way) bool { return w.sock == won.sock && w.to == won.to }); i >= 0 {
		won = r.ways[i]
	} else {
		won.path = pathOf(won.sock, won.to)
	}
	r.end(won, r.remoteID)
	return won
}

// end ends the race with way w, whose stream id at the other end is remoteID.
func (r *race) end(w way, remoteID uint32) {
	r.raw.SetPersistent(false)
	before, addr := r.raw.Socket(), r.raw.RemoteAddr()
	if r.raw.Settle(stream.Way{Socket: w.sock, RemoteID: remoteID, Remote: w.to}) != nil {
		return // it has closed
	}
	if r.raw.Socket() != before || r.raw.RemoteAddr() != addr || r.conn.path != w.path {
		r.conn.moved(w.sock, w.path)
	}
}

// heartbeats validate direct ways of a relayed connection, which moves when a packet comes back on one of them.
type heartbeats struct {
	host     host.Host
	raw      *stream.Stream
	remoteID uint32
	ways     []way
	sent     int // rounds since the last way was added
	next     host.Timer
}

// add starts heartbeats on further ways, unless there are too many.
func (h *heartbeats) add(ways ...way) {
	before := len(h.ways)
	for _, w := range ways {
		if !slices.Contains(h.ways, w) && len(h.ways) < maxDirectWays {
			h.ways = append(h.ways, w)
		}
	}
	if len(h.ways) > before {
		h.sent = 0
		h.send()
	}
}

func (h *heartbeats) send() {
	h.stop()
	for _, w := range h.ways {
		h.raw.SendHeartbeat(stream.Way{Socket: w.sock, RemoteID: h.remoteID, Remote: w.to})
	}
	if h.sent++; h.sent < maxValidations {
		h.next = h.host.AfterFunc(validateInterval, h.send)
	}
}

func (h *heartbeats) stop() {
	if h.next != nil {
		h.next.Stop()
	}
}
