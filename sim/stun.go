package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/ports/host"
)

var stunScenario = &Scenario{
	Name:  "stun",
	About: "a DHT of one node, too few to tell a NAT by: STUN servers do, one of them goes away, one tells false addresses, and all are off for a while",
	Nodes: 1, Clients: 6, For: 10 * time.Minute,
	Least: Least{Nodes: 1, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		servers := []*stunServer{w.addSTUNServer("stun-0"), w.addSTUNServer("stun-1"), w.addSTUNServer("stun-2")}
		s := w.addScraper("scraper", scraperSetup{at: home})
		w.populateAt(s, w.opts.Clients, setting{clients: []place{home, behind(simnet.Masquerade()), behind(simnet.RestrictedCone())}}, clientSetup{})
		w.run(2 * time.Minute)
		w.knowsItsAddress(s.machine)

		w.phase("one of the servers is off, and routers have other addresses")
		servers[0].host.Crash()
		w.moveRouters(s)
		w.mustHeal(healWithin)
		servers[0].start()

		w.phase("one of the servers tells false addresses, and routers have other addresses")
		servers[1].lies = true
		w.moveRouters(s)
		w.mustHeal(healWithin)
		w.run(2 * time.Minute)
		w.knowsItsAddress(s.machine)
		servers[1].lies = false

		w.phase("all servers are off for %v: connected clients are scraped", w.opts.For)
		for _, server := range servers {
			server.host.Crash()
		}
		failed, scraped := 0, 0
		stop := w.scraping(s, func(err error) {
			scraped++
			if err != nil {
				failed++
			}
		})
		w.run(w.opts.For)
		stop()
		w.run(scrapeWithin + scrapeMargin)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes fail while the STUN servers are off", failed, scraped)
		w.phase("with the servers new clients come, too")
		for _, server := range servers {
			server.start()
		}
		w.moveRouters(s)
		w.addClient(s, clientSetup{at: home})
		w.mustHeal(startWithin)
		asked := uint64(0)
		for _, server := range servers {
			asked += server.answered
		}
		w.result.row("answers of STUN servers", "%d", asked)
	},
}

// moveRouters gives the routers of a scraper and of its first client other public addresses.
func (w *World) moveRouters(s *scraper) {
	for _, m := range []*machine{s.machine, w.clients[0].machine} {
		if m.router != nil {
			m.router.SetAddr(w.addrs.newPublic())
			w.stirs(m)
		}
	}
}

// knowsItsAddress demands that a machine behind a router reports the router's address, or none.
func (w *World) knowsItsAddress(m *machine) {
	if at := m.node.Status().Public; at.IsValid() && at.Addr() != m.router.Addr() {
		w.fail("outcome", "%s reports the address %v, but has %v", m.name, at, m.router.Addr())
	}
}

// stunServer is a machine that only answers STUN requests.
type stunServer struct {
	host     *simnet.Host
	lies     bool
	answered uint64
}

// addSTUNServer starts a server that all machines booted from now on ask.
func (w *World) addSTUNServer(name string) *stunServer {
	v := &stunServer{host: w.net.Internet().AddHost(name, w.addrs.newPublic())}
	w.stun = append(w.stun, fmt.Sprintf("%v:%d", v.host.Addr(), stunPort))
	v.open()
	return v
}

// stunPort is the port of STUN servers.
const stunPort = 3478

// start boots the machine again.
func (ss *stunServer) start() {
	ss.host = ss.host.Restart()
	ss.open()
}

func (ss *stunServer) open() {
	ss.host.Do(func() {
		r := stun.NewResponder(ss.host, stun.ResponderConfig{})
		var sockets [2]host.Socket
		for i := range sockets {
			s, err := ss.host.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(stunPort+i)))
			if err != nil {
				panic(fmt.Sprintf("sim: a STUN server: %v", err))
			}
			sockets[i] = &stunSocket{Socket: s, server: ss}
			s.OnReceive(func(from netip.AddrPort, b []byte) { sockets[i].(*stunSocket).receive(r, from, b) })
		}
		r.Bind(sockets[0], sockets[1])
	})
}

// stunSocket is a socket of a server that may lie.
type stunSocket struct {
	host.Socket
	server *stunServer
	asker  netip.AddrPort // the source of the request being answered
}

// receive answers a request. A lying server answers as if it had come from elsewhere.
func (s *stunSocket) receive(r *stun.Responder, from netip.AddrPort, b []byte) {
	s.server.answered++
	s.asker = from
	if s.server.lies {
		from = netip.AddrPortFrom(nowhere, from.Port())
	}
	r.Receive(s, from, b)
}

// Send sends to the source of the request, whatever address the answer is for.
func (s *stunSocket) Send(_ netip.AddrPort, ttl int, b []byte) { s.Socket.Send(s.asker, ttl, b) }

// nowhere is an unused address.
var nowhere = netip.MustParseAddr("20.255.255.7")
