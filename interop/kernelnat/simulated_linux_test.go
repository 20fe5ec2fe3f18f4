package kernelnat

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// simulated is a world on simnet.
type simulated struct {
	net     *simnet.Net
	hosts   map[string]*simnet.Host
	routers map[string]*simnet.Router
	began   time.Duration // when until was first called
	timed   bool
	sockets map[end]host.Socket
	got     []arrival
}

const internet = "198.18.0.0/16"

func simulate(t topology) *simulated {
	// In namespaces there is no router between public hosts.
	w := &simulated{net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Hops: 1}}), hosts: map[string]*simnet.Host{}, routers: map[string]*simnet.Router{}, sockets: map[end]host.Socket{}}
	segments := map[string]*simnet.Segment{internet: w.net.Internet()}
	for _, j := range t.joints {
		var addr netip.Addr
		if j.kind.nat.Mapping != simnet.Never {
			addr = netip.MustParseAddr(j.addr)
		}
		r := segments[j.uplink].AddRouter(j.name, j.kind.nat, addr)
		w.routers[j.name], segments[j.lan] = r, r.LAN()
	}
	for _, p := range t.places {
		w.hosts[p.name] = segments[p.segment].AddHost(p.name, netip.MustParseAddr(p.addr))
	}
	return w
}

func (sm *simulated) open(e end) {
	s, err := sm.hosts[e.machine].OpenSocket(netip.AddrPortFrom(netip.Addr{}, e.port))
	if err != nil {
		panic(err)
	}
	s.OnReceive(func(from netip.AddrPort, _ []byte) { sm.got = append(sm.got, arrival{e, from}) })
	sm.sockets[e] = s
}

func (sm *simulated) send(from end, to netip.AddrPort, ttl int, _ time.Duration) (arrival, bool) {
	sm.got = nil
	sm.sockets[from].Send(to, ttl, []byte("x"))
	sm.net.Run(10 * time.Millisecond) // no segment takes a tenth of that
	if len(sm.got) == 0 {
		return arrival{}, false
	}
	return sm.got[0], true
}

func (sm *simulated) until(d time.Duration) {
	if !sm.timed {
		sm.timed, sm.began = true, sm.net.Now()
	}
	sm.net.Run(max(sm.began+d-sm.net.Now(), 0))
}

func (sm *simulated) forget(router string) { sm.routers[router].Reboot(simnet.Reboot{}) }

func (sm *simulated) renumber(router string, _, to netip.Prefix) {
	sm.routers[router].SetAddr(to.Addr())
}
