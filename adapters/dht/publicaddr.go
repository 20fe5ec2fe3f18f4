package dht

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// publicAddress keeps the node's configured public address: a name is resolved at the start and then again and again, since a provider
// may give the machine another address.
type publicAddress struct {
	transport *Transport
	addr      domain.Address
	literal   netip.Addr     // invalid for a name
	known     netip.AddrPort // as it was last resolved; invalid before
	own       bool           // it was an address of this machine
	withdrawn bool           // since it is no more
	timer     host.Timer     // nil for a literal address
	hurry     int            // lookups that follow soon, since the machine has moved
	failed    bool           // the last lookup
	waiting   []func()       // run once the address leads here and no DHT node answers
}

// newPublicAddress sets the public address of a transport's node; nil for none.
func newPublicAddress(t *Transport, addr domain.Address) *publicAddress {
	if addr.IsZero() {
		return nil
	}
	p := &publicAddress{transport: t, addr: addr}
	if ip, err := netip.ParseAddr(addr.Host); err == nil {
		p.literal = ip
		p.set(ip)
	} else {
		p.timer = t.host.AfterFunc(publicAddrEvery, p.resolve)
		p.resolve()
	}
	return p
}

func (p *publicAddress) resolve() {
	if p.transport.closing {
		return
	}
	every := publicAddrEvery
	if p.hurry > 0 {
		p.hurry--
		every = publicAddrRetry
	}
	p.timer.Reset(every)
	p.transport.host.LookupHost(p.addr.Host, func(addrs []netip.Addr, err error) {
		if p.transport.closing {
			return
		}
		for _, a := range addrs {
			if a = a.Unmap(); a.Is4() && !a.IsUnspecified() {
				p.failed = false
				p.set(a)
				return
			}
		}
		if err == nil {
			err = hyperdht.ErrNoAddress
		}
		p.report(err)
	})
}

// report reports the first failure of several. The address that was found before stays.
func (p *publicAddress) report(err error) {
	if p.known.IsValid() {
		return
	}
	p.timer.Reset(publicAddrRetry)
	if f := p.transport.cfg.OnUnresolved; f != nil && !p.failed {
		f(fmt.Errorf("resolve %s: %w", p.addr.Host, err))
	}
	p.failed = true
}

// moved is called when the machine may have moved.
func (p *publicAddress) moved() {
	switch {
	case p == nil:
	case p.literal.IsValid():
		p.set(p.literal)
	default:
		p.hurry = publicAddrHurry
		p.resolve()
	}
}

// set sets the address. It withdraws one that was of this machine, and is no more.
func (p *publicAddress) set(ip netip.Addr) {
	to := netip.AddrPortFrom(ip, p.addr.Port)
	own := slices.Contains(p.transport.host.Addrs(), ip)
	if p.own && !own && ip == p.known.Addr() {
		to = netip.AddrPort{}
	}
	if err := p.transport.node.SetPublicAddr(to); err != nil {
		p.report(err)
		return
	}
	if p.withdrawn = !to.IsValid(); !p.withdrawn {
		p.own = own
		p.known = to
		p.check()
	}
}

// whenAlone calls f once clients reach this node by its address only: no DHT node answers, and the machine has a network.
func (p *publicAddress) whenAlone(f func()) {
	if p != nil {
		p.waiting = append(p.waiting, f)
		p.transport.host.Post(p.check)
	}
}

// check runs what waits, if it is time.
func (p *publicAddress) check() {
	if !p.current().IsValid() || !p.transport.node.Status().Silent || len(p.transport.host.Addrs()) == 0 {
		return
	}
	waiting := p.waiting
	p.waiting = nil
	for _, f := range waiting {
		f()
	}
}

func (p *publicAddress) stop() {
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
}

// current is the address as it was resolved last; invalid if there is none.
func (p *publicAddress) current() netip.AddrPort {
	if p == nil || p.withdrawn {
		return netip.AddrPort{}
	}
	return p.known
}
