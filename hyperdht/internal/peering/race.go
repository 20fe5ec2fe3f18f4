package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// race chooses among the ways on which the other side of a handshake may be reached. What shows a way up proves nothing:
// somebody else may answer at the peer's private address, and an open peer may not be open for us. So what the
// connection sends first goes out on all ways, and the one on which something comes back that decrypts wins.
//
//	waiting ──a way──▶ racing ──decrypts──▶ over
//	                     └── no other way is looked for, none answers: the stream gives up after 13 s
//
// One side decides: that which sends on several ways. The other one answers where the first packet came from. That is
// all that the JavaScript does, and enough for it.
type race struct {
	p        *Peering
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

// way is one of the ways: a direct one, or the one over the blind relay.
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

// join sends on a way, too.
func (r *race) join(w way) {
	if r.state != raceRacing || slices.Contains(r.ways, w) {
		return
	}
	r.ways = append(r.ways, w)
	r.conn.trail.note(AttemptEvent{Step: AttemptTried, Path: w.path, Addr: w.to})
	r.raw.Race(stream.Way{Socket: w.sock, RemoteID: r.remoteID, Remote: w.to})
}

// leave goes on with the direct ways after the relay has left. It reports whether there are any.
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

// search says whether other ways are looked for. While they are, the stream does not give up.
func (r *race) search(on bool) {
	if r.state == raceRacing {
		r.raw.Persist(on)
	}
}

// win ends the race: the last packet, which came on one of the direct ways, has decrypted.
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

// end has the connection send on one way only.
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
