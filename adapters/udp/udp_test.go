package udp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/host/hosttest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// start starts a host that is closed with the test.
func start(t testing.TB, opt udp.Options) *udp.Host {
	h := udp.New(opt)
	t.Cleanup(h.Close)
	return h
}

// open opens a socket on the loopback interface.
func open(t testing.TB, h *udp.Host) host.Socket {
	t.Helper()
	var s host.Socket
	var err error
	h.Do(func() { s, err = h.OpenSocket(netip.AddrPortFrom(loopback, 0)) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await waits for a channel, and fails the test on timeout.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(hosttest.Deadline):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func TestPostsFromManyGoroutinesAllRunOneAtATime(t *testing.T) {
	h := start(t, udp.Options{})
	const posters, each = 8, 500
	last := make([]int, posters) // what ran last of each poster; the loop guards it, and -race watches
	var posted sync.WaitGroup
	for p := range posters {
		posted.Go(func() {
			for i := range each {
				h.Post(func() {
					if last[p] != i {
						t.Errorf("closure %d of poster %d ran after %d others", i, p, last[p])
					}
					last[p]++
				})
			}
		})
	}
	posted.Wait()
	h.Do(func() {
		for p, n := range last {
			if n != each {
				t.Errorf("%d closures of poster %d ran before a Do after them, want %d", n, p, each)
			}
		}
	})
}

func TestTimersAndPostsOfABusyLoopStillRun(t *testing.T) {
	h := start(t, udp.Options{})
	a, b := open(t, h), open(t, h)
	done := make(chan struct{})
	h.Do(func() {
		bounce := func(s host.Socket) func(netip.AddrPort, []byte) {
			return func(from netip.AddrPort, b []byte) { s.Send(from, 0, b) }
		}
		a.OnReceive(bounce(a))
		b.OnReceive(bounce(b))
		for range 50 {
			a.Send(b.LocalAddr(), 0, []byte("again and again"))
		}
		var zero host.Timer
		zero = h.AfterFunc(0, func() { zero.Reset(0) })
		var post func()
		post = func() { h.Post(post) }
		post()
		left := 5
		var timer host.Timer
		timer = h.AfterFunc(time.Millisecond, func() {
			if left--; left == 0 {
				close(done)
				return
			}
			timer.Reset(time.Millisecond)
		})
	})
	await(t, done)
	if !h.Do(func() {}) {
		t.Error("Do did not run")
	}
}

func TestTwoHostsTalk(t *testing.T) {
	server, client := start(t, udp.Options{}), start(t, udp.Options{})
	s, c := open(t, server), open(t, client)
	const count = 2000
	done := make(chan struct{})
	server.Do(func() { s.OnReceive(func(from netip.AddrPort, b []byte) { s.Send(from, 0, b) }) })
	client.Do(func() {
		next := uint32(0)
		send := func() { c.Send(s.LocalAddr(), 0, binary.BigEndian.AppendUint32(nil, next)) }
		c.OnReceive(func(from netip.AddrPort, b []byte) {
			if got := binary.BigEndian.Uint32(b); got != next || from != s.LocalAddr() {
				t.Errorf("got %d from %v, want %d from %v", got, from, next, s.LocalAddr())
			}
			if next++; next == count {
				close(done)
				return
			}
			send()
		})
		send()
	})
	await(t, done)
}

func TestSendsOfATurnLeaveInOneCall(t *testing.T) {
	h := start(t, udp.Options{})
	a, b := open(t, h), open(t, h)
	done := make(chan struct{})
	const count = 40
	h.Do(func() {
		got := 0
		b.OnReceive(func(netip.AddrPort, []byte) {
			if got++; got == count {
				close(done)
			}
		})
		for range count {
			a.Send(b.LocalAddr(), 0, []byte("x"))
		}
		if h.Stats().Sent != 0 {
			t.Error("sent before the turn's end")
		}
	})
	await(t, done)
	h.Do(func() {
		st := h.Stats()
		if st.Sent != count || st.Received != count || st.SentBytes != count || st.ReceivedBytes != count {
			t.Errorf("stats: %+v", st)
		}
		if batched && st.Writes != 1 {
			t.Errorf("%d system calls for one batch", st.Writes)
		}
	})
}

func TestTTLIsThatOfTheDatagram(t *testing.T) {
	h := start(t, udp.Options{})
	s := open(t, h)
	peer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	read := ttlReader(t, peer)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	want := []int{host.DefaultTTL, 5, 5, 64, 7, host.DefaultTTL}
	h.Do(func() {
		for i, ttl := range []int{0, 5, 5, 64, 7, 0} {
			s.Send(to, ttl, []byte{byte(i)})
		}
	})
	var got []int
	for range want {
		got = append(got, read())
	}
	if !slices.Equal(got, want) {
		t.Errorf("TTLs %v, want %v", got, want)
	}
}

func TestSocketReadsNoMoreOnceClosedAndHostLivesOn(t *testing.T) {
	h := start(t, udp.Options{})
	for range 50 {
		s := open(t, h)
		h.Do(s.Close)
	}
	a, b := open(t, h), open(t, h)
	done := make(chan struct{})
	h.Do(func() {
		b.OnReceive(func(netip.AddrPort, []byte) { close(done) })
		a.Send(b.LocalAddr(), 0, nil)
		a.Close() // what was sent before leaves
		a.Send(b.LocalAddr(), 0, nil)
		a.Send(netip.AddrPort{}, 0, nil)
	})
	await(t, done)
	h.Do(func() {
		if st := h.Stats(); st.ReadErrors != 0 || st.WriteErrors != 0 || st.Sent != 1 {
			t.Errorf("%d datagrams sent, %d read errors, %d write errors, want one that was sent", st.Sent, st.ReadErrors, st.WriteErrors)
		}
	})
}

func TestOversizedAndUnreadAreCounted(t *testing.T) {
	h := start(t, udp.Options{})
	a, b, deaf := open(t, h), open(t, h), open(t, h)
	done := make(chan struct{})
	h.Do(func() {
		b.OnReceive(func(_ netip.AddrPort, p []byte) {
			if len(p) != 1 {
				t.Errorf("received %d bytes", len(p))
			}
			h.AfterFunc(5*time.Millisecond, func() { close(done) })
		})
		a.Send(deaf.LocalAddr(), 0, []byte("nobody listens"))
		a.Send(b.LocalAddr(), 0, make([]byte, 3000))
		a.Send(b.LocalAddr(), 0, []byte("x"))
	})
	await(t, done)
	h.Do(func() {
		if st := h.Stats(); st.Oversized != 1 || st.Unread != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestClosedHostDoesNothing(t *testing.T) {
	h := udp.New(udp.Options{})
	s := open(t, h)
	var timer host.Timer
	h.Do(func() { timer = h.AfterFunc(time.Millisecond, func() { t.Error("a timer fired after Close") }) })
	h.Close()
	h.Close()
	if timer.Stop() {
		t.Error("a timer was pending after Close")
	}
	h.Post(func() { t.Error("a posted closure ran after Close") })
	if h.Do(func() { t.Error("Do ran after Close") }) {
		t.Error("Do reported true after Close")
	}
	if _, err := h.OpenSocket(netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("OpenSocket after Close: %v", err)
	}
	s.Send(s.LocalAddr(), 0, nil)
	again := start(t, udp.Options{})
	again.Do(func() {
		if _, err := again.OpenSocket(s.LocalAddr()); err != nil {
			t.Errorf("the port is still taken: %v", err)
		}
	})
}

func TestCloseWaitsForTheTurnThatRuns(t *testing.T) {
	h := udp.New(udp.Options{})
	inside, release := make(chan struct{}), make(chan struct{})
	ended := false
	h.Post(func() {
		close(inside)
		<-release
		ended = true
	})
	await(t, inside)
	closed := make(chan struct{})
	go func() { h.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("Close returned in the middle of a turn")
	default:
	}
	close(release)
	await(t, closed)
	if !ended {
		t.Error("the turn did not end")
	}
}

func TestLookupFailuresAreAnswersToo(t *testing.T) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no network in this test")
	}}
	h := start(t, udp.Options{Resolver: resolver})
	answer := make(chan error, 1)
	h.Do(func() {
		h.LookupHost("nobody.invalid", func(addrs []netip.Addr, err error) { answer <- err })
	})
	if err := await(t, answer); err == nil || !strings.Contains(err.Error(), "nobody.invalid") {
		t.Errorf("got %v", err)
	}
}

type event string

func (e event) AppendText(b []byte) ([]byte, error) { return append(b, e...), nil }

func TestTraceGetsEventsAndSlowTurns(t *testing.T) {
	var got []string
	h := start(t, udp.Options{Trace: func(e host.Event) {
		text, _ := e.AppendText(nil)
		got = append(got, string(text))
	}})
	h.Do(func() {
		h.Trace(event("hello"))
		for begin := time.Now(); time.Since(begin) < 2*time.Millisecond; { // a turn that is too long
		}
	})
	h.Do(func() {
		if !slices.Contains(got, "hello") || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "turn took ") }) {
			t.Errorf("traced %q", got)
		}
	})
}

func TestTheAddressOfTheRouteComesFirst(t *testing.T) {
	var want netip.Addr // none where this machine has no route to the internet
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		want = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		c.Close()
	}
	h := udp.New(udp.Options{})
	defer h.Close()
	var got []netip.Addr
	h.Do(func() { got = h.Addrs() })
	if want.IsValid() && (len(got) == 0 || got[0] != want) {
		t.Errorf("%v is the address of the route, and the addresses are %v", want, got)
	}
}
