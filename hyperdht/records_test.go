package hyperdht_test

import (
	"errors"
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
		b.MutableGet(keys.Public, 0, func(v hyperdht.MutableValue, err error) {
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
