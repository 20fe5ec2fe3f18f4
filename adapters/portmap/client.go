package portmap

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a Client.
type Config struct {
	// Port is the UDP port of this machine that is mapped.
	Port uint16
	// OnMapping is called on the loop with the external address of the mapping when it is obtained or changes, and with the zero
	// address when it is lost. It is not called after Close.
	OnMapping func(external netip.AddrPort)
}

// Protocol is a protocol for port mapping.
type Protocol string

// The protocols.
const (
	PCP    Protocol = "PCP"
	NATPMP Protocol = "NAT-PMP"
)

// Stats counts the events of a client.
type Stats struct {
	Requests, Retransmissions uint64
	Answers, Unanswered       uint64
	Refused                   uint64 // answers with an error
	Malformed                 uint64 // answers that cannot be parsed
	Unexpected                uint64 // answers to no request, or from another address than the router's
	Mappings, Renewals        uint64
	Lost                      uint64 // mappings that were not renewed in time, or whose network has changed
	Restarts                  uint64 // of the router, as its clock shows
	Useless                   uint64 // mappings whose external address cannot be reached from the internet
}

// Status describes the mapping.
type Status struct {
	Router   netip.Addr     // that was asked last; invalid if it is not known
	Protocol Protocol       // that it answered by; "" if it has not answered
	External netip.AddrPort // of the mapping; invalid if there is none
	Lifetime time.Duration  // that the router granted at the last renewal
	Expires  host.Instant
	// Private is the external address of a router that is behind a NAT itself; invalid otherwise.
	Private netip.Addr
	// Problem explains why there is no mapping; "" if there is one, or it is not known yet.
	Problem string
	Stats   Stats
}

// Client keeps one mapping at the router. It must be used on the loop of its host.
type Client struct {
	h       host.Host
	cfg     Config
	state   clientState
	socket  host.Socket // nil before the first request, and while resting
	router  netip.AddrPort
	local   netip.Addr
	pending *request
	timer   host.Timer // of the next renewal, or of the end of the rest
	mapping mapping
	clock   routerClock
	checked host.Instant // when Check last asked the router
	closed  []func()
	status  Status
	faults  states.Faults
}

// clientState is the state of a Client.
type clientState uint8

const (
	stateIdle clientState = iota
	stateAsking
	stateMapped
	stateResting
	stateClosing
	stateClosed
)

var clientTable = &states.Table[clientState]{Name: "client", States: []states.Rule[clientState]{
	stateIdle:    {Name: "idle", Why: "until Start", Next: []clientState{stateAsking, stateResting, stateClosed}},
	stateAsking:  {Name: "asking", Limit: askLimit, Next: []clientState{stateMapped, stateResting, stateIdle, stateClosed}},
	stateMapped:  {Name: "mapped", Why: "as long as the router renews it", Next: []clientState{stateAsking, stateResting, stateIdle, stateClosing}},
	stateResting: {Name: "resting", Limit: restLimit, Next: []clientState{stateAsking, stateIdle, stateClosed}},
	stateClosing: {Name: "closing", Limit: closeLimit, Next: []clientState{stateClosed}},
	stateClosed:  {Name: "closed"},
}}

// become changes the state.
func (c *Client) become(next clientState) {
	if c.state != next {
		clientTable.Become(&c.state, next, &c.faults)
	}
}

// mapping is the mapping at the router.
type mapping struct {
	protocol Protocol
	nonce    nonce
	address  netip.Addr // of NAT-PMP, which states it in an answer of its own
	external netip.AddrPort
	expires  host.Instant
}

// request is a request to the router, which is repeated until it is answered.
type request struct {
	protocol Protocol
	opcode   byte
	packet   []byte
	timeout  time.Duration
	left     int // transmissions
	timer    host.Timer
	failed   func() // is called without an answer
}

// New returns a client, which does nothing before Start.
func New(h host.Host, cfg Config) *Client { return &Client{h: h, cfg: cfg} }

// Status describes the mapping, and the router.
func (c *Client) Status() Status { return c.status }

// External is the external address of the mapping; invalid if there is none.
func (c *Client) External() netip.AddrPort { return c.mapping.external }

// Start asks for a mapping, unless the client has done so already.
func (c *Client) Start() {
	if c.state == stateIdle {
		c.begin()
	}
}

// Stop releases the mapping, and returns to the state before Start.
func (c *Client) Stop() {
	if c.state == stateClosing || c.state == stateClosed {
		return
	}
	c.sendRelease()
	c.forget()
	c.shut()
	c.become(stateIdle)
}

// Check asks the router at once, because it may have been restarted or be another one: after a change of the network. It is limited, and has
// no effect before Start.
func (c *Client) Check() {
	switch now := c.h.Now(); {
	case c.state != stateMapped && c.state != stateResting:
	case c.elsewhere():
		c.restart()
	case c.checked != 0 && now.Sub(c.checked) < checkEvery:
	case c.state == stateResting:
		c.checked = now
		c.begin()
	default:
		c.checked = now
		c.renew()
	}
}

// Close releases the mapping and calls done after that, within a second.
func (c *Client) Close(done func()) {
	c.closed = append(c.closed, done)
	switch {
	case c.state == stateClosing:
		return
	case c.state == stateClosed || c.socket == nil || !c.mapping.external.IsValid():
		c.become(stateClosed)
		c.shut()
		c.h.Defer(c.finish)
		return
	}
	c.stopTimers()
	c.become(stateClosing)
	end := func() {
		c.become(stateClosed)
		c.shut()
		c.finish()
	}
	r := c.release()
	r.failed = end
	c.send(r)
}

func (c *Client) finish() {
	closed := c.closed
	c.closed = nil
	for _, done := range closed {
		done()
	}
}

// begin asks the router from the start.
func (c *Client) begin() {
	c.stopTimers()
	if !c.open() {
		return
	}
	c.become(stateAsking)
	host.Draw(c.h.Rand(), c.mapping.nonce[:])
	c.clock = routerClock{}
	c.askPCP()
}

// open finds the router and opens a socket. It reports false if there is none.
func (c *Client) open() bool {
	router, local, ok := gateway(c.h)
	c.status = Status{Router: router, Stats: c.status.Stats}
	if !ok {
		c.rest("the address of the router is not known", restAfterSilence)
		return false
	}
	s, err := c.h.OpenSocket(netip.AddrPortFrom(local, 0))
	if err != nil {
		c.rest("no socket: "+err.Error(), restAfterSilence)
		return false
	}
	c.socket, c.router, c.local = s, netip.AddrPortFrom(router, serverPort), local
	s.OnReceive(func(from netip.AddrPort, b []byte) {
		if c.socket == s {
			c.receive(from, b)
		}
	})
	return true
}

// gateway returns the router of a host that knows it.
func gateway(h host.Host) (router, local netip.Addr, ok bool) {
	if g, known := h.(host.Gateway); known {
		return g.Gateway()
	}
	return netip.Addr{}, netip.Addr{}, false
}

// elsewhere reports whether the router is another one than the one that was asked.
func (c *Client) elsewhere() bool {
	router, local, _ := gateway(c.h)
	return router != c.status.Router || c.socket != nil && local != c.local
}

// restart forgets a mapping of another network, and asks the router of this one.
func (c *Client) restart() {
	c.forget()
	c.shut()
	c.begin()
}

func (c *Client) askPCP() {
	m := &c.mapping
	packet := appendPCP(nil, c.local, m.nonce, c.cfg.Port, netip.AddrPortFrom(m.external.Addr(), c.wantedPort()), lifetime)
	c.send(&request{protocol: PCP, opcode: opMap, packet: packet, timeout: c.jitter(pcpTimeout), left: pcpTransmissions, failed: c.silent})
}

func (c *Client) askAddress() {
	c.send(&request{protocol: NATPMP, opcode: opAddress, packet: []byte{pmpVersion, opAddress}, timeout: pmpTimeout, left: pmpTransmissions, failed: c.silent})
}

func (c *Client) askPMP() {
	packet := appendPMP(nil, c.cfg.Port, c.wantedPort(), lifetime)
	c.send(&request{protocol: NATPMP, opcode: opMapUDP, packet: packet, timeout: pmpTimeout, left: pmpTransmissions, failed: c.silent})
}

// wantedPort is the external port to ask for: that of the mapping before, or else the mapped one.
func (c *Client) wantedPort() uint16 {
	if p := c.mapping.external.Port(); p != 0 {
		return p
	}
	return c.cfg.Port
}

// send replaces the pending request.
func (c *Client) send(r *request) {
	c.cancel()
	c.pending = r
	c.status.Stats.Requests++
	c.transmit(r)
}

func (c *Client) transmit(r *request) {
	if r.left == 0 {
		c.pending = nil
		c.status.Stats.Unanswered++
		r.failed()
		return
	}
	r.left--
	c.socket.Send(c.router, 0, r.packet)
	r.timer = c.h.AfterFunc(r.timeout, func() {
		if r.left > 0 {
			c.status.Stats.Retransmissions++
		}
		c.transmit(r)
	})
	r.timeout *= 2
}

func (c *Client) cancel() {
	if r := c.pending; r != nil && r.timer != nil {
		r.timer.Stop()
	}
	c.pending = nil
}

// silent is called when the router has not answered.
func (c *Client) silent() {
	switch {
	case c.state == stateMapped:
		c.later()
	case c.state == stateAsking && c.status.Protocol == "" && c.mapping.protocol == "":
		c.mapping.protocol = NATPMP
		c.askAddress()
	default:
		c.lose("the router does not answer to PCP or NAT-PMP", restAfterSilence)
	}
}

// later renews a mapping that the router has not renewed: at half of the time that remains, until it expires.
func (c *Client) later() {
	left := c.mapping.expires.Sub(c.h.Now())
	if left < 2*minRenewal {
		c.timer = c.h.AfterFunc(max(left, 0), c.restart)
		return
	}
	c.timer = c.h.AfterFunc(left/2, c.renew)
}

// renew renews the mapping, or moves it to another router.
func (c *Client) renew() {
	if c.elsewhere() {
		c.restart()
		return
	}
	c.stopTimers()
	c.status.Stats.Renewals++
	if c.mapping.protocol == NATPMP {
		c.askAddress()
	} else {
		c.askPCP()
	}
}

// lose ends the mapping, if there is one, and pauses.
func (c *Client) lose(problem string, pause time.Duration) {
	c.forget()
	c.rest(problem, pause)
}

func (c *Client) rest(problem string, pause time.Duration) {
	c.shut()
	c.become(stateResting)
	c.status.Problem = problem
	c.timer = c.h.AfterFunc(c.jitter(pause), c.begin)
}

// forget forgets the mapping, and reports its loss.
func (c *Client) forget() {
	had := c.mapping.external.IsValid()
	c.mapping = mapping{}
	c.status.External, c.status.Lifetime, c.status.Expires = netip.AddrPort{}, 0, 0
	if had {
		c.status.Stats.Lost++
		c.report()
	}
}

func (c *Client) report() {
	if c.cfg.OnMapping != nil && c.state != stateClosing && c.state != stateClosed {
		c.cfg.OnMapping(c.mapping.external)
	}
}

// release returns the request that ends the mapping.
func (c *Client) release() *request {
	r := &request{protocol: c.mapping.protocol, opcode: opMapUDP, timeout: releaseTimeout, left: releaseTransmissions, failed: func() {}}
	if r.protocol == PCP {
		r.opcode = opMap
		r.packet = appendPCP(nil, c.local, c.mapping.nonce, c.cfg.Port, netip.AddrPort{}, 0)
	} else {
		r.packet = appendPMP(nil, c.cfg.Port, 0, 0)
	}
	return r
}

// sendRelease releases the mapping without waiting for an answer.
func (c *Client) sendRelease() {
	if c.socket != nil && (c.mapping.external.IsValid() || c.status.Private.IsValid()) {
		c.socket.Send(c.router, 0, c.release().packet)
	}
}

// shut closes the socket and stops the timers.
func (c *Client) shut() {
	c.stopTimers()
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}

func (c *Client) stopTimers() {
	c.cancel()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// jitter returns d, up to a tenth longer or shorter, so that the machines of a network do not ask at the same time.
func (c *Client) jitter(d time.Duration) time.Duration {
	fifth := uint64(d / 5)
	return d - d/10 + time.Duration(host.DrawUint64(c.h.Rand())%(fifth+1))
}
