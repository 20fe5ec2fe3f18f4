package simkv

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// clock is the store's steady clock, linear from a known point.
type clock struct {
	gain  float64       // seconds per second
	from  time.Duration // in time of the net
	shown time.Duration // at that instant
}

func (c clock) at(now time.Duration) time.Duration {
	return c.shown + (now - c.from) + time.Duration(c.gain*float64(now-c.from))
}

// takes returns the net's time in which the clock gains d.
func (c clock) takes(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(float64(d) / (1 + c.gain)))
}

// grant is a lease at the store.
type grant struct {
	id      kv.LeaseID
	ttl     time.Duration
	ends    time.Duration // by the store's clock
	keys    map[string]bool
	checks  int  // events that look for its end
	expired bool // and will be removed
}

func (c *Cluster) grant(ttl time.Duration) *grant {
	c.granted++
	g := &grant{
		id: c.granted, ttl: max(minTTL, (ttl+time.Second-1)/time.Second*time.Second), // etcd counts seconds
		keys: map[string]bool{},
	}
	c.leases[g.id] = g
	c.extend(g)
	return g
}

// extend lets a lease begin again.
func (c *Cluster) extend(g *grant) {
	g.ends, g.expired = c.clock.at(c.net.Now())+g.ttl, false
	if g.checks == 0 {
		c.watchExpiry(g)
	}
}

// watchExpiry looks at a lease when it ends.
func (c *Cluster) watchExpiry(g *grant) {
	c.lookAt(g, c.clock.takes(g.ends-c.clock.at(c.net.Now())))
}

func (c *Cluster) lookAt(g *grant, d time.Duration) {
	g.checks++
	c.net.AfterFunc(d, func() {
		g.checks--
		switch {
		case c.leases[g.id] != g || c.down: // the next leader extends all leases
		case c.clock.at(c.net.Now()) < g.ends:
			if g.checks == 0 {
				c.watchExpiry(g)
			}
		case !g.expired:
			g.expired = true
			c.lookAt(g, time.Duration(c.random.Int64N(int64(expiryCheck))))
		default:
			c.stats.Expired++
			c.revoke(g.id)
		}
	})
}

// renew lets a lease begin again and returns its time-to-live, or 0 if it does not exist.
func (c *Cluster) renew(id kv.LeaseID) time.Duration {
	g := c.leases[id]
	if g == nil {
		return 0
	}
	if g.expired || c.clock.at(c.net.Now()) >= g.ends {
		c.stats.Expired++
		c.revoke(id)
		return 0
	}
	c.extend(g)
	return g.ttl
}

// revoke removes a lease and its keys.
func (c *Cluster) revoke(id kv.LeaseID) {
	g := c.leases[id]
	if g == nil {
		return
	}
	var ops []kv.Op
	for _, key := range slices.Sorted(maps.Keys(g.keys)) {
		ops = append(ops, kv.Op{Key: key, Delete: true})
	}
	c.change(ops)
	delete(c.leases, id)
}

// Revoke removes a lease with its keys, as an operator of the store can.
func (c *Cluster) Revoke(id kv.LeaseID) { c.revoke(id) }

// Leases returns the number of leases.
func (c *Cluster) Leases() int { return len(c.leases) }
