package etcd_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/domain"
)

// chaos is a group whose members, connections and store fail at random, while its leaders write.
type chaos struct {
	*world
	t       *testing.T
	random  *rand.Rand
	live    []*scraper
	started int
	down    bool

	version      uint16
	acknowledged map[domain.Alias]uint16
	terms        []int64
	changes      int // acknowledged
}

const (
	chaosMembers = 4
	chaosAliases = 20
	chaosSet     = 150
)

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		world:  newWorld(seed, simkv.Config{Delay: uniform(20 * time.Millisecond), Lag: uniform(time.Second), LoseRequest: 0.01, LoseAnswer: 0.01, Drift: 0.005}),
		t:      t,
		random: rand.New(rand.NewPCG(seed, 0)), acknowledged: map[domain.Alias]uint16{},
	}
	c.drift = 0.005
	for range chaosMembers {
		c.start()
	}
	return c
}

// start starts a member.
func (c *chaos) start() {
	c.started++
	c.adopt(c.scraper(c.t, fmt.Sprint("member", c.started)))
}

// adopt judges what a member does.
func (c *chaos) adopt(s *scraper) {
	c.live = append(c.live, s)
	s.onLead = func(term int64) {
		for _, o := range c.live {
			if o != s && o.term != 0 {
				c.t.Errorf("%s leads in term %d, and %s in %d", s.name, term, o.name, o.term)
			}
		}
		if len(c.terms) > 0 && term <= c.terms[len(c.terms)-1] {
			c.t.Errorf("term %d after %v", term, c.terms)
		}
		c.terms = append(c.terms, term)
		promised := maps.Clone(c.acknowledged)
		s.Load(func(entries []domain.Entry, bad []error, err error) {
			if err == nil && s.term == term {
				c.check(fmt.Sprintf("in term %d", term), entries, bad, promised)
			}
		})
	}
	s.onTable = func() {
		c.checkSet("followed by "+s.name, slices.Collect(maps.Values(s.table)))
	}
}

// check compares a table with what was acknowledged before.
func (c *chaos) check(when string, entries []domain.Entry, bad []error, promised map[domain.Alias]uint16) {
	if len(bad) > 0 {
		c.t.Errorf("%s: bad %v", when, bad)
	}
	versions := map[domain.Alias]uint16{}
	for _, e := range entries {
		versions[e.Alias] = versionOf(e)
	}
	for _, alias := range slices.Sorted(maps.Keys(promised)) {
		if versions[alias] < promised[alias] {
			c.t.Errorf("%s: %q has version %d, and %d was acknowledged", when, alias, versions[alias], promised[alias])
		}
	}
	c.checkSet(when, entries)
}

// checkSet checks that all entries of the set have one version.
func (c *chaos) checkSet(when string, entries []domain.Entry) {
	versions := map[uint16]int{}
	for _, e := range entries {
		if e.InSet {
			versions[versionOf(e)]++
		}
	}
	if len(versions) > 1 {
		c.t.Errorf("%s: the set has entries of versions %v", when, versions)
	}
}

func versionOf(e domain.Entry) uint16 { return uint16(e.Key[0])<<8 | uint16(e.Key[1]) }

func (c *chaos) entry(alias string) domain.Entry {
	e := entry(alias, 0)
	e.Key = domain.PublicKey{byte(c.version >> 8), byte(c.version), 1}
	return e
}

// write lets each member that believes to lead make a change.
func (c *chaos) write() {
	for _, s := range c.live {
		if s.term == 0 {
			continue
		}
		c.version++
		change := domain.SetChange{Put: []domain.Entry{c.entry(fmt.Sprint("x", c.random.IntN(chaosAliases)))}}
		if c.random.IntN(20) == 0 {
			change.Put = nil
			for i := range chaosSet {
				e := c.entry(fmt.Sprint("set/", i))
				e.InSet = true
				change.Put = append(change.Put, e)
			}
		}
		version := c.version
		s.host.Do(func() {
			s.PutSet(change, func(err error) {
				if err != nil {
					return
				}
				c.changes++
				for _, e := range change.Put {
					c.acknowledged[e.Alias] = max(c.acknowledged[e.Alias], version)
				}
			})
		})
	}
}

// fault does one thing to the group.
func (c *chaos) fault() {
	s := c.live[c.random.IntN(len(c.live))]
	switch c.random.IntN(8) {
	case 0, 1:
		c.cluster.Cut(s.host)
		c.net.AfterFunc(time.Duration(c.random.IntN(20))*time.Second, func() { c.cluster.Join(s.host) })
	case 2:
		s.host.Crash()
		c.live = slices.DeleteFunc(c.live, func(o *scraper) bool { return o == s })
		c.start()
	case 3:
		leaving := c.random.IntN(2) == 0
		s.host.Do(func() { s.Update(domain.Member{Name: s.name, Leaving: leaving}) })
	case 4:
		c.cluster.Compact(c.cluster.Revision())
	case 5:
		if !c.down {
			c.down = true
			c.cluster.Stop()
			c.net.AfterFunc(time.Duration(c.random.IntN(10))*time.Second, func() {
				c.down = false
				c.cluster.Resume()
			})
		}
	case 6:
		s.host.Do(func() { s.Update(domain.Member{Name: s.name, Clients: c.random.IntN(100)}) })
	}
}

// heal ends all faults, and waits until the members agree.
func (c *chaos) heal() {
	c.net.Run(20 * time.Second)
	c.cluster.SetConfig(simkv.Config{Delay: uniform(5 * time.Millisecond)})
	for _, s := range c.live {
		c.cluster.Join(s.host)
		s.host.Do(func() { s.Update(domain.Member{Name: s.name}) })
	}
	c.until(c.t, "all see one leader", func() bool {
		leader := c.live[0].view.Leader
		return leader != "" && !slices.ContainsFunc(c.live, func(s *scraper) bool {
			return s.view.Leader != leader || len(s.view.Members) != len(c.live) || s.view.Self == leader && s.term == 0
		})
	})
}

func TestGroupsSurviveChaos(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newChaos(t, seed)
			for range 40 {
				for range 40 {
					c.net.Run(50 * time.Millisecond)
					c.write()
				}
				c.fault()
			}
			c.heal()
			leader := c.live[slices.IndexFunc(c.live, func(s *scraper) bool { return s.term != 0 })]
			if err := leader.put(t, entry("last", 1)); err != nil {
				t.Error(err)
			}
			table, bad := leader.load(t)
			c.check("at the end", slices.Collect(maps.Values(table)), bad, c.acknowledged)
			for _, s := range c.live {
				c.until(t, s.name+" follows", func() bool { return maps.EqualFunc(s.table, table, sameEntry) })
			}
			if left := c.cluster.Items("/dhtprom/changes/"); len(left) > 0 {
				t.Errorf("%d keys of changes are left", len(left))
			}
			if n := len(c.cluster.Items("/dhtprom/candidates/")); n != len(c.live) {
				t.Errorf("%d candidates of %d members", n, len(c.live))
			}
			if c.changes < 100 || len(c.terms) < 3 {
				t.Errorf("%d changes in terms %v", c.changes, c.terms)
			}
		})
	}
}

func sameEntry(a, b domain.Entry) bool { return a.Key == b.Key }

// The same seed gives the same run.
func TestMembersAreDeterministic(t *testing.T) {
	var runs [2]string
	for i := range runs {
		c := newChaos(t, 99)
		for range 10 {
			for range 20 {
				c.net.Run(50 * time.Millisecond)
				c.write()
			}
			c.fault()
		}
		runs[i] = fmt.Sprint(c.cluster.Stats(), c.cluster.Revision(), c.terms, c.changes)
	}
	if runs[0] != runs[1] {
		t.Errorf("runs end as\n%s\n%s", runs[0], runs[1])
	}
}
