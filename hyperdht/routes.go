package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// route is a path to a peer that both sides agreed to use again (hyperdht lib/socket-pool.js).
type route struct {
	sock host.Socket
	addr netip.AddrPort
}

// routes are the known routes by key, maxRoutes at most.
type routes map[id.PublicKey]route

// add remembers the path of a connected stream. The first one is kept while its socket is open and no connection over it has
// failed.
func (rs *routes) add(remote id.PublicKey, raw *stream.Stream) {
	if *rs == nil {
		*rs = make(routes)
	}
	if _, known := (*rs)[remote]; !known && len(*rs) < maxRoutes {
		(*rs)[remote] = route{sock: raw.Socket(), addr: raw.RemoteAddr()}
	}
}

// drop forgets the routes over a socket that is closed.
func (rs routes) drop(s host.Socket) {
	for key, r := range rs {
		if r.sock == s {
			delete(rs, key)
		}
	}
}
