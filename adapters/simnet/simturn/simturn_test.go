package simturn_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/ports/host"
)

var (
	clientAt = netip.MustParseAddrPort("192.0.2.1:1000")
	serverAt = netip.MustParseAddrPort("192.0.2.3:3478")
	peerAt   = netip.MustParseAddrPort("192.0.2.2:2000")
	otherAt  = netip.MustParseAddrPort("192.0.2.2:2001")
)

// lab is a server with a client that sends each message as a test says, and two sockets of one peer.
type lab struct {
	t           *testing.T
	net         *simnet.Net
	server      *simturn.Server
	client      host.Socket
	peer, other host.Socket
	nonce       stun.Nonce
	user        string
	password    string
	relayed     netip.AddrPort
	answers     []*stun.Message
	frames      []string // ChannelData
	atPeer      []string
}

func newLab(t *testing.T, cfg simturn.Config) *lab {
	l := &lab{t: t, user: "alice", password: "password", net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}, Scribble: true})}
	cfg.Users = map[string]string{"alice": "password"}
	at := l.net.AddHost("server", serverAt.Addr())
	l.server = simturn.Start(l.net, simpipe.New(l.net, simpipe.Config{}), at, serverAt.Port(), cfg)
	client, peer := l.net.AddHost("client", clientAt.Addr()), l.net.AddHost("peer", peerAt.Addr())
	l.client = l.open(client, clientAt, func(_ netip.AddrPort, b []byte) {
		if b[0]>>6 == 1 {
			l.frames = append(l.frames, string(b))
			return
		}
		m := &stun.Message{Raw: slices.Clone(b)}
		if err := m.Decode(); err != nil {
			t.Error(err)
		}
		l.answers = append(l.answers, m)
	})
	l.peer = l.open(peer, peerAt, func(from netip.AddrPort, b []byte) {
		if from != l.relayed {
			t.Errorf("the peer receives from %v, the relayed address is %v", from, l.relayed)
		}
		l.atPeer = append(l.atPeer, string(b))
	})
	l.other = l.open(peer, otherAt, nil)
	return l
}

func (l *lab) open(h *simnet.Host, at netip.AddrPort, receive func(netip.AddrPort, []byte)) (s host.Socket) {
	l.t.Helper()
	h.Do(func() {
		var err error
		if s, err = h.OpenSocket(at); err != nil {
			l.t.Fatal(err)
		}
		s.OnReceive(receive)
	})
	return s
}

// send sends what a server gets, and waits for the consequences.
func (l *lab) send(b []byte) {
	l.client.Send(serverAt, 0, b)
	l.net.Run(10 * time.Millisecond)
}

// request sends a signed request and returns the code of the error with which it is answered, 0 for success.
func (l *lab) request(method stun.Method, attrs ...stun.Setter) stun.ErrorCode {
	l.t.Helper()
	setters := append([]stun.Setter{stun.NewType(method, stun.ClassRequest), stun.TransactionID}, attrs...)
	if len(l.nonce) > 0 {
		setters = append(setters, stun.NewUsername(l.user), stun.NewRealm("simturn"), l.nonce, stun.NewLongTermIntegrity(l.user, "simturn", l.password))
	}
	before, m := len(l.answers), stun.MustBuild(setters...)
	l.send(m.Raw)
	if len(l.answers) != before+1 || l.answers[before].TransactionID != m.TransactionID {
		l.t.Fatalf("%v: %d answers", method, len(l.answers)-before)
	}
	answer := l.answers[before]
	_ = l.nonce.GetFrom(answer) // success has none
	if answer.Type.Class == stun.ClassSuccessResponse {
		return 0
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(answer); err != nil {
		l.t.Fatal(err)
	}
	return code.Code
}

var udp = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// allocate allocates an address, with the challenge before.
func (l *lab) allocate() {
	l.t.Helper()
	if code := l.request(stun.MethodAllocate, udp); code != stun.CodeUnauthorized || len(l.nonce) == 0 {
		l.t.Fatalf("without credentials: %d, nonce %q", code, l.nonce)
	}
	if code := l.request(stun.MethodAllocate, udp); code != 0 {
		l.t.Fatalf("refused with %d", code)
	}
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(l.answers[len(l.answers)-1], stun.AttrXORRelayedAddress); err != nil {
		l.t.Fatal(err)
	}
	addr, _ := netip.AddrFromSlice(relayed.IP)
	l.relayed = netip.AddrPortFrom(addr.Unmap(), uint16(relayed.Port))
}

// peerOf is XOR-PEER-ADDRESS.
type peerOf netip.AddrPort

func (p peerOf) AddTo(m *stun.Message) error {
	at := netip.AddrPort(p)
	return stun.XORMappedAddress{IP: at.Addr().AsSlice(), Port: int(at.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

func (l *lab) bind(number uint16, peer netip.AddrPort) stun.ErrorCode {
	l.t.Helper()
	v := binary.BigEndian.AppendUint16(nil, number)
	return l.request(stun.MethodChannelBind, stun.RawAttribute{Type: stun.AttrChannelNumber, Value: append(v, 0, 0)}, peerOf(peer))
}

// A request needs the password of its user and the last nonce, which is replaced when it is too old (RFC 8489, 9.2.4).
func TestRequestsAreAuthorized(t *testing.T) {
	l := newLab(t, simturn.Config{NonceAge: time.Minute})
	for _, test := range []struct {
		name  string
		spoil func()
		want  stun.ErrorCode
	}{
		{"without credentials", func() { l.nonce = nil }, stun.CodeUnauthorized},
		{"of another user", func() { l.user = "bob" }, stun.CodeUnauthorized},
		{"with another password", func() { l.user, l.password = "alice", "guessed" }, stun.CodeUnauthorized},
		{"with a nonce of its own", func() { l.password, l.nonce = "password", stun.NewNonce("mine") }, stun.CodeStaleNonce},
		{"with an old nonce", func() { l.net.Run(time.Minute + time.Second) }, stun.CodeStaleNonce},
		{"with all of it", func() {}, 0},
		{"again", func() {}, stun.CodeAllocMismatch},
	} {
		test.spoil()
		if code := l.request(stun.MethodAllocate, udp); code != test.want {
			t.Errorf("%s: answered with %d, want %d", test.name, code, test.want)
		}
	}
	if s := l.server.Stats(); s.Made != 1 || s.Allocations != 1 {
		t.Errorf("%+v", s)
	}
}

// frame is ChannelData that names a length, with what follows.
func frame(number, length uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, number)
	return append(binary.BigEndian.AppendUint16(b, length), data...)
}

// ChannelData ends where its length says, with or without padding, which UDP need not have (RFC 8656, 12.5).
func TestChannelDataIsRelayedInItsLength(t *testing.T) {
	l := newLab(t, simturn.Config{})
	l.allocate()
	if code := l.bind(0x4000, peerAt); code != 0 {
		t.Fatalf("refused with %d", code)
	}
	l.send(frame(0x4000, 5, "exact"))
	l.send(frame(0x4000, 6, "padded\x00\x00"))
	l.send(frame(0x4000, 0, ""))
	if want := []string{"exact", "padded", ""}; !slices.Equal(l.atPeer, want) || l.server.Stats().Wrong != 0 || l.server.Stats().Channels != 3 {
		t.Errorf("the peer has received %q, want %q; %+v", l.atPeer, want, l.server.Stats())
	}
	l.send(frame(0x4000, 6, "short"))
	l.send(frame(0x4001, 7, "unbound"))
	if len(l.atPeer) != 3 || l.server.Stats().Wrong != 2 {
		t.Errorf("the peer has received %q; %+v", l.atPeer, l.server.Stats())
	}
	l.peer.Send(l.relayed, 0, []byte("back"))
	l.other.Send(l.relayed, 0, []byte("another port"))
	l.net.Run(10 * time.Millisecond)
	if want := []string{string(frame(0x4000, 4, "back"))}; !slices.Equal(l.frames, want) {
		t.Errorf("received %q, want %q", l.frames, want)
	}
	last := l.answers[len(l.answers)-1]
	if data, err := last.Get(stun.AttrData); err != nil || string(data) != "another port" || last.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		t.Errorf("from another port: %v with %q", last.Type, data)
	}
}

// A number and its peer belong together until five minutes after the end of the channel, which lasts ten (RFC 8656, 12).
func TestChannelsAreBoundOnce(t *testing.T) {
	l := newLab(t, simturn.Config{Lifetime: time.Hour})
	l.allocate()
	for _, test := range []struct {
		name   string
		number uint16
		peer   netip.AddrPort
		after  time.Duration
		want   stun.ErrorCode
	}{
		{"a channel", 0x4000, peerAt, 0, 0},
		{"another peer of its number", 0x4000, otherAt, 0, stun.CodeBadRequest},
		{"another number of its peer", 0x4001, peerAt, 0, stun.CodeBadRequest},
		{"another of both", 0x4002, otherAt, 0, 0},
		{"the same", 0x4000, peerAt, 9 * time.Minute, 0},
		{"the number, within five minutes of its end", 0x4000, otherAt, 14*time.Minute + 59*time.Second, stun.CodeBadRequest},
		{"the number, later", 0x4000, otherAt, 2 * time.Second, 0},
	} {
		l.net.Run(test.after)
		if code := l.bind(test.number, test.peer); code != test.want {
			t.Errorf("%s: answered with %d, want %d", test.name, code, test.want)
		}
	}
	l.net.Run(10*time.Minute - time.Second)
	l.request(stun.MethodCreatePermission, peerOf(otherAt))
	before := l.server.Stats()
	l.send(frame(0x4000, 1, "x"))
	l.net.Run(time.Second)
	l.send(frame(0x4000, 1, "x"))
	if s := l.server.Stats(); s.Channels != before.Channels+1 || s.Wrong != before.Wrong+1 {
		t.Errorf("before and after the end of a channel: %+v, %+v", before, s)
	}
}

// A permission is for all ports of an address, and ends after five minutes (RFC 8656, 9).
func TestPermissionsEnd(t *testing.T) {
	forbidden := netip.MustParseAddrPort("127.0.0.1:1")
	l := newLab(t, simturn.Config{Forbid: func(a netip.Addr) bool { return a.IsLoopback() }})
	l.allocate()
	arrives := func() bool {
		before := l.server.Stats()
		l.other.Send(l.relayed, 0, []byte("x"))
		l.net.Run(10 * time.Millisecond)
		after := l.server.Stats()
		if after.Relayed+after.Unpermitted != before.Relayed+before.Unpermitted+1 {
			t.Fatalf("%+v, %+v", before, after)
		}
		return after.Relayed > before.Relayed
	}
	if arrives() {
		t.Error("a peer without permission gets through")
	}
	if code := l.request(stun.MethodCreatePermission, peerOf(peerAt), peerOf(forbidden)); code != stun.CodeForbidden || arrives() {
		t.Errorf("with a forbidden peer: %d", code)
	}
	if code := l.request(stun.MethodCreatePermission); code != stun.CodeBadRequest {
		t.Errorf("without a peer: %d", code)
	}
	if code := l.request(stun.MethodCreatePermission, peerOf(peerAt)); code != 0 || !arrives() {
		t.Errorf("permitted: %d", code)
	}
	l.net.Run(5*time.Minute - time.Second)
	if !arrives() {
		t.Error("ended before five minutes")
	}
	l.net.Run(time.Second)
	if arrives() {
		t.Error("lasts longer than five minutes")
	}
}
