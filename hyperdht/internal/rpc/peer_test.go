package rpc

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// lab is one endpoint among scripted peers on a perfect network with 1 ms of delay.
type lab struct {
	*Endpoint
	t     *testing.T
	net   *simnet.Net
	host  *simnet.Host
	peers []*peer
}

// peer is a node that does what the test says.
type peer struct {
	host *simnet.Host
	sock host.Socket
	addr netip.AddrPort
	got  []arrival

	// answer makes the response to a request; nil responses are not sent. TID and To are filled in.
	answer func(m wire.Request) *wire.Response
	named  bool       // answers carry an id
	sees   netip.Addr // the host that answers say we have, if valid
	port   uint16     // and the port, if not 0
}

type arrival struct {
	at      time.Duration
	from    netip.AddrPort
	packet  string
	request wire.Request
}

const delay = time.Millisecond

func newLab(t *testing.T, cfg Config) *lab {
	t.Helper()
	l := &lab{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: delay}, Scribble: true})}
	l.host = l.net.AddHost("us", us.Addr())
	l.host.Do(func() {
		var err error
		if l.Endpoint, err = New(l.host, withApp(cfg)); err != nil {
			t.Fatal(err)
		}
		// Labs have few nodes; without this their tests would see the looks for more.
		l.upkeep.lonelyWait = 1 << 30
	})
	t.Cleanup(func() { l.Faults(func(what string) { t.Error(what) }) })
	return l
}

// do runs f as a turn of the endpoint's host.
func (l *lab) do(f func()) { l.host.Do(f) }

func silent(wire.Request) *wire.Response { return nil }
func empty(wire.Request) *wire.Response  { return &wire.Response{} }

// naming answers with nodes.
func naming(nodes ...*peer) func(wire.Request) *wire.Response {
	return func(wire.Request) *wire.Response {
		m := &wire.Response{}
		for _, p := range nodes {
			m.Closer = append(m.Closer, p.addr)
		}
		return m
	}
}

func (l *lab) peer(answer func(wire.Request) *wire.Response) *peer {
	l.t.Helper()
	return l.peerAt(netip.AddrPortFrom(addrOf(len(l.peers)+1), DefaultPort), answer)
}

func (l *lab) peerAt(addr netip.AddrPort, answer func(wire.Request) *wire.Response) *peer {
	l.t.Helper()
	p := &peer{answer: answer, addr: addr, named: true}
	if p.host = l.net.HostAt(addr.Addr()); p.host == nil {
		p.host = l.net.AddHost(addr.String(), addr.Addr())
	}
	var err error
	if p.sock, err = p.host.OpenSocket(addr); err != nil {
		l.t.Fatal(err)
	}
	p.sock.OnReceive(func(from netip.AddrPort, b []byte) {
		m, err := wire.ParseRequest(slices.Clone(b))
		if err != nil {
			return
		}
		p.got = append(p.got, arrival{l.net.Now(), from, string(b), m})
		if r := p.answer(m); r != nil {
			p.respond(m, from, r)
		}
	})
	l.peers = append(l.peers, p)
	return p
}

func (p *peer) respond(m wire.Request, to netip.AddrPort, r *wire.Response) {
	r.TID, r.To = m.TID, to
	if p.sees.IsValid() {
		r.To = netip.AddrPortFrom(p.sees, to.Port())
	}
	if p.port != 0 {
		r.To = netip.AddrPortFrom(r.To.Addr(), p.port)
	}
	if p.named {
		self := id.NodeIDOf(p.addr)
		r.ID = &self
	}
	p.sock.Send(to, 0, r.Append(nil))
}

// ask sends a request to the endpoint.
func (p *peer) ask(to netip.AddrPort, m wire.Request) {
	m.To = to
	if p.named {
		self := id.NodeIDOf(p.addr)
		m.ID = &self
	}
	p.sock.Send(to, 0, m.Append(nil))
}

// commands lists what arrived, by command.
func (p *peer) commands() []uint64 {
	var list []uint64
	for _, a := range p.got {
		list = append(list, a.request.Command)
	}
	return list
}

func (p *peer) count(internal bool, command uint64) int {
	n := 0
	for _, a := range p.got {
		if a.request.Internal == internal && a.request.Command == command {
			n++
		}
	}
	return n
}

// atServer returns the address of the endpoint's server socket.
func (l *lab) atServer() netip.AddrPort {
	return netip.AddrPortFrom(us.Addr(), l.ServerSocket().LocalAddr().Port())
}

// outcome is the result of a call.
type outcome struct {
	reply Reply
	err   error
	at    time.Duration
	calls int
}

func (l *lab) outcome() (*outcome, func(Reply, error)) {
	o := new(outcome)
	return o, func(r Reply, err error) {
		o.reply, o.err, o.at = r, err, l.net.Now()
		o.calls++
	}
}
