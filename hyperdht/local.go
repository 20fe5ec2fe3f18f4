package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// localAddrs lists this machine's own addresses with the server socket's port: what a peer on the same
// network can dial (hyperdht lib/holepuncher.js, localAddresses).
func (p *peering) localAddrs() []netip.AddrPort {
	socket := p.rpc.ServerSocket()
	if socket == nil {
		return nil // suspended: nothing can be dialled here
	}
	if p.limits.OneAddress {
		return nil // its address is that of a server, which others use, too
	}
	bound := socket.LocalAddr()
	if bound.Addr() == loopback {
		return []netip.AddrPort{bound}
	}
	var addrs []netip.AddrPort
	for _, a := range p.host.Addrs() {
		addrs = append(addrs, netip.AddrPortFrom(a, bound.Port()))
	}
	if len(addrs) == 0 {
		addrs = append(addrs, netip.AddrPortFrom(loopback, bound.Port()))
	}
	return addrs
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// localValidator remembers which of our own addresses a datagram to ourselves gets through on. Servers
// offer only those (hyperdht index.js, validateLocalAddresses).
type localValidator struct {
	p       *peering
	verdict map[netip.Addr]validity
	waiting map[netip.Addr][]func()
}

type validity bool

const (
	valid   validity = true
	invalid validity = false
)

func newLocalValidator(p *peering) *localValidator {
	return &localValidator{p: p, verdict: make(map[netip.Addr]validity), waiting: make(map[netip.Addr][]func())}
}

// validated calls done with those of the node's local addresses that work, now if all are known already.
func (v *localValidator) validated(done func([]netip.AddrPort)) {
	addrs := v.p.localAddrs()
	checks := host.NewJoin(func() {
		var good []netip.AddrPort
		for _, a := range addrs {
			if v.verdict[a.Addr()] {
				good = append(good, a)
			}
		}
		done(good)
	})
	begun := checks.Add()
	for _, a := range addrs {
		if _, known := v.verdict[a.Addr()]; !known {
			v.check(a.Addr(), checks.Add())
		}
	}
	begun()
}

// check sends one byte from a fresh socket to itself.
func (v *localValidator) check(a netip.Addr, done func()) {
	first := len(v.waiting[a]) == 0
	v.waiting[a] = append(v.waiting[a], done)
	if !first {
		return
	}
	sock, err := v.p.host.OpenSocket(netip.AddrPortFrom(a, 0))
	if err != nil {
		v.p.host.Defer(func() { v.settle(a, invalid) })
		return
	}
	var timer host.Timer
	finish := func(ok validity) {
		timer.Stop()
		sock.Close()
		v.settle(a, ok)
	}
	timer = v.p.host.AfterFunc(localValidation, func() { finish(invalid) })
	sock.OnReceive(func(from netip.AddrPort, _ []byte) {
		if from == sock.LocalAddr() {
			finish(valid)
		}
	})
	sock.Send(sock.LocalAddr(), host.DefaultTTL, []byte{0})
}

func (v *localValidator) settle(a netip.Addr, ok validity) {
	if _, known := v.verdict[a]; known {
		return
	}
	v.verdict[a] = ok
	waiting := v.waiting[a]
	delete(v.waiting, a)
	for _, f := range waiting {
		f()
	}
}
