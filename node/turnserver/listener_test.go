package turnserver

import (
	"net"
	"os"
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
			all := clients{stats: &Stats{}, limit: 1, open: map[string]*client{}}
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
			if all.admit(far) != nil {
				t.Error("one more than the limit")
			}
			_ = c.Close()
			if all.admit(far) == nil {
				t.Error("there is room")
			}
		})
	}
}

// A client that has ended its allocation has as long as one that has none yet, whatever it sends.
func TestConnectionsWithoutTheirAllocationEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		all := clients{stats: &Stats{}, limit: 1, open: map[string]*client{}}
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
	all := clients{stats: &Stats{}, limit: 2, open: map[string]*client{}}
	first, second := all.admit(between{near, from, one}), all.admit(between{near, from, two})
	if all.admit(between{near, from, &net.TCPAddr{Port: 1}}) != nil {
		t.Error("one more than the limit")
	}
	all.allocated(from, one)
	if !first.allocated.Load() || second.allocated.Load() {
		t.Errorf("allocated: %t and %t", first.allocated.Load(), second.allocated.Load())
	}
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
		l := &listener{&failing{conn: near}, &clients{stats: &Stats{}, limit: 1, open: map[string]*client{}}}
		if _, err := l.Accept(); err != nil {
			t.Errorf("the server never accepts again: %v", err)
		}
	})
}
