package hyperdht_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

func TestImmutableValueIsFoundByItsHash(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 20})
	ah, a := w.join("writer")
	bh, b := w.join("reader")
	var target id.Target
	var got []byte
	done := false
	ah.Do(func() {
		a.ImmutablePut([]byte("a value"), func(hash id.Target, err error) {
			if err != nil {
				t.Error(err)
			}
			target, done = hash, true
		})
	})
	w.until("the value is stored", time.Minute, func() bool { return done })
	bh.Do(func() {
		b.ImmutableGet(target, func(v []byte, err error) {
			if err != nil {
				t.Error(err)
			}
			got = v
		})
	})
	w.until("the value is found", time.Minute, func() bool { return got != nil })
	if string(got) != "a value" {
		t.Errorf("got %q", got)
	}
	var missing error
	bh.Do(func() { b.ImmutableGet(id.Target{1}, func(_ []byte, err error) { missing = err }) })
	w.until("the lookup ends", time.Minute, func() bool { return missing != nil })
	if !errors.Is(missing, hyperdht.ErrNotFound) {
		t.Errorf("got %v", missing)
	}
}

func TestMutableValueFollowsItsSequenceNumber(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 21})
	ah, a := w.join("writer")
	bh, b := w.join("reader")
	keys := keyPair(3)
	put := func(seq uint64, value string) error {
		t.Helper()
		var result error
		done := false
		ah.Do(func() {
			a.MutablePut(keys, seq, []byte(value), func(_ hyperdht.MutableValue, err error) { result, done = err, true })
		})
		w.until("the put ends", time.Minute, func() bool { return done })
		return result
	}
	if err := put(1, "one"); err != nil {
		t.Fatal(err)
	}
	if err := put(2, "two"); err != nil {
		t.Fatal(err)
	}
	var refused *hyperdht.RefusedError
	if err := put(1, "late"); !errors.As(err, &refused) || refused.Code != 17 {
		t.Errorf("an old number: %v", err)
	}
	if err := put(2, "other"); !errors.As(err, &refused) || refused.Code != 16 {
		t.Errorf("a used number: %v", err)
	}
	var got hyperdht.MutableValue
	done := false
	bh.Do(func() {
		b.MutableGet(keys.Public, hyperdht.MutableGetOptions{}, func(v hyperdht.MutableValue, err error) {
			if err != nil {
				t.Error(err)
			}
			got, done = v, true
		})
	})
	w.until("the get ends", time.Minute, func() bool { return done })
	if got.Seq != 2 || string(got.Value) != "two" {
		t.Errorf("got %d %q", got.Seq, got.Value)
	}
}

func TestTopicListsWhoAnnouncedUntilTheyLeave(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 22})
	ah, a := w.join("announcer")
	bh, b := w.join("seeker")
	topic := id.Target{42}
	finish := func(start func(done func(error))) {
		t.Helper()
		ended := false
		start(func(err error) {
			if err != nil {
				t.Error(err)
			}
			ended = true
		})
		w.until("the query ends", time.Minute, func() bool { return ended })
	}
	lookup := func() map[id.PublicKey]bool {
		t.Helper()
		found := map[id.PublicKey]bool{}
		finish(func(done func(error)) {
			bh.Do(func() {
				b.Lookup(topic, func(f hyperdht.Found) {
					for _, p := range f.Peers {
						found[p.PublicKey] = true
					}
				}, done)
			})
		})
		return found
	}
	for i := range byte(3) {
		finish(func(done func(error)) {
			ah.Do(func() { a.Announce(topic, keyPair(i), hyperdht.AnnounceOptions{}, done) })
		})
	}
	if got := lookup(); len(got) != 3 {
		t.Fatalf("found %d keys, want 3", len(got))
	}
	finish(func(done func(error)) { ah.Do(func() { a.Unannounce(topic, keyPair(1), done) }) })
	if got := lookup(); len(got) != 2 || got[keyPair(1).Public] {
		t.Fatalf("found %v after one has left", got)
	}
}

// mutables has a value of a key in two versions: the first at all nodes, the second at one of them.
type mutables struct {
	*world
	keys   id.KeyPair
	host   *simnet.Host
	reader *hyperdht.Node
}

func newMutables(t *testing.T) *mutables {
	t.Helper()
	w := newWorld(t, 12, simnet.Config{Seed: 23})
	h, n := w.join("reader")
	m := &mutables{w, keyPair(6), h, n}
	done := false
	h.Do(func() { n.MutablePut(m.keys, 1, []byte("one"), func(hyperdht.MutableValue, error) { done = true }) })
	w.until("a value is stored", time.Minute, func() bool { return done })
	ah, alone := w.host("alone"), (*hyperdht.Node)(nil)
	alone = w.node(ah, hyperdht.Config{Bootstrap: []string{}, FilterNode: func(a netip.AddrPort) bool { return a == w.nodes[7].Status().Public }})
	ah.Do(func() { alone.AddNode(w.nodes[7].Status().Public) })
	done = false
	ah.Do(func() { alone.MutablePut(m.keys, 2, []byte("two"), func(hyperdht.MutableValue, error) { done = true }) })
	w.until("a later value is stored at one node", time.Minute, func() bool { return done })
	return m
}

// get returns the value that a search finds, and how long that takes.
func (m *mutables) get(opts hyperdht.MutableGetOptions) (got hyperdht.MutableValue, took time.Duration, failure error) {
	m.t.Helper()
	done, began := false, m.net.Now()
	m.host.Do(func() {
		m.reader.MutableGet(m.keys.Public, opts, func(v hyperdht.MutableValue, err error) { got, failure, done = v, err, true })
	})
	m.until("a search ends", time.Minute, func() bool { return done })
	return got, m.net.Now() - began, failure
}

func TestFirstValueEndsTheSearch(t *testing.T) {
	m := newMutables(t)
	latest, took, err := m.get(hyperdht.MutableGetOptions{})
	if err != nil || latest.Seq != 2 || string(latest.Value) != "two" {
		t.Errorf("the latest: %d %q, %v", latest.Seq, latest.Value, err)
	}
	first, firstTook, err := m.get(hyperdht.MutableGetOptions{First: true})
	if err != nil || !first.Verify(m.keys.Public) || firstTook >= took {
		t.Errorf("the first: %d %q, %v, after %v; the latest took %v", first.Seq, first.Value, err, firstTook, took)
	}
	if got, _, err := m.get(hyperdht.MutableGetOptions{First: true, MinSeq: 2}); err != nil || got.Seq != 2 {
		t.Errorf("the first one from 2: %d, %v", got.Seq, err)
	}
	if got, _, err := m.get(hyperdht.MutableGetOptions{MinSeq: 3}); !errors.Is(err, hyperdht.ErrNotFound) {
		t.Errorf("one from 3: %d, %v", got.Seq, err)
	}
}

// A refreshed value is at all nodes near its target, so the loss of the one that had it does not matter.
func TestRefreshStoresTheLatestValueAgain(t *testing.T) {
	for _, again := range []bool{false, true} {
		m := newMutables(t)
		var asked []uint64
		if got, _, err := m.get(hyperdht.MutableGetOptions{Refresh: func(v hyperdht.MutableValue) bool {
			asked = append(asked, v.Seq)
			return again
		}}); err != nil || got.Seq != 2 || !slices.Equal(asked, []uint64{2}) {
			t.Fatalf("got %d, %v, asked for %v", got.Seq, err, asked)
		}
		m.nodes[7].Close(nil) // which alone had it
		m.net.Run(time.Minute)
		want := uint64(1)
		if again {
			want = 2
		}
		if got, _, err := m.get(hyperdht.MutableGetOptions{}); err != nil || got.Seq != want {
			t.Errorf("stored again %v: %d is left, %v", again, got.Seq, err)
		}
		if _, _, err := m.get(hyperdht.MutableGetOptions{MinSeq: 5, Refresh: func(hyperdht.MutableValue) bool {
			t.Error("asked for a value that was not found")
			return true
		}}); !errors.Is(err, hyperdht.ErrNotFound) {
			t.Error(err)
		}
	}
}

// The lookup that precedes an announcement reports what it finds, as Lookup does, whether earlier records are cleared or not.
func TestAnnouncementReportsTheRecordsOfOthers(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 23})
	h, n := w.join("announcer")
	target := id.Target(id.Hash([]byte("topic")))
	for i, clear := range []bool{false, true, false} {
		found := map[id.PublicKey]bool{}
		done := false
		h.Do(func() {
			n.Announce(target, keyPair(byte(40+i)), hyperdht.AnnounceOptions{Clear: clear, Found: func(f hyperdht.Found) {
				for _, p := range f.Peers {
					found[p.PublicKey] = true
				}
			}}, func(err error) {
				if err != nil {
					t.Error(err)
				}
				done = true
			})
		})
		w.until("it is announced", time.Minute, func() bool { return done })
		if len(found) != i {
			t.Errorf("announcement %d (clear %v) reports %d keys", i+1, clear, len(found))
		}
	}
}
