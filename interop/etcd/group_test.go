package etcd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	adapter "github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/etcd/client"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

const (
	// shortTTL is the shortest time-to-live that etcd grants, and settleTime is longer than a member takes to notice that another one is gone.
	shortTTL   = 2 * time.Second
	settleTime = 4 * time.Second
	// longTTL is for members that have much to write.
	longTTL = 6 * time.Second
)

// Members of a group over a real etcd keep the contracts of groups.
func TestMembersKeepTheContracts(t *testing.T) {
	for _, c := range []struct {
		name  string
		suite func(*testing.T, func(*testing.T) portstest.GroupBench)
		ttl   time.Duration
	}{{"group", portstest.TestGroup, shortTTL}, {"store", portstest.TestSharedStore, longTTL}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			groups := 0
			c.suite(t, func(t *testing.T) portstest.GroupBench {
				groups++
				g := &group{world: w, prefix: fmt.Sprintf("/group%d/", groups), ttl: c.ttl, members: map[string]*groupMember{}}
				return g.bench(t)
			})
		})
	}
}

// group is a group of scrapers on one loop, which stands still unless the test waits for it.
type group struct {
	*world
	prefix  string
	ttl     time.Duration
	members map[string]*groupMember
	still   sync.Mutex // held by the test, except while it waits
}

// wait runs f, which waits for the loop.
func (g *group) wait(f func()) {
	g.still.Unlock()
	defer g.still.Lock()
	f()
}

// groupMember is a scraper with its connection.
type groupMember struct {
	*mortal
	cable *cable
}

func (g *group) bench(t *testing.T) portstest.GroupBench {
	g.still.Lock()
	t.Cleanup(g.still.Unlock)
	return portstest.GroupBench{
		Settle: settleTime,
		Open:   g.open,
		On:     func(name string, f func()) { g.wait(func() { g.do(f) }) },
		Until:  g.until,
		Vanish: func(name string) {
			g.wait(func() { g.do(func() { g.members[name].dead = true }) })
			g.members[name].cable.set(severed)
		},
		Disconnect: func(name string, cut bool) { g.members[name].cable.set(cut) },
	}
}

func (g *group) open(t *testing.T, name string) (ports.Group, ports.SharedStore) {
	t.Helper()
	m := &groupMember{mortal: &mortal{Host: g.host, still: &g.still}, cable: newCable(t, strings.TrimPrefix(g.cluster.Endpoints()[0], "http://"))}
	g.members[name] = m
	store, err := client.Open(m.mortal, client.Config{Endpoints: []string{"http://" + m.cable.listener.Addr().String()}, Prefix: g.prefix})
	if err != nil {
		t.Fatal(err)
	}
	var member *adapter.Member
	g.wait(func() {
		g.do(func() {
			member = adapter.New(m.mortal, store, adapter.Config{Prefix: g.prefix, TTL: g.ttl, Clock: dhtprom.Clock{}})
		})
	})
	t.Cleanup(func() {
		g.wait(func() {
			g.do(func() {
				m.dead = true
				store.Close(func() {})
			})
		})
	})
	return member, member
}

// until waits on the loop.
func (g *group) until(limit time.Duration, cond func() bool) (ok bool) {
	const pause = 5 * time.Millisecond
	g.wait(func() {
		_ = bridge.Wait(context.Background(), g.host, func(done func()) {
			end := g.host.Now().Add(limit)
			var look func()
			look = func() {
				if ok = cond(); ok || g.host.Now().After(end) {
					done()
					return
				}
				g.host.AfterFunc(pause, look)
			}
			look()
		})
	})
	return ok
}

// mortal is a part of a host that can die by itself: none of its closures is called then.
type mortal struct {
	*udp.Host
	still *sync.Mutex // the loop waits for it
	dead  bool
}

func (m *mortal) guard(f func()) func() {
	return func() {
		m.still.Lock()
		defer m.still.Unlock()
		if !m.dead {
			f()
		}
	}
}

// Post implements host.Loop.
func (m *mortal) Post(f func()) { m.Host.Post(m.guard(f)) }

// Defer implements host.Host.
func (m *mortal) Defer(f func()) { m.Host.Defer(m.guard(f)) }

// AfterFunc implements host.Host.
func (m *mortal) AfterFunc(d time.Duration, f func()) host.Timer {
	return m.Host.AfterFunc(d, m.guard(f))
}

// Compute implements host.Host.
func (m *mortal) Compute(work, done func()) { m.Host.Compute(work, m.guard(done)) }

// severed is the state of a cable that is cut.
const severed = true

// cable passes TCP connections on to an address until it is cut. It can be repaired.
type cable struct {
	to       string
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	conns    map[net.Conn]bool
	running  sync.WaitGroup
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{to: to, listener: l, conns: map[net.Conn]bool{}}
	c.running.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.set(severed)
		c.running.Wait()
	})
	return c
}

func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil || !c.add(near, far) {
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			c.running.Go(func() {
				_, _ = io.Copy(way[0], way[1]) // until one of them closes
				_ = way[0].Close()
				_ = way[1].Close()
			})
		}
	}
}

// add notes the two ends of a connection. It reports false on a cable that is cut.
func (c *cable) add(near, far net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.conns[near], c.conns[far] = true, true
	}
	return !c.cut
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut = cut; cut {
		for conn := range c.conns {
			_ = conn.Close()
		}
		clear(c.conns)
	}
}
