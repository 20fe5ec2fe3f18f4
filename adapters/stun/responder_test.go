package stun

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// booth is a responder on a host of its own, and a host that sends requests to it.
type booth struct {
	*Responder
	t              *testing.T
	net            *simnet.Net
	host           *simnet.Host
	server, client host.Socket
	extra          host.Socket
	asker          host.Socket
	answers        [][]byte
	from           []netip.AddrPort
}

func newBooth(t *testing.T, cfg ResponderConfig) *booth {
	t.Helper()
	b := &booth{t: t, net: simnet.New(simnet.Config{Seed: 1, Scribble: true})}
	b.host = b.net.AddHost("responder", netip.MustParseAddr("198.51.100.1"))
	b.Responder = NewResponder(b.host, cfg)
	b.server, b.client, b.extra = b.open(49737), b.open(50000), b.open(50001)
	b.Bind(b.server, b.client)
	asker := b.net.AddHost("asker", us)
	var err error
	if b.asker, err = asker.OpenSocket(netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	b.asker.OnReceive(func(from netip.AddrPort, p []byte) {
		b.answers, b.from = append(b.answers, slices.Clone(p)), append(b.from, from)
	})
	return b
}

func (b *booth) open(port uint16) host.Socket {
	s, err := b.host.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		b.t.Fatal(err)
	}
	s.OnReceive(func(from netip.AddrPort, p []byte) { b.Receive(s, from, p) })
	return s
}

func (b *booth) ask(port uint16, packet []byte) {
	b.asker.Send(netip.AddrPortFrom(b.host.Addr(), port), 0, packet)
	b.net.Run(time.Millisecond)
}

func TestResponderAnswersOnBothSocketsAndNamesTheOther(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  ResponderConfig
		host string
	}{
		{"the machine's address", ResponderConfig{}, "198.51.100.1"},
		{"a configured address", ResponderConfig{Host: netip.MustParseAddr("192.0.2.9")}, "192.0.2.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBooth(t, tt.cfg)
			ports := []uint16{49737, 50000}
			for i, port := range ports {
				request := newRequest(transactionID{byte(i), 7})
				b.ask(port, request)
				if len(b.answers) != i+1 {
					t.Fatalf("%d answers, want %d", len(b.answers), i+1)
				}
				m, err := parse(b.answers[i])
				if err != nil {
					t.Fatal(err)
				}
				ip := netip.MustParseAddr(tt.host)
				asker := netip.AddrPortFrom(us, b.asker.LocalAddr().Port())
				if m.kind != stun.BindingSuccess || m.id != (transactionID{byte(i), 7}) || m.mapped != asker ||
					m.origin != netip.AddrPortFrom(ip, port) || m.other != netip.AddrPortFrom(ip, ports[1-i]) {
					t.Errorf("answer %+v", m)
				}
				if b.from[i] != netip.AddrPortFrom(b.host.Addr(), port) {
					t.Errorf("answered from %v", b.from[i])
				}
				if len(b.answers[i]) > 3*len(request) {
					t.Errorf("%d bytes for %d", len(b.answers[i]), len(request))
				}
			}
		})
	}
}

func TestResponderRefusesWhatItMustUnderstandAndDoesNot(t *testing.T) {
	b := newBooth(t, ResponderConfig{})
	request := stun.MustBuild(stun.BindingRequest, stun.NewTransactionIDSetter(transactionID{1}), stun.RawAttribute{Type: 3, Value: []byte{0, 0, 0, 6}})
	for i := range 100 {
		request.Add(stun.AttrType(0x7000+i), nil)
	}
	b.ask(49737, request.Raw)
	if len(b.answers) != 1 || b.Stats().Refused != 1 {
		t.Fatalf("%d answers, %+v", len(b.answers), b.Stats())
	}
	var m stun.Message
	if err := stun.Decode(b.answers[0], &m); err != nil {
		t.Fatal(err)
	}
	var code stun.ErrorCodeAttribute
	var unknown stun.UnknownAttributes
	if err := m.Parse(&code, &unknown); err != nil || m.Type != stun.BindingError || code.Code != 420 || len(unknown) != maxUnknown || unknown[0] != 3 {
		t.Errorf("%v %v %v %v", m.Type, code, unknown, err)
	}
	if len(b.answers[0]) > len(request.Raw) {
		t.Errorf("%d bytes for %d", len(b.answers[0]), len(request.Raw))
	}
}

func TestResponderIsSilentWhereNothingWasAsked(t *testing.T) {
	answer := newAnswer(transactionID{1}, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), netip.MustParseAddrPort("192.0.2.3:3"))
	tests := []struct {
		name   string
		port   uint16
		packet []byte
	}{
		{"an answer", 49737, answer},
		{"a refusal", 49737, newRefusal(&message{})},
		{"an indication", 49737, stun.MustBuild(stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw},
		{"another method", 49737, stun.MustBuild(stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw},
		{"a length that is none", 49737, append(newRequest(transactionID{1}), 0, 0, 0, 0)},
		{"too long", 49737, stun.MustBuild(stun.BindingRequest, stun.RawAttribute{Type: 0x8abc, Value: make([]byte, maxMessage)}).Raw},
		{"another socket", 50001, newRequest(transactionID{1})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBooth(t, ResponderConfig{})
			b.ask(tt.port, tt.packet)
			if s := b.Stats(); len(b.answers) != 0 || s.Malformed+s.Ignored != 1 {
				t.Errorf("%d answers, %+v", len(b.answers), s)
			}
		})
	}
}

func TestResponderLimitsEachSourceAndAllOfThem(t *testing.T) {
	b := newBooth(t, ResponderConfig{})
	flood := func(n int, from func(i int) netip.Addr) {
		for i := range n {
			b.Receive(b.server, netip.AddrPortFrom(from(i), uint16(1+i%60000)), newRequest(transactionID{byte(i)}))
		}
	}
	one := func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") }
	many := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

	flood(2*sourceRate, one)
	if s := b.Stats(); s.Answered != sourceRate || s.Limited != sourceRate {
		t.Errorf("a flood of one source: %+v", s)
	}
	flood(4*maxSources, many)
	if s := b.Stats(); s.Answered != sourceRate+maxSources-1 {
		t.Errorf("a flood of many sources: %d answers, want %d", s.Answered, sourceRate+maxSources-1)
	}
	if len(b.sources) != maxSources {
		t.Errorf("%d sources remembered, want %d", len(b.sources), maxSources)
	}
	flood(2*totalRate, func(i int) netip.Addr { return many(i % (maxSources / 2)) })
	if s := b.Stats(); s.Answered != totalRate {
		t.Errorf("a flood of many sources: %d answers, want %d", s.Answered, totalRate)
	}
	b.net.Run(rateWindow)
	flood(1, one)
	if s := b.Stats(); s.Answered != totalRate+1 {
		t.Error("not served a second later")
	}
}

func TestResponderSendsNoRequests(t *testing.T) {
	b := newBooth(t, ResponderConfig{})
	done := 0
	seen := func(netip.AddrPort, netip.AddrPort) { t.Error("a sample") }
	b.host.Do(func() {
		b.Probe(b.server, seen, func() { done++ })
		if done != 0 {
			t.Error("done before Probe returns")
		}
		b.Probe(b.server, seen, func() { t.Error("done after cancel") })()
	})
	if done != 1 {
		t.Errorf("done %d times", done)
	}
}

func TestClientAnswersThroughItsResponder(t *testing.T) {
	b := newBooth(t, ResponderConfig{})
	c, err := New(b.host, Config{Responder: b.Responder})
	if err != nil {
		t.Fatal(err)
	}
	c.Bind(b.client, b.server)
	if !c.Receive(b.server, netip.MustParseAddrPort("192.0.2.1:1"), newRequest(transactionID{1})) || b.Stats().Answered != 1 {
		t.Errorf("%+v", b.Stats())
	}
}
