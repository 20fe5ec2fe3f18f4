package records

import (
	"encoding/binary"
	"io"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// topics holds peer records by target, many to one (record-cache).
type topics struct {
	aging
	max          int
	fresh, stale topicGeneration
}

// topicGeneration keeps the records of a target in a list, which a random few can be drawn from, and
// remembers where in its list each record is. A record starts with the key it belongs to.
type topicGeneration struct {
	lists map[id.Target][][]byte
	index map[topicKey]int
}

type topicKey struct {
	target id.Target
	key    id.PublicKey
}

func newTopics(now host.Instant, l limits) topics {
	t := topics{aging: newAging(now, l.age), max: l.entries}
	t.rotate()
	t.rotate()
	return t
}

func (t *topics) rotate() {
	t.stale, t.fresh = t.fresh, topicGeneration{lists: make(map[id.Target][][]byte), index: make(map[topicKey]int)}
}

func (t *topics) len() int { return len(t.fresh.index) + len(t.stale.index) }

// add adds a record, unless the current generation has one of that key, which then stays.
func (t *topics) add(target id.Target, record []byte) {
	k := topicKey{target, keyOf(record)}
	t.stale.remove(k)
	t.fresh.add(k, record)
	if len(t.fresh.index) > t.max {
		t.rotate()
		t.early = true
	}
}

func (t *topics) remove(target id.Target, key id.PublicKey) {
	t.fresh.remove(topicKey{target, key})
	t.stale.remove(topicKey{target, key})
}

// sample is a random selection of at most n records of a target, without repetition.
func (t *topics) sample(target id.Target, n int, rand io.Reader) [][]byte {
	fresh, stale := t.fresh.lists[target], t.stale.lists[target]
	n = min(n, len(fresh)+len(stale))
	if n == 0 {
		return nil
	}
	draws := make([]byte, 8*n)
	// A source that fails leaves zeros: the answer is a selection all the same, only not a random one.
	_, _ = io.ReadFull(rand, draws)
	out := make([][]byte, 0, n)
	for ; n > 0; n-- {
		j := int(binary.LittleEndian.Uint64(draws) % uint64(len(fresh)+len(stale)))
		draws = draws[8:]
		if j < len(fresh) {
			out = append(out, t.fresh.draw(target, &fresh, j))
		} else {
			out = append(out, t.stale.draw(target, &stale, j-len(fresh)))
		}
	}
	return out
}

// draw swaps the record at i to the end of the rest of a list and cuts it off the rest, so that
// it is not drawn twice. The list itself keeps all its records, in another order.
func (g *topicGeneration) draw(target id.Target, rest *[][]byte, i int) []byte {
	last := len(*rest) - 1
	g.swap(target, *rest, i, last)
	record := (*rest)[last]
	*rest = (*rest)[:last]
	return record
}

func (g *topicGeneration) add(k topicKey, record []byte) {
	if _, ok := g.index[k]; ok {
		return
	}
	list := g.lists[k.target]
	g.index[k] = len(list)
	g.lists[k.target] = append(list, record)
}

func (g *topicGeneration) remove(k topicKey) {
	i, ok := g.index[k]
	if !ok {
		return
	}
	list := g.lists[k.target]
	last := len(list) - 1
	g.swap(k.target, list, i, last)
	list[last] = nil
	delete(g.index, k)
	if last == 0 {
		delete(g.lists, k.target)
	} else {
		g.lists[k.target] = list[:last]
	}
}

func (g *topicGeneration) swap(target id.Target, list [][]byte, i, j int) {
	list[i], list[j] = list[j], list[i]
	g.index[topicKey{target, keyOf(list[i])}] = i
	g.index[topicKey{target, keyOf(list[j])}] = j
}

// keyOf is the public key that a peer record starts with.
func keyOf(record []byte) id.PublicKey { return id.PublicKey(record[:32]) }
