package turnserver

import (
	"net"
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
				all.allocated(near.RemoteAddr().String())
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
