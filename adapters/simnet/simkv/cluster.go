package simkv

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// Config configures a cluster. The zero Config answers without delay and without faults.
type Config struct {
	// Delay is the delay of a request, and of an answer.
	Delay simnet.Distribution
	// Lag is added to the delay of a watch's reports.
	Lag simnet.Distribution
	// LoseRequest is the probability that a request is not carried out, and LoseAnswer that one was and its answer is lost.
	LoseRequest, LoseAnswer float64
	// Drift makes the clock of the store gain seconds per second, or lose them where it is negative.
	Drift float64
}

const (
	// minTTL is the least time-to-live that is granted, etcd's with its default timeouts.
	minTTL = 2 * time.Second
	// expiryCheck bounds the time between the end of a lease and its removal: etcd looks for expired leases twice a second.
	expiryCheck = 500 * time.Millisecond
	// leaderTimeout is the time until a cluster without a majority notices.
	leaderTimeout = time.Second
)

var errRefused = errors.New("simkv: refused")

// Stats counts what the store did.
type Stats struct {
	Requests int // that arrived
	Changes  int // transactions with an effect, expiring leases included
	Expired  int // leases
}

// Cluster is the store.
type Cluster struct {
	net    *simnet.Net
	cfg    Config
	random *rand.Rand
	clock  clock

	items     map[string]*item
	revision  int64
	compacted int64       // revisions before it are not in the log
	log       []kv.Change // by revision
	leases    map[kv.LeaseID]*grant
	granted   kv.LeaseID // the last one
	stats     Stats

	stores    []*Store        // connections, in the order of connecting
	connected int             // counts them
	cut       map[string]bool // names of machines
	down      bool            // there is no leader
	since     time.Duration   // when it was lost
	stalled   []func()        // requests that arrived without a leader before that was noticed
}

// item is a key's state.
type item struct {
	kv.Item
	lease kv.LeaseID
}

// New returns an empty store.
func New(net *simnet.Net, cfg Config) *Cluster {
	return &Cluster{
		net: net, cfg: cfg, random: rand.New(rand.NewPCG(net.Seed(), labelled("simkv"))), clock: clock{gain: cfg.Drift, from: net.Now(), shown: net.Now()},
		items: map[string]*item{}, revision: 1, leases: map[kv.LeaseID]*grant{}, cut: map[string]bool{},
	}
}

// labelled returns the second half of a seed for one purpose.
func labelled(label string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(label)) // never fails
	return h.Sum64()
}

// SetConfig replaces the configuration: Config{} removes all faults of messages. The random stream continues.
func (c *Cluster) SetConfig(cfg Config) {
	now := c.net.Now()
	c.clock = clock{gain: cfg.Drift, from: now, shown: c.clock.at(now)}
	c.cfg = cfg
	for _, id := range slices.Sorted(maps.Keys(c.leases)) {
		c.watchExpiry(c.leases[id])
	}
}

// Stats returns the counts so far.
func (c *Cluster) Stats() Stats { return c.stats }

// Revision returns the current revision.
func (c *Cluster) Revision() int64 { return c.revision }

// Items returns the content below a prefix, by key, for checks.
func (c *Cluster) Items(prefix string) (items []kv.Item) {
	for _, key := range slices.Sorted(maps.Keys(c.items)) {
		if strings.HasPrefix(key, prefix) {
			items = append(items, c.items[key].Item)
		}
	}
	return items
}

// Compact removes the revisions before one from the history.
func (c *Cluster) Compact(revision int64) {
	revision = min(revision, c.revision)
	if revision <= c.compacted {
		return
	}
	c.compacted = revision
	i, _ := slices.BinarySearchFunc(c.log, revision, func(change kv.Change, at int64) int { return cmp.Compare(change.Modified, at) })
	c.log = slices.Clone(c.log[i:])
}

// check returns the reason why etcd refuses a transaction.
func (c *Cluster) check(t kv.Txn) error {
	seen := map[string]bool{}
	for _, op := range t.Then {
		switch {
		case op.Key == "":
			return fmt.Errorf("%w: a key is empty", errRefused)
		case seen[op.Key]:
			return fmt.Errorf("%w: two operations have the key %q", errRefused, op.Key)
		case op.Lease != 0 && c.leases[op.Lease] == nil:
			return fmt.Errorf("%w: lease %x does not exist", errRefused, int64(op.Lease))
		}
		seen[op.Key] = true
	}
	if len(t.Then) > kv.MaxOps {
		return fmt.Errorf("%w: %d operations, at most %d may be", errRefused, len(t.Then), kv.MaxOps)
	}
	return nil
}

// apply carries out a transaction.
func (c *Cluster) apply(t kv.Txn) (kv.Result, error) {
	for _, cond := range t.If {
		if c.created(cond.Key) != cond.Created {
			return kv.Result{Revision: c.revision}, nil
		}
	}
	if err := c.check(t); err != nil {
		return kv.Result{}, err
	}
	c.change(t.Then)
	return kv.Result{Done: true, Revision: c.revision}, nil
}

func (c *Cluster) created(key string) int64 {
	if i := c.items[key]; i != nil {
		return i.Created
	}
	return 0
}

// change carries out operations at one revision, unless none has an effect, and reports them.
func (c *Cluster) change(ops []kv.Op) {
	at, from := c.revision+1, len(c.log)
	for _, op := range ops {
		old := c.items[op.Key]
		if old != nil && old.lease != 0 {
			delete(c.leases[old.lease].keys, op.Key)
		}
		switch {
		case !op.Delete:
			c.log = append(c.log, kv.Change{Item: c.set(op, at)})
		case old != nil:
			delete(c.items, op.Key)
			c.log = append(c.log, kv.Change{Item: kv.Item{Key: op.Key, Modified: at}, Deleted: true})
		}
	}
	if len(c.log) == from {
		return
	}
	c.revision = at
	c.stats.Changes++
	changes := c.log[from:]
	for _, s := range c.stores {
		s.report(changes)
	}
}

func (c *Cluster) set(op kv.Op, at int64) kv.Item {
	i := &item{Item: kv.Item{Key: op.Key, Value: op.Value, Created: at, Modified: at}, lease: op.Lease}
	if old := c.items[op.Key]; old != nil {
		i.Created = old.Created
	}
	c.items[op.Key] = i
	if op.Lease != 0 {
		c.leases[op.Lease].keys[op.Key] = true
	}
	return i.Item
}

// hit reports true with probability p.
func (c *Cluster) hit(p float64) bool { return p > 0 && c.random.Float64() < p }
