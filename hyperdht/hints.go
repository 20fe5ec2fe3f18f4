package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// relayHints records the experience of earlier dials with the DHT nodes that lead to a key.
type relayHints struct {
	known     relayCache
	stranding relayCache // nodes that led to a key, and to no connection
}

// strands reports whether a node has led earlier dials of a key to the server and to no connection.
func (r *relayHints) strands(key id.PublicKey, node netip.AddrPort) bool {
	return slices.Contains(r.stranding.get(key), node)
}

// strandedBy remembers that a node passed the handshake on and no path came of it. Such a node may drop what follows, and is the
// first to answer each time, so that later dials of this key try all others first. The JavaScript implementation does not.
func (r *relayHints) strandedBy(key id.PublicKey, node netip.AddrPort) {
	if r.strands(key, node) {
		return
	}
	last := r.stranding.get(key)
	r.stranding.put(key, append(slices.Clip(last[max(0, len(last)-maxStranding+1):]), node))
}

// acquit forgets that a node has led to no connection, since one came of it. Honest nodes do not stay last because the server could
// not be reached for a while.
func (r *relayHints) acquit(key id.PublicKey, node netip.AddrPort) {
	if r.strands(key, node) {
		last := slices.Clone(r.stranding.get(key))
		r.stranding.put(key, slices.DeleteFunc(last, func(a netip.AddrPort) bool { return a == node }))
	}
}

// relayCache remembers which nodes led to a key, the oldest forgotten first (hyperdht index.js).
type relayCache struct {
	addrs map[id.PublicKey][]netip.AddrPort
	order []id.PublicKey
}

func (rc *relayCache) get(key id.PublicKey) []netip.AddrPort { return rc.addrs[key] }

func (rc *relayCache) put(key id.PublicKey, addrs []netip.AddrPort) {
	if rc.addrs == nil {
		rc.addrs = make(map[id.PublicKey][]netip.AddrPort)
	}
	if _, known := rc.addrs[key]; !known {
		if len(rc.order) >= relayCacheSize {
			delete(rc.addrs, rc.order[0])
			rc.order = rc.order[1:]
		}
		rc.order = append(rc.order, key)
	}
	rc.addrs[key] = slices.Clone(addrs[:min(len(addrs), maxAddrs)])
}
