package hyperdht_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// fakeServer is a node that answers handshakes for the answerer's key, and punch rounds, with what a test says. A dial
// reaches it by its address as a hint. Where peer is valid it plays the relay of a server at that address.
type fakeServer struct {
	*spy
	peer    netip.AddrPort
	message func(hs *noise.Handshake) []byte // message 2; nil for payload
	payload wire.NoisePayload
	mode    wire.Mode                                             // of the answer to a handshake
	punch   func(m wire.HolepunchPayload) []wire.HolepunchPayload // answers to a round; none for silence
	wrap    func(h *wire.Holepunch)                               // changes them
	// Sockets that answers leave from; nil for the one that was asked.
	handshakeSock, roundSock host.Socket

	random *rand.ChaCha8
	box    *wire.PunchBox
	reply  []byte
}

// serverPayload is the payload of a healthy server behind a NAT.
func serverPayload(relay, peer netip.AddrPort) wire.NoisePayload {
	return wire.NoisePayload{
		Version: 1, UDX: &wire.UDXInfo{ID: 7}, SecretStream: &wire.SecretStreamInfo{},
		Holepunch: &wire.HolepunchInfo{ID: 3, Relays: []wire.RelayInfo{{RelayAddr: relay, PeerAddr: peer}}},
	}
}

func (l *lab) fakeServer(peer netip.AddrPort) *fakeServer {
	f := &fakeServer{spy: l.spy(), peer: peer, mode: wire.Reply, random: rand.NewChaCha8([32]byte{9})}
	f.payload = serverPayload(f.addr(), peer)
	f.sock.OnReceive(func(from netip.AddrPort, b []byte) { f.receive(from, b) })
	return f
}

func (f *fakeServer) receive(from netip.AddrPort, b []byte) {
	if !wire.IsRequest(b) {
		return
	}
	r, err := wire.ParseRequest(b)
	if err != nil || r.Internal {
		return
	}
	switch r.Command {
	case wire.CmdPeerHandshake:
		m, err := wire.ParseHandshake(r.Value)
		if err != nil {
			f.l.t.Error(err)
			return
		}
		if f.reply == nil {
			f.reply = f.answer(m.Noise)
		}
		f.respond(f.handshakeSock, from, r.TID, wire.Handshake{Mode: f.mode, Noise: f.reply, PeerAddr: f.peer}.Append(nil))
	case wire.CmdPeerHolepunch:
		m, err := wire.ParseHolepunch(r.Value)
		if err != nil || f.punch == nil {
			return
		}
		round, ok := f.box.Open(m.Payload)
		if !ok {
			f.l.t.Error("a punch round cannot be read")
			return
		}
		for _, a := range f.punch(round) {
			h := wire.Holepunch{Mode: wire.Reply, Payload: f.box.Seal(a), PeerAddr: f.peer}
			if f.wrap != nil {
				f.wrap(&h)
			}
			f.respond(f.roundSock, from, r.TID, h.Append(nil))
		}
	}
}

func (f *fakeServer) answer(message1 []byte) []byte {
	hs := noise.NewResponder(keysOf(answererKey), f.random)
	if _, err := hs.ReadMessage(message1); err != nil {
		f.l.t.Error(err)
		return nil
	}
	var reply []byte
	if f.message != nil {
		reply = f.message(hs)
	} else {
		reply, _ = hs.WriteMessage(f.payload.Append(nil))
	}
	if result, ok := hs.Result(); ok {
		f.box = wire.NewPunchBox(result.HolepunchSecret, f.random)
	}
	return reply
}

func (f *fakeServer) respond(sock host.Socket, to netip.AddrPort, tid uint16, value []byte) {
	if sock == nil {
		sock = f.sock
	}
	sock.Send(to, 0, wire.Response{TID: tid, To: to, Value: value}.Append(nil))
}

// fakeCaller dials the answerer as a client that speaks as a test says, through a node that the server has announced to.
type fakeCaller struct {
	*spy
	relay   *actor
	hs      *noise.Handshake
	payload wire.NoisePayload // the server's
	box     *wire.PunchBox
	tid     uint16
	random  *rand.ChaCha8
}

func (l *lab) fakeCaller() *fakeCaller {
	return &fakeCaller{spy: l.spy(), relay: l.dht[2], random: rand.NewChaCha8([32]byte{8})}
}

// callerPayload is the payload of a healthy client behind a NAT.
func callerPayload() wire.NoisePayload {
	return wire.NoisePayload{Version: 1, UDX: &wire.UDXInfo{ID: 7}, SecretStream: &wire.SecretStreamInfo{}}
}

// request sends a request of a command to a node, and returns the value of the answer that comes soon, nil for none.
func (c *fakeCaller) request(to netip.AddrPort, command uint64, value []byte) []byte {
	c.got = nil
	c.ask(to, command, value)
	c.l.run(200 * time.Millisecond)
	for _, b := range c.got {
		if r, err := wire.ParseResponse(b); err == nil && r.TID == c.tid {
			return r.Value
		}
		if r, err := wire.ParseRequest(b); err == nil && r.TID == c.tid {
			return r.Value // from a server that takes the caller for a relay
		}
	}
	return nil
}

// ask sends a request of a command to a node.
func (c *fakeCaller) ask(to netip.AddrPort, command uint64, value []byte) {
	c.tid++
	target := keysOf(answererKey).Public.Target()
	c.send(to, wire.Request{TID: c.tid, To: to, Command: command, Target: &target, Value: value}.Append(nil))
}

// write makes message 1 of a payload.
func (c *fakeCaller) write(payload []byte) []byte {
	c.hs = noise.NewInitiator(keysOf(diallerKey), keysOf(answererKey).Public, watchedRand{c.random, c.l.log})
	message, err := c.hs.WriteMessage(payload)
	if err != nil {
		c.l.t.Fatal(err)
	}
	return message
}

// dial shakes hands through the relay.
func (c *fakeCaller) dial(p wire.NoisePayload) {
	c.l.t.Helper()
	h := wire.Handshake{Mode: wire.FromClient, Noise: c.write(p.Append(nil))}
	m, err := wire.ParseHandshake(c.request(c.relay.addr(), wire.CmdPeerHandshake, h.Append(nil)))
	if err != nil {
		c.l.t.Fatal("no answer to the handshake")
	}
	plain, err := c.hs.ReadMessage(m.Noise)
	if err != nil {
		c.l.t.Fatal(err)
	}
	if c.payload, err = wire.ParseNoisePayload(plain); err != nil {
		c.l.t.Fatal(err)
	}
	result, _ := c.hs.Result()
	c.box = wire.NewPunchBox(result.HolepunchSecret, c.random)
}

// round sends a punch round through the relay and returns the server's answer, if there is one.
func (c *fakeCaller) round(p wire.HolepunchPayload) (wire.HolepunchPayload, bool) {
	info := c.payload.Holepunch
	m := wire.Holepunch{Mode: wire.FromClient, ID: info.ID, Payload: c.box.Seal(p), PeerAddr: info.Relays[0].PeerAddr}
	return c.open(c.request(c.relay.addr(), wire.CmdPeerHolepunch, m.Append(nil)))
}

// vouch sends a punch round straight to the server, as if we were a relay that a caller at peer goes through.
func (c *fakeCaller) vouch(p wire.HolepunchPayload, peer netip.AddrPort) (wire.HolepunchPayload, bool) {
	info := c.payload.Holepunch
	m := wire.Holepunch{Mode: wire.FromRelay, ID: info.ID, Payload: c.box.Seal(p), PeerAddr: peer}
	return c.open(c.request(info.Relays[0].PeerAddr, wire.CmdPeerHolepunch, m.Append(nil)))
}

func (c *fakeCaller) open(value []byte) (wire.HolepunchPayload, bool) {
	m, err := wire.ParseHolepunch(value)
	if err != nil {
		return wire.HolepunchPayload{}, false
	}
	return c.box.Open(m.Payload)
}

// victim is the target of a flood. It counts the datagrams that it receives.
type victim struct {
	got  int
	addr netip.AddrPort
}

func (l *lab) victim() *victim {
	v := &victim{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 128, 4, 1}), mainPort)}
	h := l.net.AddHost("victim", v.addr.Addr())
	l.log.names[v.addr.Addr()] = "victim"
	h.Do(func() {
		for i := range uint16(64) { // as many ports as a test may name
			sock, err := h.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), mainPort+i))
			if err != nil {
				l.t.Fatal(err)
			}
			sock.OnReceive(func(netip.AddrPort, []byte) { v.got++ })
		}
	})
	return v
}

func (v *victim) check(t *testing.T, what string, least, most int) {
	t.Helper()
	if v.got < least || v.got > most {
		t.Errorf("%d datagrams %s, want %d to %d", v.got, what, least, most)
	}
}
