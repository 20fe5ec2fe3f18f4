package dht

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// PortMapping decides when the router is asked for a mapping of the node's port.
type PortMapping uint8

const (
	// MapAuto asks if the NAT gives each remote end another port, or two punches have failed, or the NAT cannot be classified.
	MapAuto PortMapping = iota
	// MapAlways asks whenever the node is behind a NAT or firewall.
	MapAlways
	// MapNever does not ask.
	MapNever
)

// PortMapper keeps one mapping at the router; see adapters/portmap. It is used on the loop.
type PortMapper interface {
	// Start asks for a mapping, and Stop releases it.
	Start()
	Stop()
	// Check asks the router at once, after signs of a change.
	Check()
	// Status describes the mapping. State and the problems of verification are not the mapper's.
	Status() ports.PortMapping
	// Close releases the mapping, and calls done soon.
	Close(done func())
}

// portMapping makes a node reachable by a mapping at the router. A mapping counts only once DHT nodes have reached the node's server
// socket through it, because some routers grant mappings and forward nothing, and others are behind a NAT themselves.
type portMapping struct {
	transport *Transport
	mapper    PortMapper
	timer     host.Timer
	wait      time.Duration // to the next decision
	since     host.Instant  // of the start
	started   bool
	external  netip.AddrPort // that the router has mapped
	tries     int            // to verify it
	verified  bool
	useless   bool   // verification has failed
	won, lost uint64 // verifications
	closed    bool   // the mapper is
}

func newPortMapping(t *Transport) *portMapping {
	local := t.node.Status().Local
	if t.cfg.NewMapper == nil || t.cfg.PortMapping == MapNever || !t.cfg.PublicAddress.IsZero() || !local.IsValid() {
		return nil
	}
	m := &portMapping{transport: t, wait: mappingFirst, since: t.host.Now()}
	m.mapper = t.cfg.NewMapper(local.Port(), m.mapped)
	m.timer = t.host.AfterFunc(m.wait, m.decide)
	return m
}

// decide starts the mapper if the node needs a mapping, and otherwise decides again later.
func (m *portMapping) decide() {
	if m.transport.closing || m.started {
		return
	}
	if m.needed() {
		m.started, m.useless = true, false
		m.mapper.Start()
		return
	}
	m.wait = min(2*m.wait, mappingEvery)
	m.timer.Reset(m.wait)
}

func (m *portMapping) needed() bool {
	s := m.transport.node.Status()
	if !s.Ready || !s.Firewalled || s.Silent {
		return false
	}
	if m.transport.cfg.PortMapping == MapAlways {
		return true
	}
	p := s.Peering
	unknown := !s.Public.IsValid() && m.transport.host.Now().Sub(m.since) >= mappingPatience
	return unknown || s.Public.IsValid() && s.Public.Port() == 0 || p.PunchesConsistentLost+p.PunchesRandomLost >= mappingLosses
}

// mapped is called with what the router has mapped, or the zero address when that is lost.
func (m *portMapping) mapped(external netip.AddrPort) {
	m.withdraw()
	m.external, m.tries = external, 0
	if external.IsValid() {
		m.verify()
	}
}

// withdraw returns the node to punching. Connections stay open.
func (m *portMapping) withdraw() {
	if m.verified {
		m.verified = false
		m.set(netip.AddrPort{})
	}
}

// set sets the node's address, which is that of no configuration: it cannot fail for an address of the internet.
func (m *portMapping) set(addr netip.AddrPort) bool {
	return m.transport.node.SetPublicAddr(addr) == nil
}

func (m *portMapping) verify() {
	external := m.external
	m.tries++
	m.transport.node.VerifyPublicAddr(external, func(reached bool) {
		switch {
		case m.transport.closing || m.external != external || m.verified:
		case reached:
			m.won++
			m.verified = m.set(external)
		case m.tries < mappingTries || m.transport.node.Status().Silent:
			m.timer = m.transport.host.AfterFunc(mappingRetry, func() {
				if m.external == external && !m.verified && !m.transport.closing {
					m.verify()
				}
			})
		default:
			m.fail()
		}
	})
}

// fail releases a mapping that forwards nothing.
func (m *portMapping) fail() {
	m.lost++
	m.external, m.useless = netip.AddrPort{}, true
	m.mapper.Stop()
	m.started, m.wait = false, mappingEvery
	m.timer.Stop()
	m.timer = m.transport.host.AfterFunc(mappingRest, m.decide)
}

// moved is called when the machine or its network may have changed.
func (m *portMapping) moved() {
	if m != nil && !m.transport.closing && m.started {
		m.mapper.Check()
	}
}

// close releases the mapping, and calls done when the router has answered, within half a second.
func (m *portMapping) close(done func()) {
	if m == nil {
		return
	}
	m.timer.Stop()
	m.mapper.Close(func() {
		m.closed = true
		done()
	})
}

// released reports whether the close does not wait for the router.
func (m *portMapping) released() bool { return m == nil || m.closed }

func (m *portMapping) status() ports.PortMapping {
	if m == nil {
		return ports.PortMapping{}
	}
	s := m.mapper.Status()
	switch {
	case m.useless:
		s.State, s.Problem = "failed", "the router has mapped the port, but nothing arrives there"
	case !m.started:
	case m.verified:
		s.State = "active"
	case m.external.IsValid():
		s.State = "verifying"
	case s.Problem != "":
		s.State = "failed"
	default:
		s.State = "asking"
	}
	return s
}

func (m *portMapping) counters() []ports.Counter {
	var won, lost uint64
	if m != nil {
		won, lost = m.won, m.lost
	}
	counter := func(result string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "port_mappings", Help: "Mappings of the node's port at the router, by whether DHT nodes reached the node there.", Value: n,
			Labels: []ports.Label{{Name: "result", Value: result}},
		}
	}
	return []ports.Counter{counter("reached", won), counter("unreached", lost)}
}
