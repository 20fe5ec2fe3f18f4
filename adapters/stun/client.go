package stun

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a Client.
type Config struct {
	// Servers are the servers to query, each as host:port or host. Classifying the NAT needs at least two responders, so a
	// single server should have an alternate address.
	Servers []string
	// Responder answers incoming requests; nil for none.
	Responder *Responder
}

// Stats counts the events of a client.
type Stats struct {
	Probes, Requests, Retransmissions uint64
	Answers, Unanswered               uint64
	Refused                           uint64 // error responses
	Malformed                         uint64 // malformed messages, and answers without a usable address
	Unexpected                        uint64 // answers to no pending request, or from another address than its server's
	Ignored                           uint64 // messages of other kinds
	Busy                              uint64 // requests not sent because too many are pending
}

// Client queries STUN servers for the public addresses of a node's sockets. It is an address probe of hyperdht.
type Client struct {
	h            host.Host
	servers      []*server
	responder    *Responder
	transactions map[key]*transaction
	stats        Stats
}

// key identifies a transaction of a client: an answer must arrive on the socket of its request.
type key struct {
	socket host.Socket
	id     transactionID
}

// New returns a client. It fails for an invalid server. No name is looked up before the first probe.
func New(h host.Host, cfg Config) (*Client, error) {
	if len(cfg.Servers) > maxServers {
		return nil, fmt.Errorf("stun: %d servers, want %d at most", len(cfg.Servers), maxServers)
	}
	c := &Client{h: h, responder: cfg.Responder, transactions: make(map[key]*transaction)}
	for _, text := range cfg.Servers {
		s, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// Stats returns the counters.
func (c *Client) Stats() Stats { return c.stats }

// Status describes the servers, in the order of Config.Servers.
func (c *Client) Status() []ServerStatus {
	list := make([]ServerStatus, len(c.servers))
	for i, s := range c.servers {
		list[i] = ServerStatus{
			Server: s.text, Addr: s.addr, Alternate: s.alternate,
			Seen: s.seen, AnsweredAt: s.answeredAt, RTT: s.rtt, Unanswered: s.unanswered, Err: s.failure,
		}
	}
	return list
}

// Bind implements hyperdht.AddressProbe.
func (c *Client) Bind(server, client host.Socket) {
	if c.responder != nil {
		c.responder.Bind(server, client)
	}
}

// Receive implements hyperdht.AddressProbe.
func (c *Client) Receive(s host.Socket, from netip.AddrPort, b []byte) bool {
	if !isSTUN(b) {
		return false
	}
	m, err := parse(b)
	switch {
	case err != nil:
		c.stats.Malformed++
	case m.kind == stun.BindingSuccess, m.kind == stun.BindingError:
		c.receiveAnswer(s, from, &m)
	case m.kind == stun.BindingRequest && c.responder != nil:
		c.responder.answer(s, from, &m)
	default:
		c.stats.Ignored++
	}
	return true
}

func (c *Client) receiveAnswer(s host.Socket, from netip.AddrPort, m *message) {
	t := c.transactions[key{s, m.id}]
	if t == nil || t.to != from {
		c.stats.Unexpected++
		return
	}
	switch {
	case m.kind == stun.BindingError || len(m.unknown) > 0:
		c.stats.Refused++
	case !isUsable(m.mapped):
		c.stats.Malformed++
	default:
		c.stats.Answers++
		t.answered(m)
		return
	}
	t.end()
}

// Probe implements hyperdht.AddressProbe.
func (c *Client) Probe(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func()) {
	c.stats.Probes++
	p := &probe{c: c, socket: s, seen: seen, done: done}
	p.join = host.NewJoin(p.finish)
	begun := p.join.Add()
	p.deadline = c.h.AfterFunc(probeTimeout, p.finish)
	for _, srv := range c.servers {
		switch known := srv.addr.IsValid(); {
		case !c.resolve(srv):
		case known:
			p.ask(srv, srv.addr, mainAddr)
		case len(srv.waiting) < maxTransactions:
			srv.waiting = append(srv.waiting, lookup{p, p.join.Add()})
		}
	}
	c.h.Defer(begun)
	return p.cancel
}

// probe queries all servers for the address of one socket.
type probe struct {
	c      *Client
	socket host.Socket
	seen   func(addr, from netip.AddrPort)
	done   func()
	join   *host.Join // of the pending requests and lookups
	over   bool

	asked    []netip.AddrPort
	running  []*transaction
	deadline host.Timer
}

// serverAddr selects one of a server's addresses.
type serverAddr bool

const (
	mainAddr      serverAddr = false
	alternateAddr serverAddr = true
)

// ask sends a request to an address of a server, at most once per address.
func (p *probe) ask(s *server, to netip.AddrPort, which serverAddr) {
	c := p.c
	if p.over || !isUsable(to) || slices.Contains(p.asked, to) {
		return
	}
	p.asked = append(p.asked, to)
	if len(c.transactions) >= maxTransactions {
		c.stats.Busy++
		return
	}
	t := &transaction{p: p, server: s, to: to, which: which, at: c.h.Now(), ended: p.join.Add()}
	host.Draw(c.h.Rand(), t.id[:])
	p.running = append(p.running, t)
	c.transactions[key{p.socket, t.id}] = t
	c.stats.Requests++
	t.packet = newRequest(t.id)
	t.transmit()
}

// finish ends the probe, with the answers so far.
func (p *probe) finish() {
	if !p.over {
		p.cancel()
		p.done()
	}
}

func (p *probe) cancel() {
	if p.over {
		return
	}
	p.over = true
	p.deadline.Stop()
	for _, t := range p.running {
		t.stop()
	}
	p.running = nil
}

// transaction is one request and its answer.
type transaction struct {
	p      *probe
	server *server
	to     netip.AddrPort
	which  serverAddr

	id     transactionID
	packet []byte
	at     host.Instant
	sent   int
	timer  host.Timer
	ended  func() // of its probe's join
}

// transmit sends the request, and retransmits it until it is answered (RFC 8489, section 6.2.1).
func (t *transaction) transmit() {
	c := t.p.c
	if t.sent == transmissions {
		c.stats.Unanswered++
		if t.which == mainAddr {
			t.server.unanswered++
		}
		t.end()
		return
	}
	if t.sent > 0 {
		c.stats.Retransmissions++
	}
	wait := firstTimeout << t.sent
	if t.sent++; t.sent == transmissions {
		wait = lastTimeout
	}
	t.p.socket.Send(t.to, 0, t.packet)
	t.timer = c.h.AfterFunc(wait, t.transmit)
}

func (t *transaction) answered(m *message) {
	p, s := t.p, t.server
	now := p.c.h.Now()
	s.seen, s.answeredAt, s.rtt = m.mapped, now, time.Duration(0)
	if t.sent == 1 { // otherwise it is unknown which transmission was answered
		s.rtt = now.Sub(t.at)
	}
	if t.which == mainAddr {
		s.unanswered = 0
		s.alternate = alternateOf(t.to, m)
		p.ask(s, s.alternate, alternateAddr)
	}
	p.seen(m.mapped, t.to)
	t.end()
}

// alternateOf returns the alternate address of the server at asked; invalid if it has none. A server behind a NAT does not
// know its public host, so an alternate on the host of RESPONSE-ORIGIN is taken to be on the host of asked.
func alternateOf(asked netip.AddrPort, m *message) netip.AddrPort {
	if m.other.IsValid() && m.origin.IsValid() && m.other.Addr() == m.origin.Addr() {
		return netip.AddrPortFrom(asked.Addr(), m.other.Port())
	}
	return m.other
}

// stop removes the transaction from the client.
func (t *transaction) stop() {
	t.timer.Stop()
	delete(t.p.c.transactions, key{t.p.socket, t.id})
}

// end removes the transaction from the client and its probe.
func (t *transaction) end() {
	p := t.p
	if p.over {
		return
	}
	t.stop()
	p.running = slices.DeleteFunc(p.running, func(other *transaction) bool { return other == t })
	t.ended()
}
