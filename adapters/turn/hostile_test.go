package turn

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A message that is too large is skipped whole, wherever the stream is cut, and what follows is read.
func TestMessagesThatAreTooLargeAreSkipped(t *testing.T) {
	large, small := appendChannelData(nil, firstChannel, make([]byte, 2*maxFrame)), appendChannelData(nil, firstChannel, []byte("small"))
	stream := append(bytes.Clone(large), small...)
	for _, cut := range []int{1, 3, 4, 5, 100, maxFrame, len(large) - 1, len(large), len(large) + 2} {
		var f frames
		var got [][]byte
		for _, part := range [][]byte{stream[:cut], stream[cut:]} {
			if err := f.feed(part, func(b []byte) { got = append(got, bytes.Clone(b)) }); err != nil {
				t.Fatal(err)
			}
			if cap(f.rest) > 2*maxFrame {
				t.Errorf("cut at %d: %d bytes are kept", cut, cap(f.rest))
			}
		}
		if len(got) != 1 || !bytes.Equal(got[0], small) {
			t.Errorf("cut at %d: got %d messages, want the small one", cut, len(got))
		}
	}
}

// An answer over UDP counts only from the server, to the method of its request, and with the signature of the credentials.
func TestAnswersOfOthersAreDropped(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	base, server := net.AddHost("base", netip.MustParseAddr("192.0.2.1")), net.AddHost("server", netip.MustParseAddr("198.51.100.1"))
	stranger := net.AddHost("stranger", netip.MustParseAddr("198.51.100.2"))
	var from, asked netip.AddrPort
	var request stun.Message
	open := func(h *simnet.Host, port uint16) (s host.Socket) {
		h.Do(func() {
			var err error
			if s, err = h.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), port)); err != nil {
				t.Fatal(err)
			}
		})
		return s
	}
	own, others := open(server, 3478), open(stranger, 3478)
	own.OnReceive(func(at netip.AddrPort, b []byte) {
		from, request.Raw = at, bytes.Clone(b)
		if err := request.Decode(); err != nil {
			t.Error(err)
		}
	})
	asked = netip.AddrPortFrom(server.Addr(), 3478)
	var h *Host
	base.Do(func() {
		var err error
		if h, err = New(base, Config{Servers: []Server{{Addr: asked.String(), Username: "alice", Password: "password"}}}); err != nil {
			t.Fatal(err)
		}
	})
	net.Run(100 * time.Millisecond)
	answer := func(s host.Socket, on *simnet.Host, method stun.Method, class stun.MessageClass, attrs ...stun.RawAttribute) {
		m := stun.Message{Type: stun.NewType(method, class), TransactionID: request.TransactionID}
		m.WriteHeader()
		for _, a := range attrs {
			m.Add(a.Type, a.Value)
		}
		on.Do(func() { s.Send(from, 0, m.Raw) })
		net.Run(100 * time.Millisecond)
	}
	relayed := xorAddr(netip.MustParseAddrPort("198.51.100.1:50000"))
	relayed.Type = stun.AttrXORRelayedAddress
	challenge := []stun.RawAttribute{
		{Type: stun.AttrErrorCode, Value: []byte{0, 0, 4, 1}}, {Type: stun.AttrRealm, Value: []byte("realm")}, {Type: stun.AttrNonce, Value: []byte("nonce")},
	}
	before := request.TransactionID
	answer(others, stranger, stun.MethodAllocate, stun.ClassErrorResponse, challenge...)
	answer(own, server, stun.MethodRefresh, stun.ClassErrorResponse, challenge...)
	if request.TransactionID != before {
		t.Error("an answer of another machine, or to another method, counts")
	}
	answer(own, server, stun.MethodAllocate, stun.ClassErrorResponse, challenge...)
	if request.TransactionID == before {
		t.Fatal("the challenge of the server does not count")
	}
	answer(own, server, stun.MethodAllocate, stun.ClassSuccessResponse, relayed, seconds(time.Minute))
	if s := h.Stats(); s.Forged != 1 || h.current != nil {
		t.Errorf("an answer without a signature counts: %+v", s)
	}
	base.Do(func() { h.Close(func() {}) })
	net.Run(time.Second)
}

// relayedAt adds a relayed address to a message.
type relayedAt netip.AddrPort

func (r relayedAt) AddTo(m *stun.Message) error {
	at := netip.AddrPort(r)
	a := stun.XORMappedAddress{IP: at.Addr().AsSlice(), Port: int(at.Port())}
	return a.AddToAs(m, stun.AttrXORRelayedAddress)
}

// A server cannot give the host an address at which no peer reaches it. Its own machine's addresses are for servers there only.
func TestUselessRelayedAddressesAreRefused(t *testing.T) {
	for _, c := range []struct{ at, server, want string }{
		{"0.0.0.0:50000", "198.51.100.1", "relays at 0.0.0.0:50000"},
		{"0.1.2.3:50000", "198.51.100.1", "relays at 0.1.2.3:50000"},
		{"127.0.0.1:50000", "198.51.100.1", "relays at 127.0.0.1:50000"},
		{"127.0.0.1:50000", "127.0.0.1", ""},
		{"127.0.0.1:50000", "::1", ""},
		{"169.254.1.1:50000", "198.51.100.1", "relays at 169.254.1.1:50000"},
		{"224.0.0.1:50000", "198.51.100.1", "relays at 224.0.0.1:50000"},
		{"240.0.0.1:50000", "198.51.100.1", "relays at 240.0.0.1:50000"},
		{"255.255.255.255:50000", "198.51.100.1", "relays at 255.255.255.255:50000"},
		{"198.51.100.1:0", "198.51.100.1", "relays at 198.51.100.1:0"},
		{"[2001:db8::1]:50000", "198.51.100.1", "relays at [2001:db8::1]:50000"},
		{"198.51.100.1:50000", "198.51.100.1", ""},
		{"10.0.0.1:50000", "198.51.100.1", ""}, // in a private network
	} {
		r := newRig(t)
		r.pipe.remote = netip.AddrPortFrom(netip.MustParseAddr(c.server), 443)
		r.answer(r.host.sessions[0], stun.ClassSuccessResponse, relayedAt(netip.MustParseAddrPort(c.at)), seconds(time.Hour))
		if (r.host.current != nil) != (c.want == "") || !strings.Contains(fmt.Sprint(r.host.failure), c.want) {
			t.Errorf("at %s, by the server %s: relays %t, %v, want %q", c.at, c.server, r.host.current != nil, r.host.failure, c.want)
		}
	}
}

// Nor can it name such a peer, to which the node would answer.
func TestUselessPeersAreDropped(t *testing.T) {
	r := newRig(t)
	r.relay()
	for _, from := range []string{"0.0.0.0:1", "192.0.2.3:0", "224.0.0.1:1", "255.255.255.255:1", "192.0.2.3:1"} {
		data := stun.MustBuild(stun.NewType(stun.MethodData, stun.ClassIndication), stun.NewTransactionIDSetter(transactionID{1}),
			xorAddr(netip.MustParseAddrPort(from)), stun.RawAttribute{Type: stun.AttrData, Value: []byte("data")})
		r.base.Do(func() { r.pipe.handlers.OnReceive(data.Raw) })
	}
	if st := r.host.stats; r.got != 1 || st.Unexpected != 4 {
		t.Errorf("%d datagrams received, %d messages unexpected, want 1 and 4", r.got, st.Unexpected)
	}
}

// A server can refer to another one, but not to what listens on this machine.
func TestServersReferToNoServerOnThisMachine(t *testing.T) {
	for at, want := range map[string]bool{"127.0.0.1:53": false, "169.254.169.254:80": false, "224.0.0.1:1": false, "198.51.100.2:3478": true} {
		if got := isReachable(netip.MustParseAddrPort(at), netip.MustParseAddr("198.51.100.1")); got != want {
			t.Errorf("%s: %t", at, got)
		}
	}
}
