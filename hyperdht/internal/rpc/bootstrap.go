package rpc

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Bootstrap names a node to enter the network by: an address, a name to look up, or both. With both the
// address is tried first and the name looked up if it does not answer.
type Bootstrap struct {
	Addr netip.Addr // invalid if only the name is known
	Name string
	Port uint16
}

// BootstrapAddr is the bootstrap node at an address.
func BootstrapAddr(addr netip.AddrPort) Bootstrap {
	return Bootstrap{Addr: addr.Addr().Unmap(), Port: addr.Port()}
}

// ParseBootstrap reads host:port, ip@host:port or a bare port on the loopback (dht-rpc index.js). Its errors quote the
// beginning of a text only, since text may be long, and a quote is longer still.
func ParseBootstrap(text string) (Bootstrap, error) {
	host, portText, found := strings.Cut(text, ":")
	if !found {
		host, portText = "127.0.0.1", text
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Bootstrap{}, fmt.Errorf("rpc: bootstrap node %.80q: want host:port or ip@host:port", text)
	}
	b := Bootstrap{Name: host, Port: uint16(port)}
	if suggested, name, both := strings.Cut(host, "@"); both {
		b.Name = name
		if b.Addr, err = netip.ParseAddr(suggested); err != nil || !b.Addr.Is4() {
			return Bootstrap{}, fmt.Errorf("rpc: bootstrap node %.80q: %.80q is not an IPv4 address", text, suggested)
		}
	}
	if addr, err := netip.ParseAddr(b.Name); err == nil && addr.Is4() && !b.Addr.IsValid() {
		b.Addr, b.Name = addr, ""
	}
	if b.Name == "" && !b.Addr.IsValid() {
		return Bootstrap{}, fmt.Errorf("rpc: bootstrap node %.80q has no host", text)
	}
	return b, nil
}

// String is the form ParseBootstrap reads.
func (b Bootstrap) String() string {
	port := ":" + strconv.Itoa(int(b.Port))
	switch {
	case b.Name == "":
		return b.Addr.String() + port
	case b.Addr.IsValid():
		return b.Addr.String() + "@" + b.Name + port
	}
	return b.Name + port
}

// resolve finds the addresses of the bootstrap nodes. It calls each for those that are found and done
// at the end; for nodes that are given by address alone it does so before it returns.
//
// The reference implementation resolves one after the other and starts nothing meanwhile. Here all are tried at once, so
// that one dead node does not hold up the others for four seconds.
func (e *Endpoint) resolve(s *CallGroup, each func(netip.AddrPort), done func()) {
	lookups := host.NewJoin(done)
	begun := lookups.Add()
	for _, b := range e.cfg.Bootstrap {
		if b.Name == "" {
			each(netip.AddrPortFrom(b.Addr, b.Port))
			continue
		}
		settle := lookups.Add()
		if !b.Addr.IsValid() {
			e.lookup(b, each, settle)
			continue
		}
		suggested := netip.AddrPortFrom(b.Addr, b.Port)
		e.Ping(suggested, nil, s, func(_ Reply, err error) {
			switch err {
			case nil:
				each(suggested)
			case ErrTimeout:
				e.lookup(b, each, settle)
				return
			}
			settle()
		})
	}
	begun()
}

func (e *Endpoint) lookup(b Bootstrap, each func(netip.AddrPort), settle func()) {
	e.h.LookupHost(b.Name, func(addrs []netip.Addr, err error) {
		for _, a := range addrs {
			if a = a.Unmap(); err == nil && a.Is4() && !e.Closed() {
				each(netip.AddrPortFrom(a, b.Port))
				break
			}
		}
		settle()
	})
}

// start enters the network (dht-rpc index.js, _bootstrap): a lookup of our own id, and where it may
// succeed a change of the network state and a second lookup under the new one.
func (e *Endpoint) start() {
	if e.Closed() {
		return
	}
	if e.offline() {
		e.unheard()
	}
	e.sampleAddress()
	e.bootstrapRound(bootstrapRound{quick: e.Firewalled() && !e.cfg.NoQuickFirewall && !e.standing.forced})
}

// bootstrapRound is a lookup of our own id.
type bootstrapRound struct {
	second  bool
	quick   bool // the first node that answers is asked whether we are reachable
	testNAT bool // we are, as far as it has seen
}

func (e *Endpoint) bootstrapRound(round bootstrapRound) {
	onReply := func(r *Reply) {
		if !round.quick {
			return
		}
		// One positive answer before the lookup ends is reason enough for the whole probe.
		round.quick = false
		e.pingNAT(r.From, e.serverPort(), func(_ Reply, err error) {
			if err == nil {
				round.testNAT = true
			}
		})
	}
	e.background(id.Target(e.TableID()), onReply, func(error) {
		if e.Closed() || e.bootstrapped {
			return
		}
		if !round.testNAT && !e.standing.forced {
			e.ready()
			return
		}
		e.updateState(goal(e.standing.forced), func(changed bool) {
			if changed && !round.second {
				round.second = true
				e.bootstrapRound(round)
				return
			}
			e.ready()
		})
	})
}

func (e *Endpoint) ready() {
	if e.Closed() || e.bootstrapped {
		return
	}
	e.bootstrapped = true
	if len(e.nodes.known) > 0 && len(e.cfg.Bootstrap) > 0 && !e.rejoin.met {
		e.rejoin.unmet, e.rejoin.ticks = true, 0
		e.rejoinTick()
	}
	e.nodes.known = nil
	e.judgeReach()
	e.tell(Event{Kind: EventReady})
	waiting := e.whenBootstrapped
	e.whenBootstrapped = nil
	for _, f := range waiting {
		f()
	}
}
