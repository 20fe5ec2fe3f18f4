package turnserver

import (
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A connection on which nothing is allocated ends soon, and one that has allocated when it is silent.
func TestSilentConnectionsEnd(t *testing.T) {
	for _, allocated := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			all := newClients(&Stats{}, 1)
			c := all.admit(near)
			c.postpone(allocateTimeout)
			want := allocateTimeout
			if allocated {
				all.allocated(near.RemoteAddr(), near.LocalAddr())
				go func() {
					for range 10 { // not silent
						time.Sleep(time.Minute)
						_, _ = far.Write([]byte("x")) // read below
					}
				}()
				want = 10*time.Minute + silence
			}
			began := time.Now()
			b := make([]byte, 1)
			var err error
			for err == nil {
				_, err = c.Read(b)
			}
			if took := time.Since(began); took != want {
				t.Errorf("allocated %t: ended after %s, want %s", allocated, took, want)
			}
			_ = c.Close()
			if len(all.open) != 0 || all.waiting.Len() != 0 || len(all.networks) != 0 {
				t.Errorf("%d connections are left, %d wait, of %d networks", len(all.open), all.waiting.Len(), len(all.networks))
			}
		})
	}
}

// A client that has ended its allocation has as long as one that has none yet, whatever it sends.
func TestConnectionsWithoutTheirAllocationEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		all := newClients(&Stats{}, 1)
		c := all.admit(near)
		c.postpone(allocateTimeout)
		all.allocated(near.RemoteAddr(), near.LocalAddr())
		time.Sleep(time.Minute)
		all.released(near.RemoteAddr(), near.LocalAddr())
		go func() {
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = far.Write([]byte("x"))
			}
		}()
		began := time.Now()
		b := make([]byte, 1)
		var err error
		for err == nil {
			_, err = c.Read(b)
		}
		if took := time.Since(began); took != allocateTimeout {
			t.Errorf("ended after %s, want %s", took, allocateTimeout)
		}
		_ = c.Close()
		time.Sleep(2 * time.Second) // the writer ends
	})
}

// Strangers cannot keep the server busy: pion's server works for each part of a message, however small.
func TestConnectionsThatWaitMaySayLittle(t *testing.T) {
	for _, test := range []struct {
		name string
		step func(all *clients, at net.Addr)
		want bool // the end
	}{
		{"waiting", func(*clients, net.Addr) {}, true},
		{"allocated", func(all *clients, at net.Addr) { all.allocated(at, at) }, false},
		{"released", func(all *clients, at net.Addr) { all.allocated(at, at); all.released(at, at) }, true},
	} {
		near, far := net.Pipe()
		all := newClients(&Stats{}, 1)
		c := all.admit(near)
		test.step(all, near.LocalAddr())
		go func() {
			_, _ = far.Write(make([]byte, waitingBytes))
			_, _ = far.Write([]byte("x"))
		}()
		if _, err := io.ReadFull(c, make([]byte, waitingBytes)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := c.Read(make([]byte, 1)); (err != nil) != test.want {
			t.Errorf("%s: after %d bytes: %v", test.name, waitingBytes, err)
		}
		_ = c.Close()
		_ = far.Close()
	}
}

// between is a connection between two addresses.
type between struct {
	net.Conn
	remote, local net.Addr
}

func (b between) RemoteAddr() net.Addr { return b.remote }
func (b between) LocalAddr() net.Addr  { return b.local }

// Connections of one port of a client to two listeners count as two, and each has its own allocation.
func TestConnectionsToTwoListenersAreTwo(t *testing.T) {
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000}
	one, two := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 443}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 80}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	all := newClients(&Stats{}, 2)
	first, second := all.admit(between{near, from, one}), all.admit(between{near, from, two})
	if len(all.open) != 2 {
		t.Errorf("%d connections", len(all.open))
	}
	all.allocated(from, one)
	if !first.allocated.Load() || second.allocated.Load() {
		t.Errorf("allocated: %t and %t", first.allocated.Load(), second.allocated.Load())
	}
}

// The network with most of the connections that wait makes room for others, the oldest first, and those with an allocation stay.
func TestTheNetworkThatCrowdsGivesWay(t *testing.T) {
	all := newClients(&Stats{}, 6)
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 443}
	ends := map[string]net.Conn{}
	remote := func(from string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)) }
	connect := func(from string) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		ends[from] = near
		if all.admit(between{near, remote(from), local}) == nil {
			t.Errorf("%s is kept out", from)
		}
	}
	gone := func(want ...string) {
		t.Helper()
		var got []string
		for _, from := range slices.Sorted(maps.Keys(ends)) {
			if ends[from].SetDeadline(time.Time{}) != nil {
				got = append(got, from)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) || all.stats.Crowded.Load() != uint64(len(want)) {
			t.Fatalf("%q are closed, want %q; %d counted", got, want, all.stats.Crowded.Load())
		}
	}
	for _, from := range []string{"203.0.113.1:1", "198.51.100.1:1", "198.51.100.2:1", "198.51.100.200:1", "[2001:db8:1:1::1]:1", "[2001:db8:1:2::1]:1"} {
		connect(from)
	}
	gone()
	all.allocated(remote("198.51.100.1:1"), local)
	connect("198.51.100.3:1") // in its place
	gone()
	connect("203.0.113.2:1")
	gone("198.51.100.2:1")
	connect("192.0.2.1:1") // three networks have two each
	gone("198.51.100.2:1", "203.0.113.1:1")
	connect("192.0.2.2:1")
	gone("198.51.100.2:1", "203.0.113.1:1", "198.51.100.200:1")
	all.released(remote("198.51.100.1:1"), local)
	connect("203.0.114.1:1") // of IPv6, the oldest; seven were waiting
	gone("198.51.100.2:1", "203.0.113.1:1", "198.51.100.200:1", "[2001:db8:1:1::1]:1", "198.51.100.3:1")
	if len(all.open) != 6 || all.waiting.Len() != 6 {
		t.Errorf("%d connections, of which %d wait", len(all.open), all.waiting.Len())
	}
}

// A client that reads nothing cannot make the server wait for its end.
func TestConnectionsGiveWayAtOnce(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		all := newClients(&Stats{}, 1)
		conn := tls.Server(near, web.TLS)
		all.admit(conn)
		go func() {
			_ = tls.Client(far, &tls.Config{InsecureSkipVerify: true}).Handshake() //nolint:gosec // the certificate is the test's
		}()
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		other, end := net.Pipe()
		defer end.Close()
		all.admit(other)
		if took := time.Since(began); took != 0 {
			t.Errorf("closed after %s", took)
		}
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("it is open")
		}
	})
}

// failing is a listener that has no file for its first connection.
type failing struct {
	net.Listener
	conn  net.Conn
	tries int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.tries++; f.tries == 1 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return f.conn, nil
}

func TestAListenerAcceptsAgainWhenThereAreFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		defer near.Close()
		l := &listener{&failing{conn: near}, newClients(&Stats{}, 1)}
		if _, err := l.Accept(); err != nil {
			t.Errorf("the server never accepts again: %v", err)
		}
	})
}
