package rpc

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/ports/host"
)

// address owns the state of our public address: the known one, the samples, their responders, and the requests for more.
type address struct {
	known      *netip.AddrPort // at which the server socket is reachable, whatever the samples are; nil if not known
	sampler    *nat.Sampler
	host       netip.Addr // the last one that the samples agreed on; they may disagree now
	askedAt    kad.Tick   // when nodes were last asked whether it has moved
	preset     bool       // the known address is that of Config, and is not sampled
	asking     *asking    // that is under way, or nil
	probing    probing
	unnamed    []netip.AddrPort // nodes without an id that have given a sample
	responders []responder      // responders of the address probe that have
}

// responder is a machine that answers address probes. Its samples count like those of nodes: one for each main socket, and
// another one when the first is old.
type responder struct {
	addr    netip.AddrPort
	sampled kad.Tick
}

// addr is our public address: the known one, or else the one that the samples agree on.
func (a *address) addr() netip.AddrPort {
	if a.known != nil {
		return *a.known
	}
	return a.sampler.Addr()
}

// know sets the known address, invalid for none. It reports like add.
func (a *address) know(addr netip.AddrPort) (changed bool) {
	before := a.addr()
	a.known = nil
	if addr.IsValid() {
		a.known = &addr
	}
	return a.addr() != before
}

// add counts our address as seen by from, and reports whether our address has changed.
func (a *address) add(seen, from netip.AddrPort) (changed bool) {
	before := a.addr()
	a.sampler.AddFrom(seen, from)
	return a.changed(before)
}

// replace replaces all samples. It reports like add.
func (a *address) replace(sampler *nat.Sampler) (changed bool) {
	before := a.addr()
	if sampler != a.sampler {
		a.responders = a.responders[:0]
	}
	a.sampler, a.unnamed = sampler, nil
	return a.changed(before)
}

func (a *address) changed(before netip.AddrPort) bool {
	if h := a.sampler.Host(); h.IsValid() {
		a.host = h
	}
	return a.addr() != before
}

// counted reports whether a responder that is no known node has given its sample already.
func (a *address) counted(from netip.AddrPort, tick kad.Tick) bool {
	return slices.ContainsFunc(a.responders, func(r responder) bool { return r.addr == from && tick-r.sampled < oldNode })
}

// responderDue reports whether a sample of a responder that is no known node counts, and records it.
func (a *address) responderDue(from netip.AddrPort, tick kad.Tick) bool {
	if slices.Contains(a.unnamed, from) {
		return false
	}
	for i := range a.responders {
		if r := &a.responders[i]; r.addr == from {
			due := tick-r.sampled >= oldNode
			if due {
				r.sampled = tick
			}
			return due
		}
	}
	if len(a.responders) >= maxResponders {
		return false
	}
	a.responders = append(a.responders, responder{from, tick})
	return true
}

// suspects reports whether to ask nodes if our address has moved, because an answer names a host for us. They are asked
// again while the samples contradict each other, since samples from before a move stay for half an hour.
func (a *address) suspects(seen netip.Addr, tick kad.Tick) bool {
	if !a.host.IsValid() || tick-a.askedAt < moveInterval {
		return false
	}
	return seen != a.sampler.Host() || !a.sampler.Host().IsValid()
}

// endAsking ends the current round of asking and ignores its outstanding answers.
func (a *address) endAsking() {
	if a.asking != nil && a.asking.cancel != nil {
		a.asking.cancel()
	}
	a.asking = nil
}

// close ends what is under way.
func (a *address) close() {
	a.probing.end()
	a.endAsking()
}

// AddressProbe asks responders other than DHT nodes for the public address of a socket. It calls seen with the address and the
// responder for each answer, and done at the end, neither before it returns nor after cancel.
type AddressProbe func(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func())

// probing is a use of the address probe for the main socket, and when the last one was.
type probing struct {
	socket host.Socket // that is being asked about, nil if none
	at     kad.Tick    // when it was asked about last
	asked  bool        // at is set
	cancel func()
}

func (p *probing) due(s host.Socket, tick kad.Tick) bool {
	return p.socket != s && (!p.asked || tick-p.at >= sampleInterval)
}

func (p *probing) end() {
	if p.cancel != nil {
		p.cancel()
	}
	p.socket, p.cancel = nil, nil
}

// sampleAddress asks the address probe for samples of the main socket.
func (e *Endpoint) sampleAddress() {
	s, p := e.Socket(), &e.address.probing
	if e.cfg.AddressProbe == nil || s == nil || !e.running() || e.address.preset || !p.due(s, e.nodes.tick) {
		return
	}
	p.end()
	p.socket, p.at, p.asked = s, e.nodes.tick, true
	p.cancel = e.cfg.AddressProbe(s,
		func(seen, from netip.AddrPort) { e.AddSample(s, seen, from) },
		func() { p.socket, p.cancel = nil, nil })
}

// AddSample takes the address of a socket as seen by from, which need not be a DHT node. Only samples of the main socket
// count.
func (e *Endpoint) AddSample(s host.Socket, seen, from netip.AddrPort) {
	if !e.running() || s == nil || s != e.Socket() || !isUsable(seen) {
		return
	}
	e.suspectMove(seen.Addr()) // first: where samples are few, one that differs makes them say nothing
	due := false
	if n := e.nodes.at(from); n != nil {
		due = e.nodes.sampleDue(n)
	} else {
		due = e.address.responderDue(from, e.nodes.tick)
	}
	if due {
		e.sample(seen, from)
	}
}

// sampleUnnamed takes our address as seen by an answerer without id. Bootstrap nodes may have none;
// that is not checked, but no more such samples count than there are bootstrap nodes.
func (e *Endpoint) sampleUnnamed(from, to netip.AddrPort) {
	a := &e.address
	if len(a.unnamed) >= max(1, len(e.cfg.Bootstrap)) || !e.nodes.admits(from) || slices.Contains(a.unnamed, from) {
		return
	}
	if !a.counted(from, e.nodes.tick) {
		e.sample(to, from)
	}
	a.unnamed = append(a.unnamed, from)
}

// sample takes our address as seen by from.
func (e *Endpoint) sample(seen, from netip.AddrPort) {
	if e.address.add(seen, from) {
		e.tell(Event{Kind: EventAddress, Addr: e.Addr()})
	}
}

// SetPublicAddr sets the address at which the server socket is reachable from everywhere, as configured or mapped at a router;
// the zero address if there is none any more. Its port need not be the bound one, and the samples do not change it. A node that others
// see at another address stays ephemeral, since its id would be that of the other one.
func (e *Endpoint) SetPublicAddr(addr netip.AddrPort) error {
	switch {
	case addr.IsValid() && checkPublicAddr(addr) != nil:
		return checkPublicAddr(addr)
	case e.address.preset:
		return errPreset
	case e.Closed():
		return nil
	}
	changed := e.address.know(addr)
	if changed {
		e.standing.readdress()
	}
	switch known := addr.IsValid(); {
	case known && e.Firewalled():
		e.standing.declared = true
		e.changeAccess(reachable)
	case !known && e.standing.declared:
		e.standing.declared = false
		e.changeAccess(firewalled)
	}
	if changed {
		e.tell(Event{Kind: EventAddress, Addr: e.Addr()})
	}
	return nil
}

func checkPublicAddr(addr netip.AddrPort) error {
	if !isUsable(addr) || addr.Addr().IsUnspecified() {
		return fmt.Errorf("rpc: public address %v: want an IPv4 address with a port", addr)
	}
	return nil
}

// changeAccess changes the main socket, to which the samples so far do not apply.
func (e *Endpoint) changeAccess(next access) {
	accessTable.Become(&e.standing.access, next, &e.faults)
	sampled := e.address.sampler.Len() > 0
	e.resample(new(nat.Sampler))
	if sampled {
		e.askAddress()
	}
	if next == reachable {
		e.tell(Event{Kind: EventReachable})
		return
	}
	e.standing.unsettle()
	if !e.Ephemeral() {
		e.becomeEphemeral()
	}
	e.tell(Event{Kind: EventUnreachable})
}

// resample replaces the samples of our address.
func (e *Endpoint) resample(sampler *nat.Sampler) {
	if e.address.replace(sampler) {
		e.tell(Event{Kind: EventAddress, Addr: e.Addr()})
	}
}
