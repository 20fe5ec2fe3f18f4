package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/ports/host"
)

// AddressProbe asks others than DHT nodes where they see a socket. It calls seen with the address and who saw
// it for each answer, and done at the end, neither before it returns. After cancel it calls nothing any more.
type AddressProbe func(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func())

// sampling is what comes from the address probe. Its samples count like those of DHT replies: one of each
// responder for the main socket, and another one when the first is old.
type sampling struct {
	sampler    *nat.Sampler // that the responders were counted for; another one starts anew
	responders []responder
	socket     host.Socket // that is being asked about, nil if none
	at         kad.Tick    // when it was asked about last
	asked      bool        // at is set
	cancel     func()
}

type responder struct {
	addr    netip.AddrPort
	sampled kad.Tick
}

// sampleAddress asks the address probe for samples of the main socket.
func (e *Endpoint) sampleAddress() {
	s, p := e.Socket(), &e.sampling
	switch {
	case e.cfg.AddressProbe == nil || s == nil || e.closed || e.suspended || e.cfg.PublicAddr.IsValid():
		return
	case p.socket == s || p.asked && e.tick-p.at < sampleInterval:
		return
	}
	e.endSampling()
	p.socket, p.at, p.asked = s, e.tick, true
	p.cancel = e.cfg.AddressProbe(s,
		func(seen, from netip.AddrPort) { e.AddSample(s, seen, from) },
		func() { p.socket, p.cancel = nil, nil })
}

func (e *Endpoint) endSampling() {
	if e.sampling.cancel != nil {
		e.sampling.cancel()
	}
	e.sampling.socket, e.sampling.cancel = nil, nil
}

// AddSample takes the address that from, which need not be a DHT node, sees a socket at. Only the main socket's
// count.
func (e *Endpoint) AddSample(s host.Socket, seen, from netip.AddrPort) {
	if e.closed || e.suspended || s == nil || s != e.Socket() || !isUsable(seen) {
		return
	}
	e.suspectMove(seen.Addr()) // first: where samples are few, one that differs makes them say nothing
	if e.countsAgain(from) {
		e.sample(seen, from)
	}
}

// countsAgain reports whether a sample of a responder is due, and notes that it came.
func (e *Endpoint) countsAgain(from netip.AddrPort) bool {
	if n := e.table.Get(id.NodeIDOf(from)); n != nil {
		due := n.Sampled == 0 || e.tick-n.Sampled >= oldNode
		if due {
			n.Sampled = e.tick
		}
		return due
	}
	if slices.Contains(e.unnamed, from) {
		return false
	}
	p := &e.sampling
	if p.sampler != e.nat {
		p.sampler, p.responders = e.nat, p.responders[:0]
	}
	for i := range p.responders {
		if r := &p.responders[i]; r.addr == from {
			due := e.tick-r.sampled >= oldNode
			if due {
				r.sampled = e.tick
			}
			return due
		}
	}
	if len(p.responders) >= maxResponders {
		return false
	}
	p.responders = append(p.responders, responder{from, e.tick})
	return true
}

// counted reports whether a responder that is no known node has given its sample already.
func (e *Endpoint) counted(from netip.AddrPort) bool {
	p := &e.sampling
	return p.sampler == e.nat && slices.ContainsFunc(p.responders, func(r responder) bool {
		return r.addr == from && e.tick-r.sampled < oldNode
	})
}
