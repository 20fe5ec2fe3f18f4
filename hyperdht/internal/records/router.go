package records

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Entry is a server that can be reached through this node: it announced itself here, or runs here.
type Entry struct {
	// Relay is the address from which the server announced, to which requests are forwarded. Invalid for a local one.
	Relay netip.AddrPort
	// Record is the server's encoded peer record. It must not be changed.
	Record []byte
	// Local means that the server runs on this node.
	Local bool
}

// router maps targets to entries. Those of local servers are pinned.
type router struct {
	announced cache[id.Target, Entry]
	local     map[id.Target]Entry
}

func newRouter(now host.Instant, l limits) router {
	return router{announced: newCache[id.Target, Entry](now, l, nil), local: make(map[id.Target]Entry)}
}

func (r *router) get(target id.Target) (Entry, bool) {
	if e, ok := r.local[target]; ok {
		return e, true
	}
	return r.announced.get(target)
}

// announce adds or replaces an entry, unless the server runs here.
func (r *router) announce(target id.Target, from netip.AddrPort, record []byte) {
	if _, ok := r.local[target]; !ok {
		r.announced.set(target, Entry{Relay: from, Record: record})
	}
}

func (r *router) setLocal(target id.Target, record []byte) {
	r.announced.delete(target)
	r.local[target] = Entry{Record: record, Local: true}
}
