package udp_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/ports/host/hosttest"
)

func TestHostKeepsTheContract(t *testing.T) {
	for name, procs := range map[string]int{"one processor": 1, "two processors": 2, "four processors": 4} {
		t.Run(name, func(t *testing.T) {
			processors(t, procs)
			hosttest.Run(t, func(t *testing.T) hosttest.Rig {
				h := udp.New(udp.Options{})
				t.Cleanup(h.Close)
				return hosttest.Rig{Host: h, Close: h.Close, Addr: netip.MustParseAddr("127.0.0.1"), Await: func(t *testing.T, f func(done func())) {
					t.Helper()
					called := make(chan struct{}, 1)
					h.Post(func() { f(func() { called <- struct{}{} }) })
					select {
					case <-called:
					case <-time.After(hosttest.Deadline):
						t.Fatal("done was not called in time")
					}
				}}
			})
		})
	}
}

// processors sets the number of processors until the end of a test.
func processors(t *testing.T, n int) {
	t.Helper()
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}
