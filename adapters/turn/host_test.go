package turn_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/ports/host"
)

const delay = 20 * time.Millisecond

var users = map[string]string{"alice": "password"}

// lab is a host with TURN servers, and a peer.
type lab struct {
	*turn.Host
	t       *testing.T
	net     *simnet.Net
	pipes   *simpipe.Network
	base    *simnet.Host
	peer    *simnet.Host
	peerAt  netip.AddrPort
	peerS   host.Socket
	atPeer  []string // what arrived there, and from where
	servers []*simturn.Server
	hosts   []*simnet.Host // of the servers
	ups     []netip.AddrPort
	downs   []error
}

// newLab starts servers; way is pipe or udp.
func newLab(t *testing.T, way string, servers ...simturn.Config) *lab {
	t.Helper()
	l := &lab{t: t, net: simnet.New(simnet.Config{Seed: 3, Link: simnet.Link{Delay: delay}, Scribble: true})}
	l.pipes = simpipe.New(l.net, simpipe.Config{})
	l.base = l.net.AddHost("base", netip.MustParseAddr("192.0.2.1"))
	l.peer = l.net.AddHost("peer", netip.MustParseAddr("192.0.2.2"))
	l.peer.Do(func() {
		var err error
		if l.peerS, err = l.peer.OpenSocket(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		l.peerS.OnReceive(func(from netip.AddrPort, b []byte) { l.atPeer = append(l.atPeer, fmt.Sprintf("%s from %v", b, from)) })
	})
	l.peerAt = netip.AddrPortFrom(l.peer.Addr(), l.peerS.LocalAddr().Port())
	var list []turn.Server
	for i, cfg := range servers {
		h := l.net.AddHost(fmt.Sprint("server", i), netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}))
		l.hosts = append(l.hosts, h)
		l.servers = append(l.servers, simturn.Start(l.net, l.pipes, h, 443, cfg))
		at := netip.AddrPortFrom(h.Addr(), 443)
		s := turn.Server{Name: h.Name(), Username: "alice", Password: "password"}
		if way == "udp" {
			s.Addr = at.String()
		} else {
			s.Dialer = l.pipes.Dialer(l.base, at)
		}
		list = append(list, s)
	}
	l.base.Do(func() {
		var err error
		l.Host, err = turn.New(l.base, turn.Config{
			Servers: list, OnUp: func(a netip.AddrPort) { l.ups = append(l.ups, a) }, OnDown: func(err error) { l.downs = append(l.downs, err) },
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return l
}

// up runs until a server relays, as many times.
func (l *lab) up(times int, within time.Duration) {
	l.t.Helper()
	if !l.net.RunUntil(func() bool { return len(l.ups) == times }, within) {
		l.t.Fatalf("up %d times, want %d; %v", len(l.ups), times, l.downs)
	}
}

// socket opens a socket that notes what arrives.
func (l *lab) socket(received *[]string) (s host.Socket) {
	l.t.Helper()
	l.base.Do(func() {
		var err error
		if s, err = l.OpenSocket(netip.AddrPort{}); err != nil {
			l.t.Fatal(err)
		}
		s.OnReceive(func(from netip.AddrPort, b []byte) { *received = append(*received, fmt.Sprintf("%s from %v", b, from)) })
	})
	return s
}

func (l *lab) send(s host.Socket, text string) {
	l.base.Do(func() { s.Send(l.peerAt, 0, []byte(text)) })
}

// echo sends to the peer and back.
func (l *lab) echo(s host.Socket, received *[]string, text string) {
	l.t.Helper()
	l.send(s, text)
	l.net.Run(5 * delay)
	relayed := l.ups[len(l.ups)-1]
	if want := fmt.Sprintf("%s from %v", text, relayed); len(l.atPeer) == 0 || l.atPeer[len(l.atPeer)-1] != want {
		l.t.Fatalf("the peer has received %q, want %q", l.atPeer[max(0, len(l.atPeer)-3):], want)
	}
	l.peer.Do(func() { l.peerS.Send(relayed, 0, []byte("re: "+text)) })
	l.net.Run(5 * delay)
	if want := fmt.Sprintf("re: %s from %v", text, l.peerAt); len(*received) == 0 || (*received)[len(*received)-1] != want {
		l.t.Fatalf("received %q, want %q", (*received)[max(0, len(*received)-3):], want)
	}
}

// right fails if the client did something that a server does not expect.
func (l *lab) right() {
	l.t.Helper()
	for i, s := range l.servers {
		if n := s.Stats().Wrong; n > 0 {
			l.t.Errorf("server %d has counted %d wrong messages", i, n)
		}
	}
	if s := l.Stats(); s.Malformed+s.Unexpected+s.Forged+s.Busy > 0 {
		l.t.Errorf("%+v", s)
	}
}

var ways = []string{"pipe", "udp"}

func TestAllocatesWithinFiveRoundTrips(t *testing.T) {
	for _, way := range ways {
		l := newLab(t, way, simturn.Config{Users: users})
		l.up(1, 5*2*delay)
		if addrs := l.Addrs(); len(addrs) != 1 || addrs[0] != l.hosts[0].Addr() || l.Status().Server != "server0" || l.Status().Relayed != l.ups[0] {
			t.Errorf("%v, %+v", addrs, l.Status())
		}
		var received []string
		s := l.socket(&received)
		l.echo(s, &received, "hello")
		l.right()
	}
}

// An hour with datagrams, and one with pauses: permissions, channels and the allocation last as long as they are needed.
func TestAllocationLastsForHours(t *testing.T) {
	for _, way := range ways {
		l := newLab(t, way, simturn.Config{Users: users, NonceAge: 10 * time.Minute})
		l.up(1, time.Second)
		var received []string
		s := l.socket(&received)
		for i := range 3600 {
			l.send(s, fmt.Sprint("a", i))
			l.net.Run(time.Second)
		}
		if n := len(l.atPeer); n < 3599 {
			t.Errorf("%d datagrams have arrived", n)
		}
		// A datagram that asks for a permission with a stale nonce would be lost.
		l.servers[0].SetConfig(func(c *simturn.Config) { c.NonceAge = 0 })
		for i := range 6 {
			l.net.Run(10 * time.Minute)
			l.echo(s, &received, fmt.Sprint("b", i))
		}
		if st := l.servers[0].Stats(); st.Made != 1 || st.Channels == 0 || len(l.downs) > 0 {
			t.Errorf("%+v, %v", st, l.downs)
		}
		l.right()
	}
}

func TestManyDatagramsTakeAChannel(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	for i := range 20 {
		l.send(s, fmt.Sprint("datagram ", i))
		l.net.Run(3 * delay)
	}
	l.send(s, "x") // too short for pion's server to notice
	l.net.Run(time.Second)
	if st := l.servers[0].Stats(); st.Channels != 12 || len(l.atPeer) != 21 {
		t.Errorf("%d of %d datagrams over a channel", st.Channels, len(l.atPeer))
	}
	l.right()
}

// A datagram goes to the socket that sent to its sender last, else to the one that sent to the sender's IP address, else to the first.
func TestSocketsShareTheAddress(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var first, second, third []string
	a, b, c := l.socket(&first), l.socket(&second), l.socket(&third)
	if a.LocalAddr() != l.ups[0] || b.LocalAddr() != l.ups[0] {
		t.Errorf("%v, %v", a.LocalAddr(), b.LocalAddr())
	}
	l.echo(b, &second, "to b")
	l.echo(c, &third, "to c")
	l.echo(b, &second, "to b again")
	l.peer.Do(func() {
		other, err := l.peer.OpenSocket(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		other.Send(l.ups[0], 0, []byte("from another port"))
	})
	l.net.Run(time.Second)
	if n := len(second); n != 3 || !strings.HasPrefix(second[2], "from another port") {
		t.Errorf("%q", second)
	}
	l.base.Do(b.Close)
	l.peer.Do(func() { l.peerS.Send(l.ups[0], 0, []byte("after Close")) })
	l.net.Run(time.Second)
	if len(first) != 1 || !strings.HasPrefix(first[0], "after Close") || len(third) != 1 {
		t.Errorf("%q, %q", first, third)
	}
	l.right()
}

// A datagram with a small TTL opens the way for answers, as it does at a NAT, and does not arrive.
func TestSmallTTLOpensTheWayOnly(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	l.base.Do(func() { s.Send(l.peerAt, 5, []byte("opener")) })
	l.net.Run(time.Second)
	l.peer.Do(func() { l.peerS.Send(l.ups[0], 0, []byte("first")) })
	l.net.Run(time.Second)
	if len(l.atPeer) > 0 || len(received) != 1 {
		t.Errorf("the peer %q, this side %q", l.atPeer, received)
	}
}

func TestStrangersDoNotReachIt(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	l.socket(&received)
	l.peer.Do(func() { l.peerS.Send(l.ups[0], 0, []byte("unasked")) })
	l.net.Run(time.Second)
	if len(received) > 0 || l.servers[0].Stats().Unpermitted != 1 {
		t.Errorf("%q", received)
	}
}

func TestForbiddenPeersCostOthersNothing(t *testing.T) {
	for _, way := range ways {
		bad := netip.MustParseAddr("192.0.2.66")
		l := newLab(t, way, simturn.Config{Users: users, Forbid: func(a netip.Addr) bool { return a == bad }})
		l.up(1, time.Second)
		var received []string
		s := l.socket(&received)
		l.base.Do(func() { // one request for both
			s.Send(netip.AddrPortFrom(bad, 9), 0, []byte("forbidden"))
			s.Send(l.peerAt, 0, []byte("allowed"))
		})
		l.net.Run(time.Second)
		l.echo(s, &received, "still allowed")
		l.base.Do(func() { s.Send(netip.AddrPortFrom(bad, 9), 0, []byte("forbidden")) })
		if st := l.Stats(); st.Refused != 1 || st.Forbidden != 1 {
			t.Errorf("%+v", st)
		}
	}
}

// The server dies, or the network does, or the machine of the server vanishes: the loss is noticed and healed.
func TestLossesAreHealed(t *testing.T) {
	tests := []struct {
		name    string
		lose    func(*lab)
		heal    func(*lab)
		noticed time.Duration
	}{
		{"killed", func(l *lab) { l.servers[0].Kill() }, func(l *lab) {
			l.servers[0] = simturn.Start(l.net, l.pipes, l.hosts[0], 443, simturn.Config{Users: users})
		}, time.Second},
		{"cut off", func(l *lab) { l.pipes.Cut(l.base) }, func(l *lab) { l.pipes.Join(l.base) }, 9 * time.Second},
		{"silent", func(l *lab) { l.servers[0].SetConfig(func(c *simturn.Config) { c.Silent = true }) },
			func(l *lab) { l.servers[0].SetConfig(func(c *simturn.Config) { c.Silent = false }) }, 9 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, "pipe", simturn.Config{Users: users})
			l.up(1, time.Second)
			var received []string
			s := l.socket(&received)
			l.echo(s, &received, "before")
			test.lose(l)
			if !l.net.RunUntil(func() bool { return len(l.downs) > 0 }, test.noticed) {
				t.Fatal("the loss is not noticed in time")
			}
			l.send(s, "into the void")
			l.net.Run(3 * time.Minute)
			if l.Status().Err == nil || l.Status().Server != "" {
				t.Errorf("%+v", l.Status())
			}
			test.heal(l)
			l.up(2, 10*time.Second)
			l.echo(s, &received, "after")
		})
	}
}

func TestNextServerTakesOver(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users}, simturn.Config{Users: users}, simturn.Config{Users: users, Silent: true})
	l.up(1, time.Second)
	l.net.Run(5 * time.Second)
	if l.servers[1].Stats().Made > 0 {
		t.Error("two allocations though the first server answers at once")
	}
	var received []string
	s := l.socket(&received)
	l.echo(s, &received, "over the first")
	l.servers[0].Kill()
	l.up(2, 2*time.Second)
	l.echo(s, &received, "over the second")
	if addrs := l.Addrs(); addrs[0] != l.hosts[1].Addr() {
		t.Errorf("%v", addrs)
	}
}

// Servers that do not answer delay the others by 300 ms each, and those that refuse by nothing.
func TestSilentServersAreOvertaken(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users, Silent: true}, simturn.Config{}, simturn.Config{Users: users})
	l.up(1, time.Second)
	l.net.Run(time.Minute)
	if len(l.downs) > 0 || l.Status().Server != "server2" {
		t.Errorf("%v, %+v", l.downs, l.Status())
	}
}

func TestErrorsNameTheServerAndTheRemedy(t *testing.T) {
	for want, cfg := range map[string]simturn.Config{
		"server0: 401 \"Refused\": it does not know the user, or the password is wrong": {},
		"server0: the server does not answer":                                           {Users: users, Silent: true},
		"403 \"Refused\": it does not allow this client":                                {Users: users, Code: stun.CodeForbidden},
		"437 \"Refused\": it has no allocation of this connection, or another one":      {Users: users, Code: stun.CodeAllocMismatch},
		"438 \"Refused\": it does not accept the nonces that it gives":                  {Users: users, NonceAge: 1},
		"441 \"Refused\": the user is not the one that has allocated":                   {Users: users, Code: stun.CodeWrongCredentials},
		"442 \"Refused\": it relays no UDP":                                             {Users: users, Code: stun.CodeUnsupportedTransProto},
		"486 \"Refused\": the user has as many allocations as the server allows":        {Users: users, Code: stun.CodeAllocQuotaReached},
		"508 \"Refused\": it has no room":                                               {Users: users, Code: stun.CodeInsufficientCapacity},
		"300 \"Refused\": it refers to another server":                                  {Users: users, Code: stun.CodeTryAlternate},
		"500 \"Refused\"": {Users: users, Code: stun.CodeServerError},
	} {
		l := newLab(t, "pipe", cfg)
		l.net.RunUntil(func() bool { return len(l.downs) > 0 }, time.Minute)
		if len(l.downs) == 0 || !strings.Contains(l.downs[0].Error(), want) {
			t.Errorf("%v, want %s", l.downs, want)
		}
		if _, ok := errors.AsType[*turn.Error](l.downs[0]); !ok {
			t.Errorf("%T", l.downs[0])
		}
	}
}

func TestOneThatRefersToAnotherIsFollowedOnceOverUDP(t *testing.T) {
	second := netip.MustParseAddrPort("198.51.100.2:443")
	l := newLab(t, "udp", simturn.Config{Users: users, Alternate: second}, simturn.Config{Users: users})
	l.up(1, 250*time.Millisecond) // before the second one begins by itself
	if at := l.ups[0].Addr(); at != second.Addr() || l.Status().Server != "server0" {
		t.Errorf("%v, %+v", at, l.Status())
	}
	l.right()
	l = newLab(t, "udp", simturn.Config{Users: users, Alternate: netip.MustParseAddrPort("198.51.100.1:443")})
	l.net.Run(time.Minute)
	if len(l.ups) > 0 || l.servers[0].Stats().Made > 0 || !strings.Contains(l.downs[0].Error(), "followed once") {
		t.Errorf("%v, %v", l.ups, l.downs)
	}
}

func TestMismatchHasASecondTryFromAnotherPort(t *testing.T) {
	for _, way := range ways {
		l := newLab(t, way, simturn.Config{Users: users, Mismatches: 1})
		l.up(1, 500*time.Millisecond)
		if len(l.downs) > 0 {
			t.Error(l.downs)
		}
		l.right()
	}
}

func TestSHA256IsUsedWhereItIsOffered(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users, SHA256: true, NonceAge: time.Minute})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	for i := range 12 {
		l.net.Run(time.Minute)
		l.send(s, "asks for a permission, with a stale nonce")
		l.net.Run(time.Second)
		l.echo(s, &received, fmt.Sprint(i))
	}
	l.right()
}

// The first datagram to a peer arrives once, though the nonce of its permission is stale, the request is lost or another peer of the same
// turn is forbidden.
func TestFirstDatagramsArriveOnce(t *testing.T) {
	bad := netip.MustParseAddr("192.0.2.66")
	for _, way := range ways {
		l := newLab(t, way, simturn.Config{Users: users, NonceAge: time.Second, Forbid: func(a netip.Addr) bool { return a == bad }})
		l.up(1, time.Second)
		l.net.Run(10 * time.Second)
		var received []string
		s := l.socket(&received)
		l.base.Do(func() {
			s.Send(netip.AddrPortFrom(bad, 9), 0, []byte("forbidden"))
			s.Send(l.peerAt, 0, []byte("first"))
			s.Send(l.peerAt, 0, []byte("second"))
		})
		l.net.Run(delay)
		l.send(s, "third")
		l.net.Run(time.Second)
		if len(l.atPeer) != 3 {
			t.Errorf("%s: %q", way, l.atPeer)
		}
		l.right()
	}
	l := newLab(t, "udp", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	l.net.Block(l.base, l.hosts[0])
	l.send(s, "lost with its request")
	l.net.Run(100 * time.Millisecond)
	l.net.Heal()
	l.net.Run(time.Second)
	if len(l.atPeer) != 1 {
		t.Errorf("%q", l.atPeer)
	}
}

// A server over UDP that is restarted answers, and has no allocation.
func TestRestartedServerOverUDPIsNoticed(t *testing.T) {
	l := newLab(t, "udp", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	l.echo(s, &received, "before")
	l.servers[0].Kill()
	l.servers[0] = simturn.Start(l.net, l.pipes, l.hosts[0], 443, simturn.Config{Users: users})
	l.up(2, 5*time.Second)
	l.echo(s, &received, "after")
}

// A server whose allocations do not last, or that states absurd lifetimes, costs a bounded number of requests.
func TestServersThatFlapArePaused(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	for end := l.net.Now() + time.Minute; l.net.Now() < end; {
		if l.net.RunUntil(func() bool { return l.Status().Server != "" }, time.Minute) {
			l.servers[0].Kill()
			l.servers[0] = simturn.Start(l.net, l.pipes, l.hosts[0], 443, simturn.Config{Users: users})
			l.net.RunUntil(func() bool { return l.Status().Server == "" }, time.Second)
		}
	}
	if n := len(l.ups); n < 10 || n > 16 {
		t.Errorf("allocated %d times in a minute", n)
	}
	l = newLab(t, "pipe", simturn.Config{Users: users, Lifetime: time.Second})
	l.net.Run(time.Minute)
	if n := l.Stats().Requests; n > 60 {
		t.Errorf("%d requests in a minute", n)
	}
}

func TestCloseEndsTheAllocation(t *testing.T) {
	for _, way := range ways {
		l := newLab(t, way, simturn.Config{Users: users})
		l.up(1, time.Second)
		closed := 0
		l.base.Do(func() {
			l.Close(func() { closed++ })
			l.Close(func() { closed++ })
		})
		l.net.Run(time.Second)
		if n := l.servers[0].Stats().Allocations; n != 0 || closed != 2 || len(l.downs) > 0 {
			t.Errorf("%s: %d allocations, closed %d times, %v", way, n, closed, l.downs)
		}
		if _, err := l.OpenSocket(netip.AddrPort{}); !errors.Is(err, turn.ErrClosed) {
			t.Errorf("%v", err)
		}
		l.right()
	}
}

// A server that is killed, or a network that is cut, while the host closes does not keep it from closing.
func TestCloseEndsWithoutTheServer(t *testing.T) {
	for name, lose := range map[string]func(*lab){
		"killed":  func(l *lab) { l.servers[0].Kill() },
		"cut off": func(l *lab) { l.pipes.Cut(l.base) },
		"silent":  func(l *lab) { l.servers[0].SetConfig(func(c *simturn.Config) { c.Silent = true }) },
	} {
		l := newLab(t, "pipe", simturn.Config{Users: users})
		l.up(1, time.Second)
		closed := false
		l.base.Do(func() { l.Close(func() { closed = true }) })
		lose(l)
		if l.net.Run(time.Second); !closed {
			t.Errorf("%s: Close does not end", name)
		}
	}
}

// A pipe that takes nothing makes datagrams be dropped, and not wait.
func TestCongestedPipesDropDatagrams(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	l.pipes.Cut(l.base)
	for range 1000 {
		l.base.Do(func() { s.Send(l.peerAt, 0, bytes.Repeat([]byte("x"), 1000)) })
	}
	if st := l.Stats(); st.Congested < 500 || st.Congested > 900 {
		t.Errorf("%d of 1,000 dropped", st.Congested)
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	h := net.AddHost("h", netip.MustParseAddr("192.0.2.1"))
	for _, servers := range [][]turn.Server{nil, {{Addr: ""}}, {{Addr: "turn.example:x"}}, {{Addr: ":3478"}}, make([]turn.Server, 17)} {
		h.Do(func() {
			if _, err := turn.New(h, turn.Config{Servers: servers}); err == nil {
				t.Errorf("no error for %+v", servers)
			}
		})
	}
}

// What waits in the pipe while the machine sleeps is dropped when it wakes.
func TestDatagramsOfASleepAreDropped(t *testing.T) {
	l := newLab(t, "pipe", simturn.Config{Users: users})
	l.up(1, time.Second)
	var received []string
	s := l.socket(&received)
	l.echo(s, &received, "before")
	l.base.Sleep()
	for range 60 {
		l.peer.Do(func() { l.peerS.Send(l.ups[0], 0, []byte("old")) })
		l.net.Run(time.Second)
	}
	l.base.Wake()
	l.net.Run(10 * delay)
	if len(received) != 1 || l.Stats().Stale != 60 {
		t.Errorf("received %d datagrams, dropped %d, want 1 and 60", len(received), l.Stats().Stale)
	}
	l.echo(s, &received, "after")
	if len(l.ups) != 1 {
		t.Errorf("allocated %d times, want 1", len(l.ups))
	}
	l.right()
}
