package doctor

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/portmap"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// PortMapping is the answer of this machine's router to the request to map a UDP port (PCP or NAT-PMP). The mapping is released at the end of the
// examination.
type PortMapping struct {
	Router   netip.Addr     `json:"router"`
	Protocol string         `json:"protocol,omitempty"` // that it answers by
	OK       bool           `json:"ok"`
	External netip.AddrPort `json:"external_address,omitzero"`
	Lifetime Seconds        `json:"lifetime_seconds,omitzero"`
	// Problem explains why there is no mapping.
	Problem string `json:"problem,omitempty"`

	private bool // the router is behind a NAT itself
}

// mayMap reports whether the router is asked: there is a NAT, and the configuration allows it.
func (ex *examination) mayMap() bool {
	g, can := ex.host.Host.(host.Gateway)
	if !can {
		return false
	}
	_, _, known := g.Gateway()
	return known && ex.cfg.Node.PortMapping != dhtprom.MapNever && ex.report.translated()
}

// askRouter asks the router for a mapping.
func (ex *examination) askRouter(done func()) {
	ex.mapper = portmap.New(ex.host.Host, portmap.Config{Port: ex.node.Status().Local.Port()})
	ex.mapper.Start()
	began := ex.host.Now()
	var look func()
	look = func() {
		s := ex.mapper.Status()
		if s.Router.IsValid() && s.Problem == "" && !s.External.IsValid() && ex.host.Now().Sub(began) < mappingPatience {
			ex.host.AfterFunc(mappingLook, look)
			return
		}
		ex.report.mapping(&s)
		done()
	}
	look()
}

// translated reports whether this machine is behind a NAT, towards the internet.
func (r *Report) translated() bool {
	a := r.NAT.Public.Addr()
	return r.NAT.kind != hyperdht.NATOpen && a.IsGlobalUnicast() && !a.IsPrivate() && !slices.Contains(r.Machine.Addrs, a)
}

// mapping adds the router's answer. A router that is not known is left out.
func (r *Report) mapping(s *portmap.Status) {
	if !s.Router.IsValid() {
		return
	}
	m := &PortMapping{
		Router: s.Router, Protocol: string(s.Protocol), OK: s.External.IsValid(), External: s.External, Lifetime: Seconds(s.Lifetime),
		Problem: s.Problem, private: s.Private.IsValid(),
	}
	if !m.OK && m.Problem == "" {
		m.Problem = "the router does not answer to PCP or NAT-PMP"
	}
	r.PortMapping = m
}

func (r *Report) writePortMapping(p *page) {
	m := r.PortMapping
	if m == nil {
		return
	}
	p.heading("Port mapping")
	switch {
	case m.OK:
		p.line(good, "the router, %v, maps a UDP port of this machine to %v for %v (%s)", m.Router, m.External, time.Duration(m.Lifetime), m.Protocol)
		p.line("", "  where hole punching fails, or with --dht.port-mapping=always, peers reach this machine directly")
	case m.private:
		p.line(bad, "%s, so %v cannot make this machine reachable", m.Problem, m.Router)
	case m.Protocol != "":
		p.line(bad, "%v: %s", m.Router, m.Problem)
		p.line("", "  allow port mappings (PCP, NAT-PMP) in the settings of the router, or do without: hole punching works for most peers")
	default:
		p.line("", "%v: %s; many routers know only UPnP, or have it turned off", m.Router, m.Problem)
		p.line("", "  hole punching does without; a port can be forwarded by hand")
	}
}
