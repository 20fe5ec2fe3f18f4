package stun

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/internal/stunattr"
	"github.com/dhtprom/dhtprom/ports/host"
)

const delay = 10 * time.Millisecond

// lab is a client on a host of its own, with a socket to ask for, and scripted servers.
type lab struct {
	*Client
	t      *testing.T
	net    *simnet.Net
	host   *simnet.Host
	socket host.Socket
	other  host.Socket // of the same host

	samples []sample
	ended   time.Duration
	done    int
}

type sample struct{ seen, from netip.AddrPort }

var us = netip.MustParseAddr("203.0.113.7")

func newLab(t *testing.T, servers ...string) *lab {
	t.Helper()
	l := &lab{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: delay}, Scribble: true})}
	l.host = l.net.AddHost("us", us)
	var err error
	if l.Client, err = New(l.host, Config{Servers: servers}); err != nil {
		t.Fatal(err)
	}
	l.socket, l.other = l.open(l.host, 0), l.open(l.host, 0)
	return l
}

// open binds a socket whose datagrams the client sees.
func (l *lab) open(h *simnet.Host, port uint16) host.Socket {
	s, err := h.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		l.t.Fatal(err)
	}
	s.OnReceive(func(from netip.AddrPort, b []byte) { l.Receive(s, from, b) })
	return s
}

// peer is a server scripted by the test.
type peer struct {
	l    *lab
	host *simnet.Host
	sock host.Socket
	addr netip.AddrPort
	got  []time.Duration // arrivals
	ids  []transactionID
	from []netip.AddrPort
	// answer sends the answers; n counts the requests.
	answer func(p *peer, n int, from netip.AddrPort, id transactionID)
}

// peerAt starts a server on a port of the i-th public host.
func (l *lab) peerAt(i int, port uint16, answer func(p *peer, n int, from netip.AddrPort, id transactionID)) *peer {
	l.t.Helper()
	ip := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
	p := &peer{l: l, addr: netip.AddrPortFrom(ip, port), answer: answer}
	if p.host = l.net.HostAt(ip); p.host == nil {
		p.host = l.net.AddHost(ip.String(), ip)
	}
	var err error
	if p.sock, err = p.host.OpenSocket(p.addr); err != nil {
		l.t.Fatal(err)
	}
	p.sock.OnReceive(func(from netip.AddrPort, b []byte) {
		m, err := parse(b)
		if err != nil || m.kind != stun.BindingRequest {
			l.t.Errorf("%v got %x", p.addr, b)
			return
		}
		p.got = append(p.got, l.net.Now())
		p.ids = append(p.ids, m.id)
		p.from = append(p.from, from)
		p.answer(p, len(p.got), from, m.id)
	})
	return p
}

// respond builds an answer from attributes and sends it.
func (p *peer) respond(to netip.AddrPort, kind stun.MessageType, id transactionID, attributes ...stun.Setter) {
	m := stun.New()
	m.Type, m.TransactionID = kind, id
	m.WriteHeader()
	for _, a := range attributes {
		if err := a.AddTo(m); err != nil {
			p.l.t.Fatal(err)
		}
	}
	p.sock.Send(to, 0, m.Raw)
}

func xored(a netip.AddrPort) stun.Setter {
	return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}
func mapped(a netip.AddrPort) stun.Setter {
	return &stun.MappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}
func origin(a netip.AddrPort) stun.Setter {
	return &stun.ResponseOrigin{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}
func other(a netip.AddrPort) stun.Setter {
	return &stun.OtherAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}

func honest(p *peer, _ int, from netip.AddrPort, id transactionID) {
	p.respond(from, stun.BindingSuccess, id, xored(from))
}
func silent(*peer, int, netip.AddrPort, transactionID) {}

// ask starts a probe and collects its results.
func (l *lab) ask() (cancel func()) {
	l.host.Do(func() {
		returned := false
		cancel = l.Probe(l.socket, func(seen, from netip.AddrPort) {
			if !returned || l.done > 0 {
				l.t.Error("seen is called too early or too late")
			}
			l.samples = append(l.samples, sample{seen, from})
		}, func() {
			if !returned {
				l.t.Error("done is called before Probe returns")
			}
			l.done++
			l.ended = l.net.Now()
		})
		returned = true
	})
	return cancel
}

// settle asks and waits for the end, after which nothing must be left over.
func (l *lab) settle() {
	l.t.Helper()
	started := l.net.Now()
	l.done = 0
	l.ask()
	l.net.Run(time.Minute)
	l.ended -= started
	if l.done != 1 || len(l.transactions) != 0 || l.host.Timers() != 0 {
		l.t.Fatalf("done %d times, %d transactions, %d timers left", l.done, len(l.transactions), l.host.Timers())
	}
}

func (l *lab) want(samples ...sample) {
	l.t.Helper()
	if !slices.Equal(l.samples, samples) {
		l.t.Errorf("samples %v, want %v", l.samples, samples)
	}
}

func (l *lab) mine() netip.AddrPort { return netip.AddrPortFrom(us, l.socket.LocalAddr().Port()) }

func TestEveryServerIsAskedAtOnceAndCountsByItsAddress(t *testing.T) {
	l := newLab(t, "198.51.100.1", "stun.example:5000", "198.51.100.1:3478")
	l.net.SetName("stun.example", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.2"))
	a, b := l.peerAt(1, 3478, honest), l.peerAt(2, 5000, honest)
	l.settle()
	l.want(sample{l.mine(), a.addr}, sample{l.mine(), b.addr})
	if len(a.got) != 1 || len(b.got) != 1 {
		t.Errorf("asked %d and %d times, want once each", len(a.got), len(b.got))
	}
	if l.ended > 100*time.Millisecond {
		t.Errorf("took %v", l.ended)
	}
	for i, s := range l.Status()[:2] {
		if s.Seen != l.mine() || s.RTT != 2*delay || s.AnsweredAt == 0 || s.Unanswered != 0 || s.Err != nil {
			t.Errorf("status %d: %+v", i, s)
		}
	}
}

func TestProbeWithoutServersEndsAtOnce(t *testing.T) {
	l := newLab(t)
	l.settle()
	l.want()
}

func TestRequestsAreRepeatedAfterHalfASecondAndThenTwice(t *testing.T) {
	l := newLab(t, "198.51.100.1")
	p := l.peerAt(1, 3478, silent)
	l.settle()
	want := []time.Duration{delay, delay + 500*time.Millisecond, delay + 1500*time.Millisecond}
	if !slices.Equal(p.got, want) || l.ended != 2500*time.Millisecond {
		t.Errorf("requests at %v until %v, want %v until 2.5s", p.got, l.ended, want)
	}
	if p.ids[0] != p.ids[1] || p.ids[1] != p.ids[2] {
		t.Error("a retransmission has another transaction id")
	}
	l.want()
	if s := l.Status()[0]; s.Unanswered != 1 || s.AnsweredAt != 0 {
		t.Errorf("status %+v", s)
	}
	l.settle()
	if p.ids[3] == p.ids[0] {
		t.Error("two transactions have one id")
	}
}

func TestLateTransmissionsAreAnsweredToo(t *testing.T) {
	l := newLab(t, "198.51.100.1")
	p := l.peerAt(1, 3478, func(p *peer, n int, from netip.AddrPort, id transactionID) {
		if n == 3 {
			honest(p, n, from, id)
		}
	})
	l.settle()
	l.want(sample{l.mine(), p.addr})
	if s := l.Status()[0]; s.RTT != 0 {
		t.Errorf("round trip %v from a retransmission", s.RTT)
	}
}

func TestAlternateAddressIsASecondResponder(t *testing.T) {
	inside := netip.MustParseAddr("10.0.0.5") // what a server behind a translation takes for its address
	tests := []struct {
		name          string
		origin, other netip.AddrPort
		alternate     netip.AddrPort
		asked         bool
	}{
		{"another host", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("198.51.100.2:3479"), netip.MustParseAddrPort("198.51.100.2:3479"), true},
		{"another port", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("198.51.100.1:3479"), netip.MustParseAddrPort("198.51.100.1:3479"), true},
		{"another port of a host that does not know its address", netip.AddrPortFrom(inside, 3478), netip.AddrPortFrom(inside, 3479), netip.MustParseAddrPort("198.51.100.1:3479"), true},
		{"the same address", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("198.51.100.1:3478"), false},
		{"no port", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("198.51.100.2:0"), netip.MustParseAddrPort("198.51.100.2:0"), false},
		{"broadcast", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("255.255.255.255:3478"), netip.MustParseAddrPort("255.255.255.255:3478"), false},
		{"a group", netip.MustParseAddrPort("198.51.100.1:3478"), netip.MustParseAddrPort("224.0.0.1:3478"), netip.MustParseAddrPort("224.0.0.1:3478"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, "198.51.100.1")
			first := l.peerAt(1, 3478, func(p *peer, _ int, from netip.AddrPort, id transactionID) {
				p.respond(from, stun.BindingSuccess, id, xored(from), origin(tt.origin), other(tt.other))
			})
			want := []sample{{l.mine(), first.addr}}
			if tt.asked {
				// The alternate names a third address, which is not queried: a chain of them could lead anywhere.
				third := l.peerAt(9, 3478, honest)
				second := l.peerAt(int(tt.alternate.Addr().As4()[3]), tt.alternate.Port(), func(p *peer, _ int, from netip.AddrPort, id transactionID) {
					p.respond(from, stun.BindingSuccess, id, xored(from), origin(p.addr), other(third.addr))
				})
				defer func() {
					if len(third.got) != 0 {
						t.Error("the alternate's alternate is asked")
					}
				}()
				want = append(want, sample{l.mine(), second.addr})
			}
			l.settle()
			l.want(want...)
			if s := l.Status()[0]; s.Alternate != tt.alternate {
				t.Errorf("alternate %v, want %v", s.Alternate, tt.alternate)
			}
			if l.Stats().Requests != uint64(len(want)) {
				t.Errorf("%d requests, want %d", l.Stats().Requests, len(want))
			}
		})
	}
}

func TestOnlyTheServerThatWasAskedIsBelieved(t *testing.T) {
	lie := netip.MustParseAddrPort("192.0.2.66:6666")
	tests := []struct {
		name  string
		spoil func(l *lab, p *peer, from netip.AddrPort, id transactionID)
		stat  func(Stats) uint64
	}{
		{"another host answers", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			l.peerAt(66, 3478, silent).respond(from, stun.BindingSuccess, id, xored(lie))
		}, func(s Stats) uint64 { return s.Unexpected }},
		{"another port answers", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			l.peerAt(1, 3479, silent).respond(from, stun.BindingSuccess, id, xored(lie))
		}, func(s Stats) uint64 { return s.Unexpected }},
		{"another transaction", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			id[3]++
			p.respond(from, stun.BindingSuccess, id, xored(lie))
		}, func(s Stats) uint64 { return s.Unexpected }},
		{"another socket", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			p.respond(netip.AddrPortFrom(us, l.other.LocalAddr().Port()), stun.BindingSuccess, id, xored(lie))
		}, func(s Stats) uint64 { return s.Unexpected }},
		{"an indication", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			p.respond(from, stun.NewType(stun.MethodBinding, stun.ClassIndication), id, xored(lie))
		}, func(s Stats) uint64 { return s.Ignored }},
		{"a request", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			p.respond(from, stun.BindingRequest, id, xored(lie))
		}, func(s Stats) uint64 { return s.Ignored }},
		{"an answer with a wrong fingerprint", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			p.respond(from, stun.BindingSuccess, id, xored(lie), stun.RawAttribute{Type: stun.AttrFingerprint, Value: []byte{1, 2, 3, 4}})
		}, func(s Stats) uint64 { return s.Malformed }},
		{"an address cut short", func(l *lab, p *peer, from netip.AddrPort, id transactionID) {
			p.respond(from, stun.BindingSuccess, id, stun.RawAttribute{Type: stun.AttrXORMappedAddress})
		}, func(s Stats) uint64 { return s.Malformed }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, "198.51.100.1")
			p := l.peerAt(1, 3478, func(p *peer, n int, from netip.AddrPort, id transactionID) {
				if n == 1 {
					tt.spoil(l, p, from, id)
					return
				}
				honest(p, n, from, id)
			})
			l.settle()
			l.want(sample{l.mine(), p.addr})
			if tt.stat(l.Stats()) != 1 {
				t.Errorf("stats %+v", l.Stats())
			}
		})
	}
}

func TestAnswersThatSayNothingEndTheTransaction(t *testing.T) {
	tests := []struct {
		name   string
		kind   stun.MessageType
		values []stun.Setter
	}{
		{"an error", stun.BindingError, []stun.Setter{stun.CodeServerError}},
		{"no address", stun.BindingSuccess, nil},
		{"port 0", stun.BindingSuccess, []stun.Setter{xored(netip.MustParseAddrPort("192.0.2.1:0"))}},
		{"host 0", stun.BindingSuccess, []stun.Setter{xored(netip.MustParseAddrPort("0.0.0.0:1"))}},
		{"an IPv6 address", stun.BindingSuccess, []stun.Setter{xored(netip.MustParseAddrPort("[2001:db8::1]:1"))}},
		{"what must be understood and is not", stun.BindingSuccess, []stun.Setter{
			xored(netip.MustParseAddrPort("192.0.2.1:1")), stun.RawAttribute{Type: 0x7abc, Value: []byte{1, 2, 3, 4}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, "198.51.100.1")
			p := l.peerAt(1, 3478, func(p *peer, _ int, from netip.AddrPort, id transactionID) {
				p.respond(from, tt.kind, id, tt.values...)
			})
			l.settle()
			l.want()
			if len(p.got) != 1 || l.ended > 100*time.Millisecond {
				t.Errorf("%d requests, ended after %v", len(p.got), l.ended)
			}
		})
	}
}

func TestAddressThatMeddlersRewriteIsTheSecondChoice(t *testing.T) {
	rewritten := netip.MustParseAddrPort("10.0.0.1:1")
	for _, order := range []string{"first", "last", "alone"} {
		t.Run(order, func(t *testing.T) {
			l := newLab(t, "198.51.100.1")
			p := l.peerAt(1, 3478, func(p *peer, _ int, from netip.AddrPort, id transactionID) {
				switch order {
				case "first":
					p.respond(from, stun.BindingSuccess, id, mapped(rewritten), xored(from))
				case "last":
					p.respond(from, stun.BindingSuccess, id, xored(from), mapped(rewritten))
				default:
					p.respond(from, stun.BindingSuccess, id, mapped(from))
				}
			})
			l.settle()
			l.want(sample{l.mine(), p.addr})
		})
	}
}

func TestCanceledProbeIsSilent(t *testing.T) {
	l := newLab(t, "198.51.100.1", "slow.example")
	l.peerAt(1, 3478, honest)
	l.net.SetName("slow.example", netip.MustParseAddr("198.51.100.2"))
	late := l.peerAt(2, 3478, honest)
	cancel := l.ask()
	l.host.Do(cancel)
	l.host.Do(cancel)
	l.net.Run(time.Minute)
	l.want()
	if l.done != 0 || len(late.got) != 0 || l.host.Timers() != 0 || len(l.transactions) != 0 {
		t.Errorf("done %d times, %d late requests, %d timers", l.done, len(late.got), l.host.Timers())
	}
}

func TestSampleMayCancelItsProbe(t *testing.T) {
	l := newLab(t, "198.51.100.1", "198.51.100.2")
	l.peerAt(1, 3478, func(p *peer, _ int, from netip.AddrPort, id transactionID) {
		p.respond(from, stun.BindingSuccess, id, xored(from), other(netip.MustParseAddrPort("198.51.100.3:3478")))
	})
	l.peerAt(2, 3478, honest)
	n := 0
	var cancel func()
	l.host.Do(func() {
		cancel = l.Probe(l.socket, func(netip.AddrPort, netip.AddrPort) { n++; cancel() }, func() { t.Error("done") })
	})
	l.net.Run(time.Minute)
	if n != 1 || l.host.Timers() != 0 || len(l.transactions) != 0 {
		t.Errorf("%d samples, %d timers", n, l.host.Timers())
	}
}

func TestNamesAreLookedUpAgainNowAndThen(t *testing.T) {
	l := newLab(t, "stun.example")
	a, b := l.peerAt(1, 3478, honest), l.peerAt(2, 3478, honest)
	l.settle()
	if err := l.Status()[0].Err; err == nil {
		t.Fatal("no error for an unknown name")
	}
	l.net.SetName("stun.example", a.addr.Addr())
	l.settle() // a minute later
	if len(a.got) != 1 || l.Status()[0].Err != nil {
		t.Fatalf("%d requests, %v", len(a.got), l.Status()[0].Err)
	}
	l.net.SetName("stun.example", b.addr.Addr())
	l.settle()
	if len(a.got) != 2 {
		t.Fatal("another address is asked too early")
	}
	l.net.Run(time.Hour)
	l.settle() // still there, and the name is looked up meanwhile
	l.settle()
	if len(a.got) != 3 || len(b.got) != 1 {
		t.Errorf("%d and %d requests, want 3 and 1", len(a.got), len(b.got))
	}
	b.answer = silent
	l.net.SetName("stun.example", a.addr.Addr())
	l.settle()
	l.settle()
	l.settle()
	if len(a.got) < 4 {
		t.Error("the name of a silent server is not looked up again")
	}
}

func TestAddressOutlivesALookupThatFails(t *testing.T) {
	l := newLab(t, "stun.example")
	a := l.peerAt(1, 3478, honest)
	l.net.SetName("stun.example", a.addr.Addr())
	l.settle()
	l.net.SetName("stun.example")
	l.net.Run(2 * time.Hour)
	l.settle()
	l.settle()
	if len(a.got) != 3 || l.Status()[0].Err == nil {
		t.Errorf("%d requests, want 3; %v", len(a.got), l.Status()[0].Err)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	servers := make([]string, maxServers)
	for i := range servers {
		servers[i] = fmt.Sprintf("198.51.100.%d", i+1)
	}
	l := newLab(t, servers...)
	done := 0
	l.host.Do(func() {
		for range maxTransactions/maxServers + 10 {
			l.Probe(l.socket, func(netip.AddrPort, netip.AddrPort) {}, func() { done++ })
		}
	})
	if len(l.transactions) != maxTransactions || l.Stats().Busy != 10*maxServers {
		t.Errorf("%d transactions, %d refused", len(l.transactions), l.Stats().Busy)
	}
	l.net.Run(time.Minute)
	if done != maxTransactions/maxServers+10 || len(l.transactions) != 0 {
		t.Errorf("%d probes ended, %d transactions left", done, len(l.transactions))
	}
}

func TestServersOfAFlag(t *testing.T) {
	tests := []struct {
		name    string
		values  []string
		private bool
		want    []string
		bad     bool
	}{
		{name: "none given", want: DefaultServers()},
		{name: "none given, private DHT", private: true},
		{name: "switched off", values: []string{"none"}},
		{name: "named", values: []string{"a.example:1", "192.0.2.1"}, private: true, want: []string{"a.example:1", "192.0.2.1"}},
		{name: "none among others", values: []string{"a.example", "none"}, bad: true},
		{name: "empty", values: []string{""}, bad: true},
		{name: "no host", values: []string{":1"}, bad: true},
		{name: "port 0", values: []string{"a:0"}, bad: true},
		{name: "port too large", values: []string{"a:65536"}, bad: true},
		{name: "IPv6", values: []string{"::1"}, bad: true},
		{name: "unspecified", values: []string{"0.0.0.0:1"}, bad: true},
		{name: "multicast", values: []string{"224.0.0.1:1"}, bad: true},
		{name: "too many", values: make([]string, maxServers+1), bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Servers(tt.values, tt.private)
			if !slices.Equal(got, tt.want) || (err != nil) != tt.bad {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := New(nil, Config{Servers: got}); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := New(nil, Config{Servers: []string{"none"}}); err == nil {
		t.Error("a client takes none for a server")
	}
}

func TestWhatIsNotSTUNIsLeftAlone(t *testing.T) {
	request := newRequest(transactionID{1})
	if !isSTUN(request) {
		t.Fatal("a request is not STUN")
	}
	for n := range headerSize {
		if isSTUN(request[:n]) {
			t.Errorf("%d bytes are STUN", n)
		}
	}
	for _, first := range []byte{2, 3, 19, 0x40, 0x80, 0xff} { // 3 and 19 are those of DHT messages, 0xff that of UDX
		b := slices.Clone(request)
		b[0] = first
		if isSTUN(b) {
			t.Errorf("first byte %d is STUN", first)
		}
	}
	b := slices.Clone(request)
	binary.BigEndian.PutUint32(b[4:], stunattr.MagicCookie+1)
	if isSTUN(b) {
		t.Error("another cookie is STUN")
	}
}

// silentResolver is a host whose lookups of names never end.
type silentResolver struct{ host.Host }

func (silentResolver) LookupHost(string, func([]netip.Addr, error)) {}

func TestProbeEndsWhereALookupDoesNot(t *testing.T) {
	l := newLab(t)
	var err error
	if l.Client, err = New(silentResolver{l.host}, Config{Servers: []string{"stun.example"}}); err != nil {
		t.Fatal(err)
	}
	l.ask()
	l.net.Run(probeTimeout + time.Second)
	if l.done != 1 || l.ended > probeTimeout {
		t.Errorf("done %d times, at %v", l.done, l.ended)
	}
}
