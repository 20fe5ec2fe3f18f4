package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/ports/host"
)

// oracle is an address probe that a test answers for.
type oracle struct {
	asked    []host.Socket
	seen     func(addr, from netip.AddrPort)
	done     func()
	canceled int
}

func (o *oracle) probe(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func()) {
	o.asked = append(o.asked, s)
	o.seen, o.done = seen, done
	return func() { o.canceled++ }
}

func (o *oracle) end() {
	if done := o.done; done != nil {
		o.done = nil
		done()
	}
}

func responderAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 3478)
}

func TestAddressProbeIsAskedForTheMainSocketWhileBootstrappingAndWithRefreshes(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	if len(o.asked) != 1 || o.asked[0] != l.ClientSocket() {
		t.Fatalf("asked %d times at the start, want once and for the client socket", len(o.asked))
	}
	l.net.Run(10 * time.Minute)
	if len(o.asked) != 1 {
		t.Errorf("asked %d times while the first probe runs, want once", len(o.asked))
	}
	l.do(o.end)
	l.net.Run(11 * time.Minute)
	if n := len(o.asked); n < 2 || o.asked[1] != l.ClientSocket() {
		t.Errorf("asked %d times after 10 minutes more", n)
	}
	l.do(l.Close)
	if o.canceled != 1 {
		t.Errorf("%d probes canceled by Close, want the running one", o.canceled)
	}
}

func TestAddressProbeIsNotAskedAgainWithinAMinute(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	l.do(o.end)
	l.do(l.refresh)
	l.do(l.refresh)
	if len(o.asked) != 1 {
		t.Errorf("asked %d times, want once", len(o.asked))
	}
}

func TestAddressProbeIsAskedAgainAfterASleep(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	l.do(o.end)
	l.do(l.wakeUp)
	l.net.Run(TickInterval)
	if len(o.asked) != 2 {
		t.Errorf("asked %d times, want twice", len(o.asked))
	}
}

func TestAddressProbeIsAskedAboutTheNewSocketsAfterASuspension(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	l.do(l.Suspend)
	if o.canceled != 1 {
		t.Fatalf("%d probes canceled by Suspend, want 1", o.canceled)
	}
	l.do(func() {
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
	})
	if len(o.asked) != 2 || o.asked[1] != l.ClientSocket() {
		t.Errorf("asked %d times", len(o.asked))
	}
}

func TestEachResponderOfTheProbeCountsOnceUntilItIsOld(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	seen := netip.MustParseAddrPort("203.0.113.1:1000")
	l.do(func() {
		for range 3 {
			l.AddSample(l.ClientSocket(), seen, responderAt(1))
		}
		l.AddSample(l.ClientSocket(), seen, responderAt(2))
		l.AddSample(l.ServerSocket(), seen, responderAt(3)) // not the main socket
		l.AddSample(l.ClientSocket(), netip.MustParseAddrPort("203.0.113.1:0"), responderAt(4))
		l.AddSample(l.ClientSocket(), netip.AddrPort{}, responderAt(5))
	})
	if l.address.sampler.Len() != 2 || l.Addr() != seen {
		t.Errorf("%d samples say %v, want 2 and %v", l.address.sampler.Len(), l.Addr(), seen)
	}
	l.do(func() {
		l.nodes.tick += oldNode
		l.AddSample(l.ClientSocket(), netip.MustParseAddrPort("203.0.113.1:2000"), responderAt(1))
		l.AddSample(l.ClientSocket(), seen, responderAt(1))
	})
	if all := l.address.sampler.Samples(); len(all) != 2 || all[1].Seen.Port() != 2000 {
		t.Errorf("after half an hour %v, want a new sample in the place of the first one", all)
	}
	l.do(func() {
		for i := range 2 * maxResponders {
			l.AddSample(l.ClientSocket(), seen, responderAt(i))
		}
	})
	if n := len(l.address.responders); n != maxResponders {
		t.Errorf("%d responders remembered, want %d", n, maxResponders)
	}
}

func TestNodeThatIsAResponderTooCountsOnce(t *testing.T) {
	for _, first := range []string{"the DHT", "the probe"} {
		t.Run(first+" is first", func(t *testing.T) {
			var o oracle
			l := newLab(t, Config{AddressProbe: o.probe})
			l.net.Run(time.Second)
			p := l.peer(empty)
			sample := func() { l.AddSample(l.ClientSocket(), netip.AddrPortFrom(us.Addr(), 1000), p.addr) }
			if first == "the probe" {
				l.do(sample)
			}
			l.do(func() { l.Ping(p.addr, nil, nil, func(Reply, error) {}) })
			l.net.Run(time.Second)
			l.do(sample)
			if l.address.sampler.Len() != 1 || l.Len() != 1 {
				t.Errorf("%d samples of %d nodes, want one of one", l.address.sampler.Len(), l.Len())
			}
		})
	}
}

func TestPortsThatDifferBetweenRespondersMeanNoPort(t *testing.T) {
	var o oracle
	l := newLab(t, Config{AddressProbe: o.probe})
	l.net.Run(time.Second)
	l.do(func() {
		for i := range 2 {
			o.seen(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(1000+i)), responderAt(i))
		}
	})
	if want := netip.MustParseAddrPort("203.0.113.1:0"); l.Addr() != want {
		t.Errorf("address %v, want %v", l.Addr(), want)
	}
}

func TestRespondersOfTheProbeAloneCanShowThatWeHaveMoved(t *testing.T) {
	old, now := netip.MustParseAddrPort("203.0.113.1:1000"), netip.MustParseAddrPort("203.0.113.2:1000")
	tests := []struct {
		name  string
		sees  []netip.AddrPort // what the responders say when they are asked whether we moved
		from  []int
		moved bool
	}{
		{"two agree", []netip.AddrPort{now, now}, []int{1, 2}, true},
		{"one says it twice", []netip.AddrPort{now, now}, []int{1, 1}, false},
		{"they disagree", []netip.AddrPort{now, old}, []int{1, 2}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o oracle
			l := newLab(t, Config{AddressProbe: o.probe})
			l.net.Run(time.Second)
			l.do(func() {
				o.seen(old, responderAt(1))
				o.seen(old, responderAt(2))
				o.end()
				l.nodes.tick += moveInterval + kad.Tick(1)
				l.AddSample(l.ClientSocket(), now, responderAt(3))
			})
			if len(o.asked) != 2 {
				t.Fatalf("asked %d times, want again when an answer differs", len(o.asked))
			}
			l.do(func() {
				for i, seen := range tt.sees {
					o.seen(seen, responderAt(tt.from[i]))
				}
				o.end()
			})
			if got := l.Addr() == now; got != tt.moved {
				t.Errorf("address %v, moved %v, want %v", l.Addr(), got, tt.moved)
			}
		})
	}
}
