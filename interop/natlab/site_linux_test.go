package natlab

import (
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/interop/netns"
)

// mapping is the behaviour of a peer's routers towards its address.
type mapping int

const (
	open       mapping = iota // reachable from everywhere
	consistent                // the same for all remotes
	random                    // another one for each remote
)

// kind is a kind of site, with its routers from the core inwards, each by its postrouting statement. A router without one
// is a firewall.
type kind struct {
	name    string
	mapping mapping
	routers []string
}

const (
	firewall    = ``
	masquerade  = `oifname "wan" masquerade`
	randomPorts = `oifname "wan" masquerade random`
	fullyRandom = `oifname "wan" masquerade fully-random`
)

// Linux's masquerade keeps the port of the inside socket whenever it can: such a NAT is consistent.
var (
	openKind         = kind{"open", open, nil}
	firewallKind     = kind{"firewall", consistent, []string{firewall}}
	masqueradeKind   = kind{"masquerade", consistent, []string{masquerade}}
	doubleKind       = kind{"double NAT", consistent, []string{masquerade, masquerade}}
	randomKind       = kind{"random", random, []string{randomPorts}}
	fullyRandomKind  = kind{"fully random", random, []string{fullyRandom}}
	doubleRandomKind = kind{"NAT in a random one", random, []string{fullyRandom, masquerade}}
)

var kinds = []kind{openKind, firewallKind, masqueradeKind, doubleKind, randomKind, fullyRandomKind, doubleRandomKind}

// host is the machine of a peer.
type host struct {
	namespace
	addr    netip.Addr
	mapping mapping
	edge    *router // the outermost router; nil for none
}

// router is a router of a site.
type router struct {
	namespace
	lab    *world
	lan    netip.Prefix
	ports  int
	cable  string     // in the core; empty for an inner router
	public netip.Addr // on the core
}

// lans are the networks behind routers, by depth. Homes all have the same one, as real homes do.
var (
	homeLAN    = netip.MustParsePrefix("192.168.1.0/24")
	carrierLAN = netip.MustParsePrefix("100.64.0.0/24")
)

// first is a router's address in its LAN, host number i the (10+i)th.
func inLAN(p netip.Prefix, i byte) netip.Addr {
	a := p.Addr().As4()
	a[3] += i
	return netip.AddrFrom4(a)
}

// plugCore connects a namespace with the core, under a public address of its own, and returns the name of the cable there.
func (l *lab) plugCore(n namespace, addr netip.Addr) (cable string) {
	l.t.Helper()
	cable = fmt.Sprint("cable", l.cables.Add(1))
	if l.line == (netns.Link{}) {
		l.must(l.core.ip("link add " + cable + " type veth peer name wan netns " + string(n)))
	} else {
		w, err := netns.NewWire(netns.End{Namespace: string(l.core), Device: cable}, netns.End{Namespace: string(n), Device: "wan"}, l.line)
		l.must(err)
		l.t.Cleanup(w.Close)
		l.wires.Store(n, w)
	}
	l.must(l.core.ip("link set " + cable + " up"))
	l.must(n.ip("link set wan up\naddr add " + addr.String() + "/32 dev wan\nroute add " + coreAddr + " dev wan\nroute add default via " + coreAddr))
	l.must(l.core.ip("route add " + addr.String() + " dev " + cable))
	return cable
}

// publicAddr returns the address of a new site.
func (w *world) publicAddr() netip.Addr {
	i := w.sites.Add(1)
	return netip.AddrFrom4([4]byte{82, byte(i >> 8), byte(i), 1})
}

// router creates a router connected to another one, or to the core.
func (l *lab) router(name, post string, up *router, lan netip.Prefix) *router {
	l.t.Helper()
	r := &router{namespace: l.namespace(name), lab: l.world, lan: lan}
	l.must(r.ip("link add lan type bridge\nlink set lan up"))
	if up == nil {
		r.public = l.publicAddr()
		r.cable = l.plugCore(r.namespace, r.public)
		if post == firewall { // the addresses behind it are public, too
			a := r.public.As4()
			a[3] = 128
			r.lan = netip.PrefixFrom(netip.AddrFrom4(a), 25)
			l.must(l.core.ip("route add " + r.lan.String() + " via " + r.public.String() + " dev " + r.cable))
		}
	} else {
		l.plugLAN(up, r.namespace, "wan")
	}
	l.must(r.ip(fmt.Sprintf("addr add %s/%d dev lan", inLAN(r.lan, 1), r.lan.Bits())))
	l.forwards(r.namespace)
	l.must(r.run(netns.Ruleset(`iifname "lan" accept; ct state established,related accept;`, post), "nft", "-f", "-"))
	return r
}

// plugLAN connects a namespace with a router's LAN, and makes that its default route.
func (l *lab) plugLAN(r *router, n namespace, device string) netip.Addr {
	l.t.Helper()
	addr := l.plug(r, n, device)
	l.must(n.ip("route add default via " + inLAN(r.lan, 1).String()))
	return addr
}

// plugSecond connects a namespace that has another default route with a router's LAN.
func (l *lab) plugSecond(r *router, n namespace) { l.plug(r, n, "second") }

func (l *lab) plug(r *router, n namespace, device string) netip.Addr {
	l.t.Helper()
	r.ports++
	addr, port := inLAN(r.lan, byte(9+r.ports)), fmt.Sprint("port", r.ports)
	l.must(r.ip("link add " + port + " type veth peer name " + device + " netns " + string(n) + "\nlink set " + port + " master lan up"))
	l.must(n.ip(fmt.Sprintf("link set %s up\naddr add %s/%d dev %s", device, addr, r.lan.Bits(), device)))
	return addr
}

// host creates a host behind a router.
func (l *lab) host(name string, r *router) host {
	l.t.Helper()
	h := host{namespace: l.namespace(name), mapping: consistent}
	h.addr = l.plugLAN(r, h.namespace, "eth")
	return h
}

// neighbourhood names sites that are removed with the test.
func (l *lab) neighbourhood() string {
	l.t.Helper()
	name := fmt.Sprint("n", l.neighbourhoods.Add(1))
	l.t.Cleanup(func() {
		if err := sweep(l.prefix + name + "-"); err != nil {
			l.t.Error(err)
		}
	})
	return name
}

// site creates a host of a kind.
func (l *lab) site(name string, k kind) host {
	l.t.Helper()
	if len(k.routers) == 0 {
		h := host{namespace: l.namespace(name), addr: l.publicAddr(), mapping: open}
		l.plugCore(h.namespace, h.addr)
		return h
	}
	var edge, r *router
	for i, post := range k.routers {
		lan := homeLAN
		if i < len(k.routers)-1 {
			lan = carrierLAN
		}
		r = l.router(fmt.Sprintf("%s-r%d", name, i), post, r, lan)
		if edge == nil {
			edge = r
		}
	}
	h := l.host(name, r)
	h.mapping, h.edge = k.mapping, edge
	return h
}

// lan creates two hosts behind one router.
func (l *lab) lan(name string) (a, b host) {
	l.t.Helper()
	r := l.router(name+"-r", masquerade, nil, homeLAN)
	a, b = l.host(name+"-a", r), l.host(name+"-b", r)
	a.edge, b.edge = r, r
	return a, b
}

// guestLAN is lan where the hosts cannot reach each other, as guests of a hotel.
func (l *lab) guestLAN(name string) (a, b host) {
	l.t.Helper()
	a, b = l.lan(name)
	l.must(a.edge.run("", "bridge", "link", "set", "dev", "port1", "isolated", "on"))
	l.must(a.edge.run("", "bridge", "link", "set", "dev", "port2", "isolated", "on"))
	return a, b
}

// oneCarrier creates two customers of one carrier-grade NAT, each with a router at home.
func (l *lab) oneCarrier(name string) (a, b host) {
	l.t.Helper()
	carrier := l.router(name+"-c", masquerade, nil, carrierLAN)
	left := l.router(name+"-ra", masquerade, carrier, homeLAN)
	right := l.router(name+"-rb", masquerade, carrier, homeLAN)
	right.ports++ // two homes, two numbers
	a, b = l.host(name+"-a", left), l.host(name+"-b", right)
	a.edge, b.edge = carrier, carrier
	return a, b
}

// move gives the router another public address without notice, as carriers do at night.
func (r *router) move() error {
	old, next := r.public, r.lab.publicAddr()
	if err := r.ip(fmt.Sprintf("addr add %s/32 dev wan\naddr del %s/32 dev wan", next, old)); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.public = next
	return r.lab.core.ip(fmt.Sprintf("route del %s\nroute add %s dev %s", old, next, r.cable))
}
