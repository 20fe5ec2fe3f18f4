package records

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
	"github.com/dhtprom/dhtprom/ports/host"
)

type entryState uint8

const (
	entryAbsent entryState = iota
	entryFresh
	entryStale
)

var entryTable = &states.Table[entryState]{Name: "entry", States: []states.Rule[entryState]{
	entryAbsent: {Name: "absent", Why: "until it is added", Next: []entryState{entryFresh, entryStale}},
	entryFresh:  {Name: "fresh", Why: "until the second tick at the latest, or the generation is full", Next: []entryState{entryStale, entryAbsent}},
	entryStale:  {Name: "stale", Why: "likewise, unless it is added again or, among others than topic records, read", Next: []entryState{entryFresh, entryAbsent}},
}}

func TestDocListsTheTables(t *testing.T) { statestest.Doc(t, "doc.go", statestest.Of(entryTable)) }

// generations is the common interface of caches and topics.
type generations interface {
	state(k byte) entryState
	add(k byte)
	read(k byte)
	remove(k byte)
	advance(now host.Instant)
}

type testCache struct{ cache[byte, int] }

func (c *testCache) state(k byte) entryState {
	_, fresh := c.fresh.entries[k]
	_, stale := c.stale.entries[k]
	return stateIn(fresh, stale)
}
func (c *testCache) add(k byte)               { c.set(k, 0) }
func (c *testCache) read(k byte)              { c.get(k) }
func (c *testCache) remove(k byte)            { c.delete(k) }
func (c *testCache) advance(now host.Instant) { c.aging.advance(now, c.rotate) }

type testTopics struct {
	topics
	t *testing.T
}

func (tt *testTopics) state(k byte) entryState {
	_, fresh := tt.fresh.index[topicKey{key: id.PublicKey{k}}]
	_, stale := tt.stale.index[topicKey{key: id.PublicKey{k}}]
	return stateIn(fresh, stale)
}

func (tt *testTopics) add(k byte) {
	record := make([]byte, 64)
	record[0] = k
	tt.topics.add(id.Target{}, record)
}

// read keeps no topic record alive.
func (tt *testTopics) read(k byte) {
	before := tt.state(k)
	tt.sample(id.Target{}, 100, rand.NewChaCha8([32]byte{}))
	if after := tt.state(k); after != before {
		tt.t.Errorf("a record that is %v is %v after reading", before, after)
	}
}

func (tt *testTopics) remove(k byte)            { tt.topics.remove(id.Target{}, id.PublicKey{k}) }
func (tt *testTopics) advance(now host.Instant) { tt.aging.advance(now, tt.rotate) }

func stateIn(fresh, stale bool) entryState {
	switch {
	case fresh:
		return entryFresh
	case stale:
		return entryStale
	}
	return entryAbsent
}

// Entries go through the states of the table and no others, whatever is done to the generations.
func TestEntriesKeepToTheTable(t *testing.T) {
	few := limits{entries: 6, age: time.Minute}
	for name, g := range map[string]generations{
		"cache":  &testCache{newCache[byte, int](0, few, nil)},
		"topics": &testTopics{newTopics(0, few), t},
	} {
		t.Run(name, func(t *testing.T) {
			w := statestest.NewWatch(t, entryTable)
			random := rand.New(rand.NewChaCha8([32]byte{1}))
			now := host.Instant(0)
			for range 5000 {
				var before [8]entryState
				for k := range before {
					before[k] = g.state(byte(k))
				}
				k := byte(random.IntN(len(before)))
				switch random.IntN(4) {
				case 0:
					g.add(k)
				case 1:
					g.read(k)
				case 2:
					if random.IntN(4) == 0 {
						g.remove(k)
					}
				default:
					now = now.Add(time.Duration(random.Int64N(int64(20 * time.Second))))
					g.advance(now)
				}
				for k := range before {
					w.Step(before[k], g.state(byte(k)))
				}
			}
		})
	}
}
