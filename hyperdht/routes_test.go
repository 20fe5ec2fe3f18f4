package hyperdht

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// routesLab is a Peering with routes alone, and a host to open sockets on.
type routesLab struct {
	t    *testing.T
	p    *peering
	net  *simnet.Net
	host *simnet.Host
	all  *stream.Table
}

func newRoutesLab(t *testing.T) *routesLab {
	net := simnet.New(simnet.Config{Seed: 1})
	h := net.AddHost("h", netip.MustParseAddr("100.128.0.1"))
	return &routesLab{
		t: t, net: net, host: h, p: &peering{host: h}, all: stream.NewTable(h, stream.Config{}),
	}
}

func (l *routesLab) socket() host.Socket {
	s, err := l.host.OpenSocket(netip.AddrPort{})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// connected is a stream over a socket to a port.
func (l *routesLab) connected(s host.Socket, port uint16) *stream.Stream {
	raw := l.all.New(nil)
	if err := raw.Connect(s, 1, netip.AddrPortFrom(netip.MustParseAddr("100.128.0.2"), port)); err != nil {
		l.t.Fatal(err)
	}
	return raw
}

// The first path to a peer is kept until its socket is closed.
func TestRoutesKeepTheFirstPath(t *testing.T) {
	l := newRoutesLab(t)
	first, second := l.socket(), l.socket()
	a, b := id.PublicKey{1}, id.PublicKey{2}
	l.p.routes.add(a, l.connected(first, 1))
	l.p.routes.add(a, l.connected(second, 2))
	l.p.routes.add(b, l.connected(second, 3))
	if r := l.p.routes[a]; r.sock != first || r.addr.Port() != 1 {
		t.Errorf("the second path has replaced the first: %+v", r)
	}
	l.p.routes.drop(first)
	if _, ok := l.p.routes[a]; ok {
		t.Error("a route over a closed socket is kept")
	}
	if r := l.p.routes[b]; r.sock != second {
		t.Error("a route over another socket is dropped")
	}
	l.p.routes.add(a, l.connected(second, 4))
	if r := l.p.routes[a]; r.sock != second || r.addr.Port() != 4 {
		t.Errorf("no new path is taken: %+v", r)
	}
	l.net.Run(time.Second)
}

func TestRoutesAreBounded(t *testing.T) {
	l := newRoutesLab(t)
	raw := l.connected(l.socket(), 1)
	for i := range maxRoutes + 10 {
		l.p.routes.add(id.PublicKey{byte(i), byte(i >> 8)}, raw)
	}
	if len(l.p.routes) != maxRoutes {
		t.Errorf("%d routes, %d are the most", len(l.p.routes), maxRoutes)
	}
}

// The relays of the keys that were dialled the longest ago are forgotten first.
func TestRelayCacheForgetsTheOldest(t *testing.T) {
	var cache relayCache
	key := func(i int) id.PublicKey { return id.PublicKey{byte(i), byte(i >> 8)} }
	at := func(i int) []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("100.128.0.2"), uint16(i))}
	}
	for i := range relayCacheSize + 10 {
		cache.put(key(i), at(i))
	}
	if len(cache.addrs) != relayCacheSize || len(cache.order) != relayCacheSize {
		t.Errorf("%d keys in %d places, %d are the most", len(cache.addrs), len(cache.order), relayCacheSize)
	}
	if cache.get(key(9)) != nil || cache.get(key(10)) == nil {
		t.Error("it is not the oldest that was forgotten")
	}
	cache.put(key(20), make([]netip.AddrPort, maxAddrs+5))
	if n := len(cache.get(key(20))); n != maxAddrs {
		t.Errorf("%d addresses of one key, %d are the most", n, maxAddrs)
	}
}
