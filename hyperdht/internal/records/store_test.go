package records_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

const (
	age      = 20 * time.Minute
	valueAge = 48 * time.Hour
	wall     = 1_700_000_000_000
)

var (
	token = id.Token{0xa0}
	topic = id.Target(id.Hash([]byte("some topic")))
	far   = netip.MustParseAddrPort("198.51.100.20:40123")
)

// world is a store, the time and a client.
type world struct {
	t     testing.TB
	store *records.Store
	turn  records.Turn
}

func newWorld(t testing.TB, cfg records.Config) *world {
	return &world{
		t: t, store: records.NewStore(0, cfg),
		turn: records.Turn{
			Self: id.NodeIDOf(netip.MustParseAddrPort("203.0.113.7:49737")), WallMillis: wall,
			Rand: rand.NewChaCha8([32]byte{1}),
		},
	}
}

func (w *world) sleep(d time.Duration) { w.turn.Now = w.turn.Now.Add(d) }

func (w *world) handle(command uint64, target id.Target, value []byte) records.Answer {
	return w.store.Handle(w.turn, records.Request{Command: command, From: far, Target: &target, Token: &token, Value: value})
}

func (w *world) must(a records.Answer) {
	w.t.Helper()
	if a.Drop || a.Error != 0 {
		w.t.Fatalf("refused: %+v", a)
	}
}

func (w *world) announceValue(target id.Target, kp id.KeyPair, m wire.Announce) []byte {
	if m.Peer == nil {
		m.Peer = &wire.Peer{}
	}
	m.Peer.PublicKey = kp.Public
	g := wire.Grant{Target: target, Node: w.turn.Self, Token: token}
	sig := wire.SignAnnounce(kp, g, *m.Peer, m.Refresh)
	m.Signature = &sig
	return m.Append(nil)
}

func (w *world) announce(target id.Target, kp id.KeyPair, m wire.Announce) {
	w.t.Helper()
	w.must(w.handle(wire.CmdAnnounce, target, w.announceValue(target, kp, m)))
}

func (w *world) unannounce(target id.Target, kp id.KeyPair) {
	w.t.Helper()
	peer := wire.Peer{PublicKey: kp.Public}
	sig := wire.SignUnannounce(kp, wire.Grant{Target: target, Node: w.turn.Self, Token: token}, peer, nil)
	w.must(w.handle(wire.CmdUnannounce, target, wire.Announce{Peer: &peer, Signature: &sig}.Append(nil)))
}

// lookup is the decoded answer to a lookup, empty if there was no value.
func (w *world) lookup(target id.Target) wire.LookupReply {
	w.t.Helper()
	a := w.handle(wire.CmdLookup, target, nil)
	w.must(a)
	if a.Value == nil {
		return wire.LookupReply{}
	}
	m, err := wire.ParseLookupReply(a.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) found(command uint64, target id.Target, value []byte) bool {
	w.t.Helper()
	a := w.handle(command, target, value)
	w.must(a)
	return a.Value != nil
}

func (w *world) putImmutable(value []byte) id.Target {
	w.t.Helper()
	target := id.Target(id.Hash(value))
	w.must(w.handle(wire.CmdImmutablePut, target, value))
	return target
}

func keys(n byte) id.KeyPair { return id.KeyPairFromSeed(id.Seed{n}) }

func TestEntriesLiveForTwoThirdsToFourThirdsOfTheirAge(t *testing.T) {
	kp := keys(1)
	for _, c := range []struct {
		name  string
		age   time.Duration
		put   func(w *world)
		found func(w *world) bool
	}{
		{"router entry", age,
			func(w *world) { w.announce(kp.Public.Target(), kp, wire.Announce{}) },
			func(w *world) bool { _, ok := w.store.Get(kp.Public.Target()); return ok }},
		{"topic record", age,
			func(w *world) { w.announce(topic, kp, wire.Announce{}) },
			func(w *world) bool { return len(w.lookup(topic).Peers) > 0 }},
		{"mutable value", valueAge,
			func(w *world) {
				w.must(w.handle(wire.CmdMutablePut, kp.Public.Target(), put(kp, 1, "value")))
			},
			func(w *world) bool {
				return w.found(wire.CmdMutableGet, kp.Public.Target(), wire.MutableGet{}.Append(nil))
			}},
		{"immutable value", valueAge,
			func(w *world) { w.putImmutable([]byte("value")) },
			func(w *world) bool {
				return w.found(wire.CmdImmutableGet, id.Hash([]byte("value")), nil)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tick := c.age * 2 / 3
			late := newWorld(t, records.Config{}) // put just before a tick
			late.sleep(tick - 1)
			c.put(late)
			late.sleep(tick)
			late.store.Advance(late.turn.Now)
			if !c.found(late) {
				t.Error("gone within two thirds of its age")
			}
			early := newWorld(t, records.Config{}) // put right after a tick
			c.put(early)
			early.sleep(2*tick + 2)
			early.store.Advance(early.turn.Now)
			if c.found(early) {
				t.Error("still there after four thirds of its age")
			}
			early.store.CheckInvariants(t, records.Config{})
		})
	}
}

func put(kp id.KeyPair, seq uint64, value string) []byte {
	return wire.MutablePut{PublicKey: kp.Public, MutableValue: wire.SignMutable(kp, seq, []byte(value))}.Append(nil)
}

func TestReadingKeepsEverythingAliveButTopicRecords(t *testing.T) {
	w := newWorld(t, records.Config{MaxAge: age})
	kp, other := keys(1), keys(2)
	w.announce(kp.Public.Target(), kp, wire.Announce{})
	w.announce(topic, other, wire.Announce{})
	w.must(w.handle(wire.CmdMutablePut, kp.Public.Target(), put(kp, 1, "value")))
	blob := w.putImmutable([]byte("blob"))
	for range 5 {
		w.sleep(age / 2)
		if _, ok := w.store.Get(kp.Public.Target()); !ok {
			t.Error("router entry gone")
		}
		if !w.found(wire.CmdMutableGet, kp.Public.Target(), wire.MutableGet{}.Append(nil)) || !w.found(wire.CmdImmutableGet, blob, nil) {
			t.Error("value gone")
		}
		w.lookup(topic)
	}
	if got := w.lookup(topic).Peers; len(got) > 0 {
		t.Errorf("topic record kept alive by reading: %v", got)
	}
}

func TestForgettingDoesNotNeedRequests(t *testing.T) {
	w := newWorld(t, records.Config{})
	w.announce(keys(1).Public.Target(), keys(1), wire.Announce{})
	w.putImmutable([]byte("blob"))
	deadlines := 0
	for w.store.Stats().Immutables > 0 {
		next := w.store.NextDeadline()
		if !next.After(w.turn.Now) {
			t.Fatalf("deadline %v is not after %v", next, w.turn.Now)
		}
		w.turn.Now = next
		w.store.Advance(next)
		w.store.Advance(next) // harmless
		deadlines++
	}
	if st := w.store.Stats(); st.Entries > 0 || st.ValueBytes > 0 {
		t.Errorf("left: %+v", st)
	}
	if want := 2 * int(valueAge/age); deadlines != want {
		t.Errorf("%d deadlines, want %d", deadlines, want)
	}
}

func TestLongSleepForgetsEverythingAndKeepsTheRhythm(t *testing.T) {
	w := newWorld(t, records.Config{MaxAge: 3 * time.Second})
	w.announce(topic, keys(1), wire.Announce{})
	w.sleep(1000*time.Hour + time.Second)
	w.store.Advance(w.turn.Now)
	if st := w.store.Stats(); st.Topics != 0 {
		t.Errorf("left: %+v", st)
	}
	if d := w.store.NextDeadline().Sub(w.turn.Now); d <= 0 || d > 2*time.Second {
		t.Errorf("next tick in %v", d)
	}
}

func TestFloodsTakeNoMoreThanTwoGenerations(t *testing.T) {
	cfg := records.Config{MaxEntries: 8, MaxValueBytes: 4096}
	w := newWorld(t, cfg)
	for n := range byte(60) {
		kp := keys(n)
		w.announce(kp.Public.Target(), kp, wire.Announce{Refresh: &[32]byte{n}})
		w.announce(topic, kp, wire.Announce{Bump: uint64(n)})
		w.announce(id.Target{n}, kp, wire.Announce{Bump: uint64(n)})
		w.must(w.handle(wire.CmdMutablePut, kp.Public.Target(), put(kp, 1, "value")))
		w.putImmutable([]byte{n})
		for old := range n { // reading everything must not help the flood
			w.store.Get(keys(old).Public.Target())
			w.found(wire.CmdImmutableGet, id.Hash([]byte{old}), nil)
		}
		w.store.CheckInvariants(t, cfg)
		if _, ok := w.store.Get(kp.Public.Target()); !ok {
			t.Fatal("the newest entry is gone")
		}
	}
}

func TestLargeValuesTakeNoMoreThanTheirBytes(t *testing.T) {
	cfg := records.Config{MaxValueBytes: 100_000}
	w := newWorld(t, cfg)
	for n := range byte(50) {
		target := w.putImmutable(bytes.Repeat([]byte{n}, 30_000))
		if st := w.store.Stats(); st.ValueBytes > 2*130_000 {
			t.Fatalf("%d bytes stored", st.ValueBytes)
		}
		if !w.found(wire.CmdImmutableGet, target, nil) {
			t.Fatal("the newest value is gone")
		}
		w.store.CheckInvariants(t, cfg)
	}
}

// A full generation makes room early; the tick after that must not shorten lives further.
func TestTickAfterAnEarlyTurnIsSkipped(t *testing.T) {
	w := newWorld(t, records.Config{MaxEntries: 4})
	for n := range byte(5) { // the topic is full at 5, the entries are at 4
		w.announce(topic, keys(n), wire.Announce{})
		if n < 4 {
			w.announce(keys(n).Public.Target(), keys(n), wire.Announce{})
		}
	}
	w.sleep(age * 2 / 3)
	w.store.Advance(w.turn.Now)
	if st := w.store.Stats(); st.Entries != 4 || st.Topics != 5 {
		t.Errorf("%d of 4 entries and %d of 5 records left", st.Entries, st.Topics)
	}
	w.sleep(2 * (age * 2 / 3))
	w.store.Advance(w.turn.Now)
	if st := w.store.Stats(); st.Entries != 0 || st.Topics != 0 {
		t.Errorf("%d entries and %d records left two ticks later", st.Entries, st.Topics)
	}
}

func TestServersOfThisNodeArePinned(t *testing.T) {
	w := newWorld(t, records.Config{MaxEntries: 4})
	kp := keys(100)
	target := kp.Public.Target()
	record := wire.Peer{PublicKey: kp.Public}.Append(nil)
	w.announce(target, kp, wire.Announce{}) // before the server starts here
	w.store.SetLocal(target, record)
	w.store.CheckInvariants(t, records.Config{MaxEntries: 4})

	w.announce(target, kp, wire.Announce{Peer: &wire.Peer{RelayAddrs: []netip.AddrPort{far}}})
	w.store.CheckInvariants(t, records.Config{MaxEntries: 4})
	w.unannounce(target, kp)
	w.store.Unannounce(target, kp.Public)
	for n := range byte(20) {
		w.announce(keys(n).Public.Target(), keys(n), wire.Announce{})
	}
	w.sleep(10 * age)
	if a := w.handle(wire.CmdFindPeer, target, nil); !bytes.Equal(a.Value, record) {
		t.Errorf("find peer answers %x", a.Value)
	}
	if e, ok := w.store.Get(target); !ok || !e.Local || e.Relay.IsValid() || !bytes.Equal(e.Record, record) {
		t.Errorf("entry %+v, %v", e, ok)
	}
	if got := w.lookup(target).Peers; len(got) != 1 || got[0].PublicKey != kp.Public {
		t.Errorf("lookup finds %v", got)
	}
	w.store.DeleteLocal(target)
	if e, ok := w.store.Get(target); ok {
		t.Errorf("entry %+v after the server stopped", e)
	}
}

func TestUnannouncingOnAnothersTargetLeavesItsEntry(t *testing.T) {
	w := newWorld(t, records.Config{})
	server, guest := keys(1), keys(2)
	target := server.Public.Target()
	w.announce(target, server, wire.Announce{})
	w.announce(target, guest, wire.Announce{})
	if got := w.lookup(target).Peers; len(got) != 2 {
		t.Errorf("lookup finds %v", got)
	}
	w.unannounce(target, guest)
	if got := w.lookup(target).Peers; len(got) != 1 || got[0].PublicKey != server.Public {
		t.Errorf("lookup finds %v after the guest left", got)
	}
}

func TestAnnouncingServerReplacesItsEntry(t *testing.T) {
	w := newWorld(t, records.Config{})
	kp := keys(1)
	target := kp.Public.Target()
	w.announce(target, kp, wire.Announce{})
	if e, _ := w.store.Get(target); e.Relay != far || e.Local {
		t.Errorf("entry %+v, want the sender as relay", e)
	}
	w.announce(target, kp, wire.Announce{Peer: &wire.Peer{RelayAddrs: []netip.AddrPort{far}}})
	got := w.lookup(target).Peers
	if len(got) != 1 || !slices.Equal(got[0].RelayAddrs, []netip.AddrPort{far}) {
		t.Errorf("lookup finds %v", got)
	}
	w.store.Unannounce(target, kp.Public)
	if _, ok := w.store.Get(target); ok || len(w.lookup(target).Peers) > 0 {
		t.Error("still there")
	}
}

func TestTopicRecordChangesOnlyOnceItIsOld(t *testing.T) {
	w := newWorld(t, records.Config{})
	kp := keys(1)
	relay := wire.Announce{Peer: &wire.Peer{RelayAddrs: []netip.AddrPort{far}}}
	w.announce(topic, kp, wire.Announce{})
	w.announce(topic, kp, relay)
	if got := w.lookup(topic).Peers; len(got) != 1 || len(got[0].RelayAddrs) != 0 {
		t.Errorf("current generation: %v, want the first record", got)
	}
	w.sleep(age * 2 / 3)
	w.announce(topic, kp, relay)
	if got := w.lookup(topic).Peers; len(got) != 1 || len(got[0].RelayAddrs) != 1 {
		t.Errorf("old generation: %v, want the second record", got)
	}
}

func TestLookupSelectsTwentyOfManyAtRandom(t *testing.T) {
	w := newWorld(t, records.Config{})
	const n = 50
	for i := range byte(n) {
		if i == n/2 {
			w.sleep(age * 2 / 3) // half of them in the old generation
		}
		w.announce(topic, keys(i), wire.Announce{})
	}
	seen := map[id.PublicKey]int{}
	for range 40 {
		got := w.lookup(topic).Peers
		distinct := map[id.PublicKey]bool{}
		for _, p := range got {
			distinct[p.PublicKey] = true
			seen[p.PublicKey]++
		}
		if len(got) != 20 || len(distinct) != 20 {
			t.Fatalf("%d records, %d different ones", len(got), len(distinct))
		}
		w.store.CheckInvariants(t, records.Config{})
	}
	if len(seen) != n {
		t.Errorf("%d of %d records ever seen", len(seen), n)
	}
	for k, times := range seen {
		if times > 32 { // 16 expected
			t.Errorf("%s seen %d times in 40", k.Short(), times)
		}
	}
}

func TestSameRandomnessSameSelection(t *testing.T) {
	run := func() (out []id.PublicKey) {
		w := newWorld(t, records.Config{})
		for i := range byte(40) {
			w.announce(topic, keys(i), wire.Announce{})
		}
		for range 3 {
			for _, p := range w.lookup(topic).Peers {
				out = append(out, p.PublicKey)
			}
		}
		return out
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}

func TestLookupWithTwentyRecordsLeavesTheServerOut(t *testing.T) {
	w := newWorld(t, records.Config{})
	server := keys(200)
	target := server.Public.Target()
	w.announce(target, server, wire.Announce{})
	for i := range byte(20) {
		if got := len(w.lookup(target).Peers); got != int(i)+1 {
			t.Errorf("%d records with %d in the topic", got, i)
		}
		w.announce(target, keys(i), wire.Announce{})
	}
	if got := len(w.lookup(target).Peers); got != 20 {
		t.Errorf("%d records", got)
	}
}

func TestBumpsOnlyMoveForwardAndNotIntoTheFuture(t *testing.T) {
	for _, c := range []struct {
		name       string
		bump, want uint64
	}{
		{"first", 5, 5},
		{"older", 4, 5},
		{"newer", 6, 6},
		{"as far ahead as clocks may drift", wall + 60_000, wall + 60_000},
	} {
		w := newWorld(t, records.Config{})
		t.Run(c.name, func(t *testing.T) {
			w.announce(topic, keys(1), wire.Announce{Bump: 5})
			w.announce(topic, keys(2), wire.Announce{Bump: c.bump})
			if got := w.lookup(topic).Bump; got != c.want {
				t.Errorf("bump %d, want %d", got, c.want)
			}
		})
	}
	w := newWorld(t, records.Config{})
	w.announce(topic, keys(1), wire.Announce{Bump: wall + 60_001})
	if got := w.lookup(topic).Bump; got != 0 {
		t.Errorf("bump %d from the future was kept", got)
	}
}

func TestRefreshChainKeepsARecordAliveStepByStep(t *testing.T) {
	chain := [][32]byte{{1}} // chain[i+1] is the hash of chain[i]; spent from the end
	for i := range 4 {
		chain = append(chain, id.Hash(chain[i][:]))
	}
	kp := keys(1)
	for _, c := range []struct {
		name   string
		target id.Target
	}{{"topic record", topic}, {"router entry", kp.Public.Target()}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, records.Config{})
			w.announce(c.target, kp, wire.Announce{Refresh: &chain[4]})
			for i := 3; i >= 0; i-- {
				w.sleep(age * 2 / 3)
				refresh := wire.Announce{Refresh: &chain[i]}.Append(nil)
				a := w.handle(wire.CmdAnnounce, id.Target{}, refresh) // the target does not matter
				if a.Drop || !a.NoToken || !a.NoCloser {
					t.Fatalf("refresh %d answered with %+v", i, a)
				}
				if again := w.handle(wire.CmdAnnounce, c.target, refresh); !again.Drop {
					t.Errorf("refresh %d was good twice", i)
				}
				if len(w.lookup(c.target).Peers) != 1 {
					t.Errorf("record gone after refresh %d", i)
				}
			}
			if st := w.store.Stats(); st.UnknownRefresh != 4 || st.Refreshes != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestRequestsThatLackSomethingAreDroppedAndCounted(t *testing.T) {
	w := newWorld(t, records.Config{})
	kp := keys(1)
	target := kp.Public.Target()
	good := w.announceValue(topic, kp, wire.Announce{})
	unsigned := wire.Announce{Peer: &wire.Peer{PublicKey: kp.Public}}.Append(nil)
	for _, c := range []struct {
		name    string
		request records.Request
		count   func(records.Stats) uint64
	}{
		{"find peer without target", records.Request{Command: wire.CmdFindPeer}, func(s records.Stats) uint64 { return s.NoTarget }},
		{"lookup without target", records.Request{Command: wire.CmdLookup}, func(s records.Stats) uint64 { return s.NoTarget }},
		{"announce without target", records.Request{Command: wire.CmdAnnounce, Token: &token, Value: good}, func(s records.Stats) uint64 { return s.NoTarget }},
		{"immutable get without target", records.Request{Command: wire.CmdImmutableGet}, func(s records.Stats) uint64 { return s.NoTarget }},
		{"announce without token", records.Request{Command: wire.CmdAnnounce, Target: &topic, Value: good}, func(s records.Stats) uint64 { return s.NoToken }},
		{"announce without value", records.Request{Command: wire.CmdAnnounce, Target: &topic, Token: &token}, func(s records.Stats) uint64 { return s.NoValue }},
		{"announce with another node's token", records.Request{Command: wire.CmdAnnounce, Target: &topic, Token: &id.Token{}, Value: good}, func(s records.Stats) uint64 { return s.BadSignature }},
		{"announce unsigned", records.Request{Command: wire.CmdAnnounce, Target: &topic, Token: &token, Value: unsigned}, func(s records.Stats) uint64 { return s.BadSignature }},
		{"announce of nothing", records.Request{Command: wire.CmdAnnounce, Target: &topic, Token: &token, Value: []byte{0}}, func(s records.Stats) uint64 { return s.Malformed }},
		{"unannounce unsigned", records.Request{Command: wire.CmdUnannounce, Target: &topic, Token: &token, Value: unsigned}, func(s records.Stats) uint64 { return s.Malformed }},
		{"unannounce with an announce signature", records.Request{Command: wire.CmdUnannounce, Target: &topic, Token: &token, Value: good}, func(s records.Stats) uint64 { return s.BadSignature }},
		{"mutable put of nonsense", records.Request{Command: wire.CmdMutablePut, Target: &target, Token: &token, Value: []byte{1}}, func(s records.Stats) uint64 { return s.Malformed }},
		{"mutable put elsewhere", records.Request{Command: wire.CmdMutablePut, Target: &topic, Token: &token, Value: put(kp, 1, "x")}, func(s records.Stats) uint64 { return s.WrongTarget }},
		{"mutable get of nonsense", records.Request{Command: wire.CmdMutableGet, Target: &target, Value: []byte{0xfd}}, func(s records.Stats) uint64 { return s.Malformed }},
		{"immutable put elsewhere", records.Request{Command: wire.CmdImmutablePut, Target: &topic, Token: &token, Value: []byte{}}, func(s records.Stats) uint64 { return s.WrongTarget }},
		{"plugin", records.Request{Command: wire.CmdPlugin, Value: []byte{0}}, func(s records.Stats) uint64 { return s.NoPlugin }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.count(w.store.Stats())
			if a := w.store.Handle(w.turn, c.request); !a.Drop {
				t.Errorf("answered %+v", a)
			}
			if got := c.count(w.store.Stats()); got != before+1 {
				t.Errorf("counted %d times", got-before)
			}
		})
	}
	if st := w.store.Stats(); st.Entries+st.Topics+st.Mutables+st.Immutables > 0 {
		t.Errorf("something was stored: %+v", st)
	}
}

func TestUnknownCommandsAreAnsweredAsSuch(t *testing.T) {
	w := newWorld(t, records.Config{})
	got := w.handle(99, topic, nil)
	if got.Drop || got.Error != wire.CodeUnknownCommand || !got.NoToken || got.NoCloser || got.Value != nil {
		t.Errorf("answered %+v", got)
	}
}

func TestEmptyImmutableValueIsPresent(t *testing.T) {
	w := newWorld(t, records.Config{})
	target := w.putImmutable([]byte{})
	if a := w.handle(wire.CmdImmutableGet, target, nil); a.Value == nil || len(a.Value) != 0 {
		t.Errorf("answered %+v", a)
	}
}

func TestStoredValuesDoNotBorrowTheRequest(t *testing.T) {
	w := newWorld(t, records.Config{})
	kp := keys(1)
	blob, mutable := []byte("blob"), put(kp, 1, "value")
	announce := w.announceValue(topic, kp, wire.Announce{Peer: &wire.Peer{RelayAddrs: []netip.AddrPort{far}}})
	blobTarget := w.putImmutable(blob)
	w.must(w.handle(wire.CmdMutablePut, kp.Public.Target(), mutable))
	w.must(w.handle(wire.CmdAnnounce, topic, announce))
	for _, b := range [][]byte{blob, mutable, announce} {
		clear(b)
	}
	if a := w.handle(wire.CmdImmutableGet, blobTarget, nil); string(a.Value) != "blob" {
		t.Errorf("immutable value is %q", a.Value)
	}
	if a := w.handle(wire.CmdMutableGet, kp.Public.Target(), []byte{0}); !bytes.Contains(a.Value, []byte("value")) {
		t.Errorf("mutable value is %x", a.Value)
	}
	if got := w.lookup(topic).Peers; len(got) != 1 || got[0].PublicKey != kp.Public || got[0].RelayAddrs[0] != far {
		t.Errorf("topic record is %v", got)
	}
}
