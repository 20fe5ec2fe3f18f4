package portmap

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

const port = 5000

var (
	public = netip.MustParseAddr("203.0.113.7")
	inner  = netip.MustParseAddr("192.168.1.1")
	us     = netip.MustParseAddr("192.168.1.2")
)

// lab is a client behind a router with random ports.
type lab struct {
	*Client
	t      *testing.T
	net    *simnet.Net
	router *simnet.Router
	host   *simnet.Host
	seen   []netip.AddrPort // by OnMapping
}

func newLab(t *testing.T, how simnet.PortMapping) *lab {
	l := &lab{t: t, net: simnet.New(simnet.Config{Seed: 1, Scribble: true})}
	l.router = l.net.AddRouter("router", simnet.SymmetricRandom(), public)
	l.router.MapPorts(inner, how)
	l.host = l.router.AddHost("us", us)
	l.Client = New(l.host, Config{Port: port, OnMapping: func(a netip.AddrPort) { l.seen = append(l.seen, a) }})
	t.Cleanup(func() {
		if l.faults.Wrong > 0 {
			t.Error(l.faults.Last)
		}
	})
	return l
}

func (l *lab) start() *lab {
	l.host.Do(l.Start)
	l.net.Run(10 * time.Second)
	return l
}

func (l *lab) want(external netip.AddrPort) {
	l.t.Helper()
	if s := l.Status(); s.External != external || l.External() != external {
		l.t.Errorf("external %v, want %v: %+v", s.External, external, s)
	}
}

var mappedAddr = netip.AddrPortFrom(public, port)

func TestARouterMapsThePort(t *testing.T) {
	for _, test := range []struct {
		name     string
		how      simnet.PortMapping
		protocol Protocol
	}{
		{"PCP", simnet.PortMapping{PCP: true}, PCP},
		{"NAT-PMP", simnet.PortMapping{NATPMP: true}, NATPMP},
		{"both", simnet.PortMapping{PCP: true, NATPMP: true}, PCP},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, test.how).start()
			l.want(mappedAddr)
			if s := l.Status(); s.Protocol != test.protocol || s.Lifetime != lifetime || s.Problem != "" || s.Router != inner {
				t.Errorf("%+v", s)
			}
			requests := l.router.MapRequests()
			l.net.Run(24 * time.Hour)
			l.want(mappedAddr)
			if !slices.Equal(l.seen, []netip.AddrPort{mappedAddr}) {
				t.Errorf("mappings %v", l.seen)
			}
			// Two datagrams each five minutes at most, by NAT-PMP.
			if n := l.router.MapRequests() - requests; n > 2*24*12 || n < 24*6 {
				t.Errorf("%d requests in a day", n)
			}
			done := false
			l.host.Do(func() { l.Close(func() { done = true }) })
			l.net.Run(time.Second)
			if !done || len(l.router.StaticMappings()) != 0 || l.host.Sockets() != 0 || l.host.Timers() != 0 {
				t.Errorf("done %v, mappings %v, %d sockets, %d timers", done, l.router.StaticMappings(), l.host.Sockets(), l.host.Timers())
			}
		})
	}
}

func TestAMappingIsRestoredAfterTheRouterHasRestarted(t *testing.T) {
	for _, how := range []simnet.PortMapping{{PCP: true}, {NATPMP: true}} {
		l := newLab(t, how).start()
		l.net.Run(time.Minute)
		l.router.Reboot(simnet.Reboot{DownFor: 30 * time.Second})
		if len(l.router.StaticMappings()) != 0 {
			t.Fatal("the router has kept its mappings")
		}
		l.net.Run(lifetime)
		l.want(mappedAddr)
		if s := l.Status().Stats; s.Restarts == 0 || len(l.router.StaticMappings()) != 1 {
			t.Errorf("%+v, mappings %v", s, l.router.StaticMappings())
		}
		l.router.Reboot(simnet.Reboot{})
		l.host.Do(l.Check)
		l.net.Run(time.Second)
		if len(l.router.StaticMappings()) != 1 {
			t.Error("a check has not restored the mapping")
		}
	}
}

func TestARouterThatIsOffLosesTheMapping(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true}).start()
	l.router.Reboot(simnet.Reboot{DownFor: 2 * lifetime})
	l.net.Run(lifetime + time.Minute)
	l.want(netip.AddrPort{})
	if !slices.Equal(l.seen, []netip.AddrPort{mappedAddr, {}}) {
		t.Errorf("mappings %v", l.seen)
	}
	l.net.Run(2 * restAfterSilence)
	l.want(mappedAddr)
}

func TestShortLifetimesAreRenewed(t *testing.T) {
	l := newLab(t, simnet.PortMapping{NATPMP: true, Lifetime: 20 * time.Second}).start()
	for range 100 {
		l.net.Run(5 * time.Second)
		if len(l.router.StaticMappings()) != 1 {
			t.Fatal("the mapping has expired")
		}
	}
}

func TestAMappingOfNoUseIsReleased(t *testing.T) {
	for _, external := range []string{"100.64.1.2", "10.1.2.3", "192.168.7.7", "0.0.0.0"} {
		for _, how := range []simnet.PortMapping{{PCP: true}, {NATPMP: true}} {
			how.External = netip.MustParseAddr(external)
			l := newLab(t, how).start()
			l.want(netip.AddrPort{})
			if s := l.Status(); s.Stats.Useless != 1 || s.Problem == "" || len(l.router.StaticMappings()) != 0 || len(l.seen) != 0 {
				t.Errorf("%s: %+v, mappings %v, seen %v", external, s, l.router.StaticMappings(), l.seen)
			}
		}
	}
}

func TestARefusalIsReported(t *testing.T) {
	for _, how := range []simnet.PortMapping{{PCP: true, Refuse: true}, {NATPMP: true, Refuse: true}} {
		l := newLab(t, how).start()
		before := l.router.MapRequests()
		l.net.Run(24 * time.Hour)
		if s := l.Status(); s.Problem == "" || s.Stats.Refused == 0 || l.router.MapRequests()-before > 3*27 {
			t.Errorf("%+v after %d requests", s, l.router.MapRequests()-before)
		}
		l.router.SetPortMapping(simnet.PortMapping{PCP: true, NATPMP: true})
		l.host.Do(l.Check)
		l.net.Run(time.Second)
		l.want(mappedAddr)
	}
}

func TestASilentRouterCostsFiveDatagramsAnHour(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true})
	l.router.Reboot(simnet.Reboot{DownFor: 100 * time.Hour})
	l.start()
	l.net.Run(10 * time.Hour)
	s := l.Status().Stats
	if sent := s.Requests + s.Retransmissions; sent > 11*5*10/9+5 || sent < 9*5 || l.Status().Problem == "" {
		t.Errorf("%d datagrams: %+v", sent, l.Status())
	}
}

func TestAMappingMovesWithTheMachine(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true}).start()
	other := l.net.AddRouter("other", simnet.SymmetricRandom(), netip.MustParseAddr("203.0.113.8"))
	other.MapPorts(netip.MustParseAddr("10.0.0.1"), simnet.PortMapping{NATPMP: true})
	l.host.Move(other.LAN(), netip.MustParseAddr("10.0.0.2"))
	l.host.Do(l.Check)
	l.net.Run(time.Second)
	moved := netip.AddrPortFrom(other.Addr(), port)
	l.want(moved)
	if !slices.Equal(l.seen, []netip.AddrPort{mappedAddr, {}, moved}) {
		t.Errorf("mappings %v", l.seen)
	}
}

func TestAStoppedClientStartsAgain(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true}).start()
	l.host.Do(l.Stop)
	l.net.Run(time.Second)
	if len(l.router.StaticMappings()) != 0 || l.host.Sockets() != 0 {
		t.Error("the mapping is kept")
	}
	l.start().want(mappedAddr)
}

// Answers from other machines, for other requests, and nonsense, change nothing.
func TestFalseAnswersAreDropped(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true})
	l.router.Reboot(simnet.Reboot{DownFor: time.Hour})
	l.host.Do(l.Start)
	good := answerOf(l.mapping.nonce)
	router := netip.AddrPortFrom(inner, serverPort)
	bad := map[string]func([]byte){
		"nonce":    func(b []byte) { b[30]++ },
		"protocol": func(b []byte) { b[36]++ },
		"port":     func(b []byte) { b[41]++ },
		"request":  func(b []byte) { b[1] &^= answerBit },
		"opcode":   func(b []byte) { b[1]++ },
		"version":  func(b []byte) { b[0]++ },
	}
	for what, change := range bad {
		b := bytes.Clone(good)
		change(b)
		l.host.Do(func() { l.receive(router, b) })
		if l.External().IsValid() || l.pending == nil {
			t.Errorf("an answer with another %s counts", what)
		}
	}
	for _, from := range []string{"192.168.1.1:5350", "192.168.1.9:5351"} {
		l.host.Do(func() { l.receive(netip.MustParseAddrPort(from), good) })
	}
	if s := l.Status().Stats; s.Unexpected+s.Malformed != uint64(len(bad)+2) || l.External().IsValid() {
		t.Errorf("%+v", s)
	}
	l.host.Do(func() { l.receive(router, good) })
	l.want(mappedAddr)
}

// answerOf is the answer to a request by PCP.
func answerOf(n nonce) []byte {
	b := appendPCP(nil, us, n, port, mappedAddr, lifetime)
	b[1] |= answerBit
	clear(b[8:24])
	return b
}

func TestEveryPrefixOfAnAnswerIsRejected(t *testing.T) {
	for _, full := range [][]byte{
		answerOf(nonce{1}),
		{0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 7},
		{0, 129, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 0, 0, 3},
	} {
		if _, err := parse(full); err != nil {
			t.Errorf("%x: %v", full, err)
		}
		for n := range full {
			if _, err := parse(full[:n:n]); err == nil {
				t.Errorf("%d of %d bytes are accepted", n, len(full))
			}
		}
	}
}

func TestTheRoutersClockShowsRestarts(t *testing.T) {
	at := func(s int) host.Instant { return host.Instant(time.Duration(s+1) * time.Second) }
	for _, test := range []struct {
		ours      int
		theirs    uint32
		restarted bool
	}{{100, 1100, false}, {100, 1098, false}, {100, 1000, true}, {100, 0, true}, {0, 999, false}, {0, 998, true}, {100, 1120, true}, {3600, 4800, false}} {
		c := routerClock{}
		if c.restarted(at(0), 1000) {
			t.Error("the first answer shows a restart")
		}
		if got := c.restarted(at(test.ours), test.theirs); got != test.restarted {
			t.Errorf("after %d s from 1000 to %d: %v", test.ours, test.theirs, got)
		}
	}
}
