package hosttest

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// open binds a socket on any address and a free port.
func (r Rig) open() host.Socket {
	s, err := r.Host.OpenSocket(netip.AddrPort{})
	if err != nil {
		panic(err) // not t.Fatal: this may be the goroutine of a loop
	}
	return s
}

// at returns the address of a socket for this host.
func (r Rig) at(s host.Socket) netip.AddrPort {
	return netip.AddrPortFrom(r.Addr, s.LocalAddr().Port())
}

func socketsGetFreePorts(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		seen := map[uint16]bool{}
		for range 20 {
			port := r.open().LocalAddr().Port()
			if port == 0 || seen[port] {
				t.Errorf("port %d is zero or a duplicate", port)
			}
			seen[port] = true
		}
		done()
	})
}

func boundPortIsRefused(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		first := r.open()
		same := netip.AddrPortFrom(netip.Addr{}, first.LocalAddr().Port())
		if second, err := r.Host.OpenSocket(same); err == nil {
			t.Errorf("a bound port was assigned again: %v", second.LocalAddr())
		}
		first.Close()
		first.Close()
		again, err := r.Host.OpenSocket(same)
		if err != nil {
			t.Errorf("the port of a closed socket is not free: %v", err)
		} else if got := again.LocalAddr().Port(); got != same.Port() {
			t.Errorf("bound to port %d, want %d", got, same.Port())
		}
		done()
	})
}

func datagramsArrive(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		sizes := []int{0, 1, 100, 1200, 1472}
		got := 0
		to.OnReceive(func(sender netip.AddrPort, b []byte) {
			if sender != r.at(from) {
				t.Errorf("came from %v, want %v", sender, r.at(from))
			}
			if want := pattern(sizes[got]); !bytes.Equal(b, want) {
				t.Errorf("datagram %d has %d bytes, want %d and the pattern sent", got, len(b), len(want))
			}
			if got++; got == len(sizes) {
				done()
			}
		})
		for _, n := range sizes {
			from.Send(r.at(to), 0, pattern(n))
		}
	})
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + n)
	}
	return b
}

func sentBytesAreTheCallersAgain(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		to.OnReceive(func(_ netip.AddrPort, b []byte) {
			if string(b) != "as sent" {
				t.Errorf("got %q, want the content at the time of the send", b)
			}
			done()
		})
		b := []byte("as sent")
		from.Send(r.at(to), 0, b)
		copy(b, "changed")
	})
}

func receivedBytesStay(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		const count = 20
		got := 0
		var borrowed [][]byte
		to.OnReceive(func(_ netip.AddrPort, b []byte) {
			if borrowed = append(borrowed, b); len(borrowed) > 1 {
				return // a turn with several datagrams; the first one checks them all
			}
			r.Host.Defer(func() {
				for _, b := range borrowed {
					if want := fmt.Sprintf("datagram %d", got); string(b) != want {
						t.Errorf("at the end of the turn it reads %q, want %q", b, want)
					}
					got++
				}
				if borrowed = nil; got == count {
					done()
				}
			})
		})
		for i := range count {
			from.Send(r.at(to), 0, fmt.Appendf(nil, "datagram %d", i))
		}
	})
}

func latestReceiver(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		to.OnReceive(func(netip.AddrPort, []byte) { got = append(got, "old") })
		to.OnReceive(func(netip.AddrPort, []byte) {
			got = append(got, "new")
			done()
		})
		from.Send(r.at(to), 0, []byte("x"))
	})
	expect(t, got, "new")
}

func closedSocketReceivesNothing(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, closed, open := r.open(), r.open(), r.open()
		closed.OnReceive(func(netip.AddrPort, []byte) { t.Error("a closed socket received") })
		open.OnReceive(func(netip.AddrPort, []byte) { r.Host.AfterFunc(2*ms, done) })
		from.Send(r.at(closed), 0, []byte("in flight while the socket closes"))
		r.Host.Post(func() {
			closed.Close()
			closed.Send(r.at(open), 0, []byte("sent on a closed socket"))
			from.Send(r.at(open), 0, []byte("the last of all"))
		})
	})
}

func sentBeforeCloseLeaves(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		to.OnReceive(func(netip.AddrPort, []byte) { done() })
		from.Send(r.at(to), 0, []byte("the last word"))
		from.Close()
	})
}

func socketClosedByItsReceiver(t *testing.T, r Rig) {
	got := 0
	r.Await(t, func(done func()) {
		from, to, end := r.open(), r.open(), r.open()
		to.OnReceive(func(netip.AddrPort, []byte) { got++; to.Close() })
		end.OnReceive(func(netip.AddrPort, []byte) { r.Host.AfterFunc(2*ms, done) })
		for range 20 {
			from.Send(r.at(to), 0, []byte("x"))
		}
		from.Send(r.at(end), 0, []byte("the last of all"))
	})
	if got != 1 {
		t.Errorf("received %d datagrams, want only the one that closed the socket", got)
	}
}

func impossibleSends(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		from, to := r.open(), r.open()
		to.OnReceive(func(_ netip.AddrPort, b []byte) {
			if string(b) != "possible" {
				t.Errorf("received %d bytes that cannot have been sent", len(b))
			}
			done()
		})
		from.Send(netip.AddrPort{}, 0, []byte("to no address"))
		from.Send(netip.AddrPortFrom(r.Addr, 0), 0, []byte("to no port"))
		from.Send(netip.AddrPortFrom(netip.IPv6Unspecified(), 9), 0, []byte("to another family"))
		from.Send(r.at(to), 0, make([]byte, 70_000))
		from.Send(r.at(to), 0, []byte("possible"))
	})
}

func lookupOfLiteral(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		inside := true
		r.Host.Defer(func() { inside = false })
		r.Host.LookupHost("192.0.2.7", func(addrs []netip.Addr, err error) {
			if inside {
				t.Error("answered inside the turn that asked")
			}
			if err != nil || !slices.Equal(addrs, []netip.Addr{netip.MustParseAddr("192.0.2.7")}) {
				t.Errorf("got %v, %v", addrs, err)
			}
			done()
		})
	})
}

func addrsAreStable(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		addrs := r.Host.Addrs()
		for _, a := range addrs {
			if !a.Is4() || a.IsLoopback() {
				t.Errorf("%v is not an IPv4 address of an interface", a)
			}
		}
		if again := r.Host.Addrs(); !slices.Equal(addrs, again) {
			t.Errorf("first %v, then %v", addrs, again)
		}
		done()
	})
}

func gatewayIsOnTheNetwork(t *testing.T, r Rig) {
	g, known := r.Host.(host.Gateway)
	if !known {
		return
	}
	r.Await(t, func(done func()) {
		router, local, ok := g.Gateway()
		switch again, _, _ := g.Gateway(); {
		case again != router:
			t.Errorf("first %v, then %v", router, again)
		case !ok && (router.IsValid() || local.IsValid()):
			t.Errorf("%v and %v, which are not known", router, local)
		case ok && (!router.Is4() || router == local || !slices.Contains(r.Host.Addrs(), local)):
			t.Errorf("router %v, and %v of %v", router, local, r.Host.Addrs())
		}
		done()
	})
}

func randFills(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		var a, b [32]byte
		for _, buf := range [][]byte{a[:], b[:]} {
			if n, err := r.Host.Rand().Read(buf); n != len(buf) || err != nil {
				t.Errorf("Read returned %d, %v", n, err)
			}
		}
		if a == b || a == [32]byte{} {
			t.Error("it is not random")
		}
		done()
	})
}

func closedHostReportsIt(t *testing.T, r Rig) {
	closed := r.Host.Closed()
	r.Await(t, func(done func()) {
		select {
		case <-closed:
			t.Error("a running host reports that it is closed")
		default:
		}
		done()
	})
	r.Close()
	for _, closed := range []<-chan struct{}{closed, r.Host.Closed()} {
		select {
		case <-closed:
		default:
			t.Error("Closed is open on a closed host")
		}
	}
	r.Host.Post(func() { t.Error("a posted closure ran on a closed host") })
}

// Deadline bounds one test of the suite on a host in real time.
const Deadline = 10 * time.Second
