package hyperdht_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// sleeper is a node that listens under keyPair(1), with calls to Suspend and Resume that are counted.
type sleeper struct {
	*world
	host    *simnet.Host
	node    *hyperdht.Node
	started int // calls to Suspend
	ended   int // of which done ran
}

func newSleeper(t *testing.T, seed uint64) (s *sleeper, client *simnet.Host, cn *hyperdht.Node) {
	w := newWorld(t, 6, simnet.Config{Seed: seed})
	s = &sleeper{world: w}
	s.host, s.node = w.join("server")
	w.listen(s.host, s.node, hyperdht.ListenOptions{Keys: keyPair(1)})
	client, cn = w.join("client")
	return s, client, cn
}

func (s *sleeper) suspend() {
	s.started++
	s.host.Do(func() { s.node.Suspend(func() { s.ended++ }) })
}

func (s *sleeper) resume() (err error) {
	s.host.Do(func() { err = s.node.Resume() })
	return err
}

func TestSuspendAndResumeEndAsTheLastCallSays(t *testing.T) {
	const (
		suspend = "suspend"
		resume  = "resume"
		pause   = "pause" // long enough for any call to take effect
		glance  = "glance"
	)
	for _, tt := range []struct {
		name  string
		calls []string
		runs  bool
	}{
		{"resumed at once", []string{suspend, resume}, true},
		{"resumed in the course of it", []string{suspend, glance, resume}, true},
		{"resumed twice", []string{suspend, resume, resume, pause, resume}, true},
		{"resumed while running", []string{resume, pause, resume}, true},
		{"suspended twice at once", []string{suspend, suspend}, false},
		{"suspended again", []string{suspend, pause, suspend}, false},
		{"resumed and suspended at once", []string{suspend, resume, suspend}, false},
		{"resumed, suspended and resumed", []string{suspend, glance, resume, suspend, glance, resume}, true},
		{"suspended right after resuming", []string{suspend, pause, resume, suspend}, false},
		{"resumed right after that", []string{suspend, pause, resume, suspend, resume}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, ch, cn := newSleeper(t, 60)
			for _, call := range tt.calls {
				switch call {
				case suspend:
					s.suspend()
				case resume:
					if err := s.resume(); err != nil {
						t.Fatal(err)
					}
				case pause:
					s.net.Run(10 * time.Second)
				case glance:
					s.net.Run(30 * time.Millisecond)
				}
			}
			s.net.Run(20 * time.Second)
			s.mustBe(tt.runs, ch, cn)
		})
	}
}

// mustBe demands that the server can be reached, or that nothing of its node is left but the node itself.
func (s *sleeper) mustBe(runs bool, ch *simnet.Host, cn *hyperdht.Node) {
	s.t.Helper()
	if s.started != s.ended {
		s.t.Errorf("%d of %d calls to Suspend were answered", s.ended, s.started)
	}
	if runs != s.node.Status().Local.IsValid() {
		s.t.Errorf("runs: %v, is bound to %v", runs, s.node.Status().Local)
	}
	if got := s.canConnect(ch, cn); got != runs {
		s.t.Errorf("can be reached: %v, want %v", got, runs)
	}
	if !runs && s.host.Sockets() != 0 {
		s.t.Errorf("%d sockets are open", s.host.Sockets())
	}
}

func TestAnyOrderOfSuspendAndResumeEndsAsTheLastCallSays(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, ch, cn := newSleeper(t, 61+seed)
			r := rand.New(rand.NewPCG(seed, 1))
			runs := true
			for range 30 {
				switch r.IntN(4) {
				case 0:
					s.suspend()
					runs = false
				case 1:
					if err := s.resume(); err != nil {
						t.Fatal(err)
					}
					runs = true
				case 2: // whatever is called of a node that may be suspended
					s.host.Do(func() { s.node.Connect(keyPair(9).Public, hyperdht.ConnectOptions{}) })
				default:
					s.net.Run(time.Duration(r.Int64N(int64(2 * time.Second))))
				}
			}
			s.net.Run(20 * time.Second)
			s.mustBe(runs, ch, cn)
		})
	}
}

func TestResumeSaysWhyItFailsAndCanBeTriedAgain(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 62})
	h := w.host("server")
	listen := netip.AddrPortFrom(h.Addr(), 7000)
	s := &sleeper{world: w, host: h, node: w.node(h, hyperdht.Config{Listen: listen})}
	w.until("the server is ready", time.Minute, s.node.Ready)
	w.listen(s.host, s.node, hyperdht.ListenOptions{Keys: keyPair(1)})
	ch, cn := w.join("client")
	s.suspend()
	w.net.Run(10 * time.Second)
	var other host.Socket
	h.Do(func() {
		var err error
		if other, err = h.OpenSocket(listen); err != nil {
			t.Fatal(err)
		}
	})
	for range 2 {
		if err := s.resume(); err == nil {
			t.Fatal("resumed on an address that another program has")
		}
		var closed error
		h.Do(func() {
			s.node.Connect(keyPair(9).Public, hyperdht.ConnectOptions{}).OnClose(func(err error) { closed = err })
		})
		w.net.Run(time.Second)
		if !errors.Is(closed, hyperdht.ErrSuspended) {
			t.Errorf("a connection of the suspended node ended with %v", closed)
		}
	}
	h.Do(other.Close)
	if err := s.resume(); err != nil {
		t.Fatal(err)
	}
	w.net.Run(20 * time.Second)
	s.mustBe(true, ch, cn)
}

func TestClosingASuspendedNodeEndsIt(t *testing.T) {
	for _, wait := range []time.Duration{0, 10 * time.Second} {
		s, _, _ := newSleeper(t, 63)
		s.suspend()
		s.net.Run(wait)
		closed := 0
		s.host.Do(func() { s.node.Close(func() { closed++ }) })
		s.suspend()
		s.net.Run(10 * time.Second)
		if closed != 1 || s.ended != s.started || s.host.Sockets() != 0 {
			t.Errorf("after %v: closed %d times, %d of %d suspended, %d sockets", wait, closed, s.ended, s.started, s.host.Sockets())
		}
		if err := s.resume(); !errors.Is(err, hyperdht.ErrClosed) {
			t.Errorf("a closed node resumes: %v", err)
		}
	}
}

// Programs that do not wait for the end give no func: its call panicked on the loop, seconds later.
func TestFuncsForTheEndMayBeNil(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 3})
	h, n := w.join("node")
	keys := keyPair(1)
	target := keys.Public.Target()
	h.Do(func() {
		s, err := n.Listen(hyperdht.ListenOptions{Keys: keys}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := n.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(2)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.net.AfterFunc(5*time.Second, func() {
			h.Do(func() {
				n.FindPeer(keys.Public, nil, nil)
				n.Lookup(target, nil, nil)
				n.Announce(target, keys, hyperdht.AnnounceOptions{Clear: true}, nil)
				n.Unannounce(target, keys, nil)
				n.ImmutableGet(target, nil)
				n.ImmutablePut([]byte("value"), nil)
				n.MutableGet(keys.Public, hyperdht.MutableGetOptions{}, nil)
				n.MutablePut(keys, 1, []byte("value"), nil)
			})
		})
		w.net.AfterFunc(15*time.Second, func() {
			h.Do(func() {
				s.Close(nil)
				s.Close(nil)
				r.Close(nil)
			})
		})
		w.net.AfterFunc(20*time.Second, func() { h.Do(func() { n.Suspend(nil); n.Suspend(nil) }) })
		w.net.AfterFunc(30*time.Second, func() { h.Do(func() { n.Close(nil); n.Close(nil) }) })
		w.net.AfterFunc(40*time.Second, func() { h.Do(func() { n.Close(nil); n.Suspend(nil) }) })
	})
	w.net.Run(time.Minute)
}

// A server without OnConnection panicked at its first caller.
func TestServersWithoutOnConnectionEndTheirConnections(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 4})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	announced := false
	sh.Do(func() {
		if _, err := sn.Listen(hyperdht.ListenOptions{Keys: keyPair(1)}, func(error) { announced = true }); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the server is announced", time.Minute, func() bool { return announced })
	closed := false
	ch.Do(func() {
		c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.OnClose(func(error) { closed = true })
	})
	w.until("the connection has ended", time.Minute, func() bool { return closed })
}

// A server that is being closed, or its node suspended, has its record taken back. A second call that ends it, or the node, waits
// for that and does not break it off.
func TestClosingAgainWaitsForTheFirst(t *testing.T) {
	type call = func(n *hyperdht.Node, s *hyperdht.Server, done func())
	closeServer := func(_ *hyperdht.Node, s *hyperdht.Server, done func()) { s.Close(done) }
	closeNode := func(n *hyperdht.Node, _ *hyperdht.Server, done func()) { n.Close(done) }
	suspend := func(n *hyperdht.Node, _ *hyperdht.Server, done func()) { n.Suspend(done) }
	for name, calls := range map[string][2]call{
		"close server, again":                {closeServer, closeServer},
		"close server, close node":           {closeServer, closeNode},
		"close server, suspend node":         {closeServer, suspend},
		"suspend node, close server":         {suspend, closeServer},
		"suspend node, close server, second": {suspend, func(_ *hyperdht.Node, s *hyperdht.Server, done func()) { s.Close(nil); s.Close(done) }},
		"suspend node, close node":           {suspend, closeNode},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4, simnet.Config{Seed: 12})
			h, n := w.join("server")
			sh, seeker := w.join("seeker")
			s := w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
			over := [2]bool{}
			h.Do(func() {
				for i, f := range calls {
					f(n, s, func() { over[i] = true })
				}
			})
			w.until("the second call is over", 3*time.Second, func() bool { return over[1] })
			if !over[0] {
				t.Error("the second call is over before the first")
			}
			found, done := false, false
			sh.Do(func() {
				seeker.FindPeer(keyPair(1).Public, func(hyperdht.Found) { found = true }, func(error) { done = true })
			})
			w.until("looked up", time.Minute, func() bool { return done })
			if found {
				t.Error("the record is there when the second call is over")
			}
		})
	}
}

// A stop that has waited three seconds for a server's record does not wait for it again with the node.
func TestRecordsAreWaitedForOnce(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 12})
	h, n := w.join("server")
	s := w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.SetFilter(func(simnet.Datagram) bool { return false })
	h.Do(func() { s.Close(nil) })
	w.net.Run(3 * time.Second)
	over := false
	h.Do(func() { n.Close(func() { over = true }) })
	w.until("the node is closed", 100*time.Millisecond, func() bool { return over })
}
