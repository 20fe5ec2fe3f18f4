package turn

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// rig is a host whose server a test plays.
type rig struct {
	tb   testing.TB
	net  *simnet.Net
	pipe *serverPipe
	base *simnet.Host
	host *Host
	sock host.Socket
	peer netip.AddrPort
	got  int
}

// newRig returns a rig that has asked for an allocation.
func newRig(tb testing.TB) *rig {
	tb.Helper()
	net := simnet.New(simnet.Config{Seed: 1, Coarse: true})
	r := &rig{
		tb: tb, net: net, pipe: &serverPipe{}, base: net.AddHost("h", netip.MustParseAddr("192.0.2.1")),
		peer: netip.MustParseAddrPort("192.0.2.2:1234"),
	}
	var err error
	r.base.Do(func() {
		r.host, err = New(r.base, Config{Servers: []Server{{Name: "s", Dialer: r.pipe, Username: "u", Password: "p"}}})
	})
	if err != nil {
		tb.Fatal(err)
	}
	net.Run(time.Millisecond)
	return r
}

// answer answers all pending requests of a session.
func (r *rig) answer(s *session, class stun.MessageClass, attrs ...stun.Setter) {
	for id, t := range s.pending {
		list := append([]stun.Setter{stun.NewType(t.kind.Method, class), stun.NewTransactionIDSetter(id)}, attrs...)
		r.base.Do(func() { r.pipe.handlers.OnReceive(stun.MustBuild(list...).Raw) })
	}
}

// challenge asks for credentials.
func (r *rig) challenge() {
	r.answer(r.host.sessions[0], stun.ClassErrorResponse, stun.CodeUnauthorized, stun.NewRealm("r"), stun.NewNonce("n"))
}

// relay relays, with a channel to the peer.
func (r *rig) relay() {
	r.tb.Helper()
	relayed := stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: xorAddr(r.peer).Value}
	r.answer(r.host.sessions[0], stun.ClassSuccessResponse, relayed, seconds(time.Hour))
	r.base.Do(func() {
		r.sock, _ = r.host.OpenSocket(netip.AddrPort{})
		r.sock.OnReceive(func(netip.AddrPort, []byte) { r.got++ })
		for range channelAfter {
			r.sock.Send(r.peer, 0, []byte("datagram"))
		}
	})
	r.answer(r.host.current, stun.ClassSuccessResponse)
	if st := r.host.stats; st.Channels != 1 || st.Permissions != 1 {
		r.tb.Fatalf("%+v", st)
	}
}

// BenchmarkSend sends datagrams of 1,172 bytes over a channel, 16 in a turn.
func BenchmarkSend(b *testing.B) {
	r := newRig(b)
	r.relay()
	payload := make([]byte, MTU-28)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	turn := func() {
		for range 16 {
			r.sock.Send(r.peer, 0, payload)
		}
	}
	for i := 0; b.Loop(); i++ {
		if i%16 == 0 {
			r.pipe.written = r.pipe.written[:0]
			r.base.Do(turn)
		}
	}
}

// BenchmarkReceive receives datagrams of 1,172 bytes over a channel, in pieces of 16 kB as from TLS.
func BenchmarkReceive(b *testing.B) {
	r := newRig(b)
	r.relay()
	var stream []byte
	n := 0
	for ; len(stream) < 1<<20; n++ {
		stream = appendChannelData(stream, firstChannel, make([]byte, MTU-28))
	}
	b.SetBytes(MTU - 28)
	b.ReportAllocs()
	rest := stream
	turn := func() {
		piece := min(16<<10, len(rest))
		r.pipe.handlers.OnReceive(rest[:piece])
		if rest = rest[piece:]; len(rest) == 0 {
			rest = stream
		}
	}
	for i := 0; b.Loop(); i++ {
		for r.got <= i {
			r.base.Do(turn)
		}
	}
}

// The way of a datagram over a channel allocates nothing.
func TestChannelsAllocateNothing(t *testing.T) {
	r := newRig(t)
	r.relay()
	payload := make([]byte, MTU-28)
	frame := appendChannelData(nil, firstChannel, payload)
	send := func() { r.sock.Send(r.peer, 0, payload) }
	receive := func() { r.pipe.handlers.OnReceive(frame) }
	if n := testing.AllocsPerRun(100, func() {
		r.pipe.written = r.pipe.written[:0]
		r.base.Do(send)
	}); n > 0 {
		t.Errorf("%v allocations to send", n)
	}
	if n := testing.AllocsPerRun(100, func() { r.base.Do(receive) }); n > 0 {
		t.Errorf("%v allocations to receive", n)
	}
}
