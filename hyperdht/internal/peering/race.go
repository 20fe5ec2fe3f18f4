package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// race selects one of the ways to the peer of a handshake. A sign of life does not validate a way: another host may answer
// at the peer's private address, and an open peer may be unreachable from here. The first packets of the connection are
// sent on all ways, and the way on which the first packet arrives that decrypts is selected.
//
//	waiting ──begin──▶ racing ──win──▶ over
//	                     └── search over, no answer: the stream fails after its last retransmission
//
// Only the side that sends on several ways decides. The other side answers on the way on which the first packet arrived,
// as the JavaScript does.
type race struct {
	conn     *Connection
	raw      *stream.Stream
	remoteID uint32
	state    raceState
	ways     []way
}

type raceState uint8

const (
	raceWaiting raceState = iota
	raceRacing
	raceOver
)

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
	r.raw.WatchRemote() // the peer may answer from elsewhere
	r.state = raceRacing
	r.ways = append(r.ways, w)
	r.conn.start(r.raw, keys, w.path)
	return nil
}

// join adds a way.
func (r *race) join(w way) {
	if r.state != raceRacing || len(r.ways) == maxDirectWays || slices.Contains(r.ways, w) {
		return
	}
	r.ways = append(r.ways, w)
	r.conn.trail.note(AttemptEvent{Step: AttemptTried, Path: w.path, Addr: w.to})
	r.raw.Race(stream.Way{Socket: w.sock, RemoteID: r.remoteID, Remote: w.to})
}

// leave removes the relay from the race. It reports whether direct ways remain.
func (r *race) leave() bool {
	if r.state != raceRacing || len(r.ways) == 0 {
		return false
	}
	if r.conn.path == PathRelayed {
		r.end(r.ways[0], r.remoteID)
		r.state = raceRacing
		for _, w := range r.ways[1:] {
			r.raw.Race(stream.Way{Socket: w.sock, RemoteID: r.remoteID, Remote: w.to})
		}
	}
	return true
}

// search disables the retransmission limit of the stream while the search for more ways goes on.
func (r *race) search(on bool) {
	if r.state == raceRacing {
		r.raw.Persist(on)
	}
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
	r.state = raceOver
	r.raw.Persist(false)
	before, addr := r.raw.Socket(), r.raw.RemoteAddr()
	if r.raw.Settle(stream.Way{Socket: w.sock, RemoteID: remoteID, Remote: w.to}) != nil {
		return // it has closed
	}
	if r.raw.Socket() != before || r.raw.RemoteAddr() != addr || r.conn.path != w.path {
		r.conn.moved(w.sock, w.path)
	}
}
