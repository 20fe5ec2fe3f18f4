package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// greeting is our side of a dial's handshake.
type greeting struct {
	noise   *noise.Handshake // while a message is computed, it is the computation's
	message []byte           // message 1, the same for all attempts
	public  bool             // message 1 says that we are reachable
	replies replies
}

// replies are answers to message 1, which are read off the loop, one after the other: each may be forged, and the first good one ends the
// handshake. There is one for each attempt at most.
type replies struct {
	reading bool
	waiting []func()
}

// add begins to read a reply, now or when those before it have been read.
func (r *replies) add(read func()) {
	if r.reading {
		r.waiting = append(r.waiting, read)
		return
	}
	r.reading = true
	read()
}

// next begins to read the next reply.
func (r *replies) next() {
	r.reading = false
	if len(r.waiting) > 0 {
		read := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.add(read)
	}
}

// serverAnswer is the answer to a dial's handshake.
type serverAnswer struct {
	result     noise.Result
	payload    wire.NoisePayload
	relay      netip.AddrPort // the node through which the server has answered, or the server itself
	serverAddr netip.AddrPort // the server as that node sees it
	clientAddr netip.AddrPort // our address as it sees us
}

// take sets the answer that came from a node, with the addresses that it sees; seen is invalid if the node is the server itself.
func (a *serverAnswer) take(payload wire.NoisePayload, node, client, seen netip.AddrPort) {
	a.payload, a.relay, a.serverAddr, a.clientAddr = payload, node, node, client
	if seen.IsValid() {
		a.serverAddr = seen
	}
}

// relayed reports whether the server was seen at another address than the node's.
func (a *serverAnswer) relayed() bool { return a.serverAddr != a.relay }

// isOpen reports whether the server claims to be reachable directly.
func (a *serverAnswer) isOpen() bool { return a.payload.Firewall == wire.FirewallOpen }

// punchable reports whether the server offers a node to punch through.
func (a *serverAnswer) punchable() bool {
	return a.payload.Holepunch != nil && len(a.payload.Holepunch.Relays) > 0
}

// behindOneAddress reports whether both sides are seen at the same address.
func (a *serverAnswer) behindOneAddress() bool { return a.clientAddr.Addr() == a.serverAddr.Addr() }

// publicAddr returns the server's first public address, or its address as the relay sees it.
func (a *serverAnswer) publicAddr() netip.AddrPort {
	for _, addr := range a.payload.Addrs4[:min(len(a.payload.Addrs4), maxAddrs)] {
		if !kad.IsBogon(addr.Addr()) {
			return addr
		}
	}
	return a.serverAddr
}

// lanAddrs returns the private addresses of the server, without those of this host, which container bridges have on every host.
// A server that has no others is on this host: JavaScript servers that see a caller with their own address wait for it there, and
// older ones then answer no message of a punch.
func (a *serverAnswer) lanAddrs(local []netip.AddrPort) []netip.AddrPort {
	var others, own []netip.AddrPort
	for _, addr := range a.payload.Addrs4[:min(len(a.payload.Addrs4), maxAddrs)] {
		switch {
		case kad.IsReserved(addr.Addr()) || slices.Contains(others, addr) || slices.Contains(own, addr):
		case slices.ContainsFunc(local, func(l netip.AddrPort) bool { return l.Addr() == addr.Addr() }):
			own = append(own, addr)
		default:
			others = append(others, addr)
		}
	}
	if len(others) == 0 {
		return own
	}
	return others
}

// lanPings are pings of the server's private addresses.
type lanPings struct {
	pending int
	failure error // of punching, while they were under way
}

func (l *lanPings) running() bool { return l.pending > 0 }
