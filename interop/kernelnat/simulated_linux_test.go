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
	sockets map[end]host.Socket
	got     []arrival
}

const internet = "198.18.0.0/16"

func simulate(t topology) *simulated {
	// In namespaces there is no router between public hosts.
	w := &simulated{net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Hops: 1}}), hosts: map[string]*simnet.Host{}, sockets: map[end]host.Socket{}}
	segments := map[string]*simnet.Segment{internet: w.net.Internet()}
	for _, j := range t.joints {
		var addr netip.Addr
		if j.kind.nat.Mapping != simnet.Never {
			addr = netip.MustParseAddr(j.addr)
		}
		segments[j.lan] = segments[j.uplink].AddRouter(j.name, j.kind.nat, addr).LAN()
	}
	for _, p := range t.places {
		w.hosts[p.name] = segments[p.segment].AddHost(p.name, netip.MustParseAddr(p.addr))
	}
	return w
}

func (w *simulated) open(e end) {
	s, err := w.hosts[e.machine].OpenSocket(netip.AddrPortFrom(netip.Addr{}, e.port))
	if err != nil {
		panic(err)
	}
	s.OnReceive(func(from netip.AddrPort, _ []byte) { w.got = append(w.got, arrival{e, from}) })
	w.sockets[e] = s
}

func (w *simulated) send(from end, to netip.AddrPort, ttl int, _ time.Duration) (arrival, bool) {
	w.got = nil
	w.sockets[from].Send(to, ttl, []byte("x"))
	w.net.Run(time.Second)
	if len(w.got) == 0 {
		return arrival{}, false
	}
	return w.got[0], true
}
