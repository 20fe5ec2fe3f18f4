package simnet

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Router joins a LAN to the segment it was added to, its uplink. It forwards what inside hosts send to addresses outside
// the LAN, as its NAT decides. A LAN may have routers of its own, to any depth. Routers speak IPv4 only.
type Router struct {
	node
	lan    *Segment
	nat    NAT
	addr   netip.Addr // public; invalid for one that does not translate
	table  *natTable  // nil where nothing is tracked
	boots  uint64
	booted host.Instant
	mapper *portMapper // nil if it maps no ports
	ports  uint64      // counts the seeds of the choice of ports
	off    bool
}

// AddRouter joins a new LAN to the segment. addr is the router's address on the segment; a router that does not translate
// has none, and its inside hosts have addresses of the segment. Routers and machines share one set of names; a duplicate
// name panics, as a NAT does in which an axis would have no effect.
func (s *Segment) AddRouter(name string, nat NAT, addr netip.Addr) *Router {
	n := s.net
	nat.check()
	addr = addr.Unmap()
	if translates := nat.Mapping != Never; translates != addr.Is4() {
		panic(fmt.Sprintf("simnet: router %s has the address %v and the mapping %v", name, addr, nat.Mapping))
	}
	n.take(name)
	r := &Router{nat: nat, addr: addr}
	r.node = node{name: name, salt: split(n.cfg.Seed, "nat:"+name), lane: n.main, uplink: s}
	r.lan = n.AddLAN(name+"/lan", Link{})
	r.lan.router = r
	if addr.IsValid() {
		s.attach(addr, r)
	}
	r.boot()
	return r
}

// AddRouter joins a new LAN to the internet. See Segment.AddRouter.
func (n *Net) AddRouter(name string, nat NAT, addr netip.Addr) *Router {
	return n.internet.AddRouter(name, nat, addr)
}

// Name returns the name of the router.
func (r *Router) Name() string { return r.name }

// LAN returns the network behind the router.
func (r *Router) LAN() *Segment { return r.lan }

// NAT returns the kind of the router.
func (r *Router) NAT() NAT { return r.nat }

// Addr returns the public address; it is invalid for a router that does not translate.
func (r *Router) Addr() netip.Addr { return r.addr }

func (r *Router) translates() bool { return r.addr.IsValid() }

// AddHost boots a machine behind the router.
func (r *Router) AddHost(name string, addrs ...netip.Addr) *Host {
	return r.lan.AddHost(name, addrs...)
}

// SetAccess puts a link between the router and its uplink, as Host.SetAccess does.
func (r *Router) SetAccess(l Link) { r.access = newAccess(l) }

// SetAddr gives a router that translates another public address, as a provider does overnight. Its NAT decides whether
// sessions and their ports live on; datagrams to the old address, or on their way there, have no route.
func (r *Router) SetAddr(addr netip.Addr) {
	addr = addr.Unmap()
	if !r.addr.IsValid() || !addr.Is4() {
		panic(fmt.Sprintf("simnet: router %s cannot have the address %v", r.name, addr))
	}
	r.uplink.detach(r.addr)
	r.addr = addr
	r.uplink.attach(addr, r)
	if r.nat.ForgetOnMove {
		r.table.forget()
	}
	r.lane.mark(markScenario, r.salt)
	r.lane.note(r.name, "address "+addr.String())
}

// Flush makes the router forget all sessions. Its choice of ports continues.
func (r *Router) Flush() {
	r.lane.mark(markScenario, r.salt)
	if r.table != nil {
		r.table.forget()
	}
}

// Reboot describes a reboot of a router.
type Reboot struct {
	// DownFor is the time for which it drops everything.
	DownFor time.Duration
	// SamePorts makes the choice of ports start as at the last boot, so that the old ports are given again, in the order of
	// new requests. Otherwise it starts elsewhere.
	SamePorts bool
}

// Reboot makes the router forget all sessions and start again.
func (r *Router) Reboot(how Reboot) {
	if !how.SamePorts {
		r.ports++
	}
	r.boot()
	if how.DownFor > 0 {
		r.off = true
		boots := r.boots
		r.lane.AfterFunc(how.DownFor, func() {
			if r.boots == boots {
				r.off = false
			}
		})
	}
}

func (r *Router) boot() {
	r.boots++
	r.booted = r.lane.now
	r.off = false
	if r.nat.Filtering != Never {
		r.table = newNATTable(r.nat, dice(mix(r.salt, r.ports)))
	}
	r.lane.mark(markBoot, r.salt)
	r.lane.note(r.name, "boot")
}

// Sessions returns the number of live sessions.
func (r *Router) Sessions() int {
	if r.table == nil {
		return 0
	}
	r.table.expire(r.lane.now)
	return len(r.table.sessions)
}

// Mappings returns the number of public ports in use.
func (r *Router) Mappings() int {
	if r.table == nil {
		return 0
	}
	r.table.expire(r.lane.now)
	return len(r.table.mappings)
}

// self implements place.
func (r *Router) self() *node { return &r.node }

// arrive implements place.
func (r *Router) arrive(d *datagram) {
	switch {
	case r.off:
		r.lane.drop(d, DropDown)
	case d.ttl == 0:
		r.lane.drop(d, DropTTL)
	case r.nat.Block:
		r.lane.drop(d, DropUDP)
	case d.on == r.lan:
		r.outbound(d)
	case r.lane.queueing(&r.node, d):
	default:
		r.inbound(d)
	}
}

// outbound forwards a datagram from the LAN.
func (r *Router) outbound(d *datagram) {
	l := r.lane
	if !d.to.Addr().Is4() || !d.from.Addr().Is4() {
		l.drop(d, DropNoRoute)
		return
	}
	if only := r.nat.OnlyPort; only != 0 && d.to.Port() != only {
		l.drop(d, DropUDP)
		return
	}
	hairpin := r.addr.IsValid() && d.to.Addr() == r.addr
	if hairpin && !r.nat.Hairpin {
		l.drop(d, DropHairpin)
		return
	}
	if r.table != nil {
		port, why := r.table.outbound(l.now, endpointOf(d.from), endpointOf(d.to))
		if why != 0 {
			l.drop(d, why)
			return
		}
		if r.addr.IsValid() {
			public := netip.AddrPortFrom(r.addr, port)
			l.noteTranslation(r.name, "maps", d.from, public, d.to)
			d.from = public
		}
	}
	if hairpin {
		r.inbound(d)
		return
	}
	r.uplink.forward(d, &r.node, r.uplink.at(d.to.Addr()))
}

// behind returns the place on the LAN that would receive a datagram for an address of the router at an instant, and its
// address there. Unlike inbound it changes no state. The router may be in another lane than the datagram.
func (r *Router) behind(from, to netip.AddrPort, at host.Instant) (place, netip.AddrPort, bool) {
	if !from.Addr().Is4() || !to.Addr().Is4() || r.addr.IsValid() && to.Addr() != r.addr {
		return nil, to, false
	}
	if r.table != nil {
		if s := r.table.staticAt(to.Port(), at); s != nil {
			to = s.inside.addrPort()
		} else if s, _ := r.table.find(endpointOf(from), endpointOf(to)); s == nil || r.table.over(s, at) {
			return nil, to, false
		} else {
			to = s.key.inside.addrPort()
		}
	}
	next := r.lan.at(to.Addr())
	return next, to, next != nil
}

// inbound forwards a datagram to the LAN.
func (r *Router) inbound(d *datagram) {
	l := r.lane
	if !d.from.Addr().Is4() || r.addr.IsValid() && d.to.Addr() != r.addr {
		l.drop(d, DropNoRoute)
		return
	}
	if r.table != nil {
		inside, why := r.table.inbound(l.now, endpointOf(d.from), endpointOf(d.to))
		if why != 0 {
			l.drop(d, why)
			return
		}
		if r.addr.IsValid() {
			l.noteTranslation(r.name, "unmaps", d.to, inside.addrPort(), d.from)
			d.to = inside.addrPort()
		}
	}
	next := r.lan.at(d.to.Addr())
	if next == nil { // the host has left; do not send the packet back out
		l.drop(d, DropNoRoute)
		return
	}
	r.lan.forward(d, &r.node, next)
}
