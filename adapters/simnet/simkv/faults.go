package simkv

import (
	"maps"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

const (
	// noticeAfter and noticeWithin bound the time until a client notices that its connection is cut.
	noticeAfter, noticeWithin = 2 * time.Second, 8 * time.Second
	// reconnectWithin bounds the time until a client connects again.
	reconnectWithin = 2 * time.Second
)

// Cut separates a machine from the store, in both directions, until Join. It outlives restarts.
func (c *Cluster) Cut(h *simnet.Host) {
	c.cut[h.Name()] = true
	for _, s := range c.of(h) {
		line := s.line
		s.after(noticeAfter+c.drawn(noticeWithin), func() {
			if s.line == line && c.cut[h.Name()] {
				s.disconnect()
			}
		})
	}
}

// Join undoes Cut.
func (c *Cluster) Join(h *simnet.Host) {
	delete(c.cut, h.Name())
	for _, s := range c.of(h) {
		if s.up {
			s.release()
		} else {
			s.reconnect()
		}
	}
}

// of returns the connections of a machine.
func (c *Cluster) of(h *simnet.Host) (stores []*Store) {
	for _, s := range c.stores {
		if s.host.Name() == h.Name() && !s.host.Down() {
			stores = append(stores, s)
		}
	}
	return stores
}

// Stop takes the leader from the cluster, as the loss of a majority does.
func (c *Cluster) Stop() {
	if c.down {
		return
	}
	c.down, c.since = true, c.net.Now()
	for _, s := range c.stores {
		line := s.line
		s.after(leaderTimeout+c.drawn(reconnectWithin), func() {
			if c.down && s.line == line {
				s.unfollow()
			}
		})
	}
}

// Resume gives the cluster a leader again, which carries out some of the transactions that the last one had received, and gives each
// lease its whole time-to-live.
func (c *Cluster) Resume() {
	if !c.down {
		return
	}
	c.down = false
	for _, id := range slices.Sorted(maps.Keys(c.leases)) {
		c.extend(c.leases[id])
	}
	stalled := c.stalled
	c.stalled = nil
	for _, serve := range stalled {
		if c.hit(0.5) {
			serve()
		}
	}
	for _, s := range c.stores {
		if s.up {
			s.follow()
		}
	}
}

// drawn draws a duration below d.
func (c *Cluster) drawn(d time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(d)))
}
