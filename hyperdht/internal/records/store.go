package records

import (
	"io"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Store is the storage of one node for others. Its methods panic on no input.
type Store struct {
	router     router
	topics     topics
	bumps      cache[id.Target, uint64]
	refreshes  cache[[32]byte, refresh]
	mutables   cache[id.Target, []byte]
	immutables cache[id.Target, []byte]
	stats      Stats
}

// refresh is a record that any sender with the preimage of a hash may keep alive.
type refresh struct {
	target id.Target
	record []byte
	self   bool // a router entry, not a topic record
}

// NewStore returns an empty store.
func NewStore(now host.Instant, cfg Config) *Store {
	entries, values := cfg.limits()
	size := func(b []byte) int { return len(b) }
	return &Store{
		router:     newRouter(now, entries),
		topics:     newTopics(now, entries),
		bumps:      newCache[id.Target, uint64](now, entries, nil),
		refreshes:  newCache[[32]byte, refresh](now, entries, nil),
		mutables:   newCache[id.Target, []byte](now, values, size),
		immutables: newCache[id.Target, []byte](now, values, size),
	}
}

// Request is a request to a storing node, as it came in.
type Request struct {
	// Command is one of the application's commands.
	Command uint64
	From    netip.AddrPort
	Target  *id.Target
	// Token is the round trip token, nil if there was none. It has been checked: requests with a wrong
	// one do not get here. Announcements sign it.
	Token *id.Token
	// Value is nil if absent. It is borrowed for the call.
	Value []byte
}

// Turn is the world at the time of a request.
type Turn struct {
	// Self is the id of the storing node, which announcements sign.
	Self id.NodeID
	Now  host.Instant
	// WallMillis is the wall time in milliseconds since 1970, against which bumps are held.
	WallMillis int64
	// Rand selects the records of a lookup.
	Rand io.Reader
}

// Answer describes the answer to a request. Unless dropped, the answer is an error if Error is not wire.CodeNone,
// else a reply.
type Answer struct {
	// Drop means no answer at all.
	Drop bool
	// Error is an error code.
	Error uint64
	// Value is nil for none. It belongs to the store and must not be changed.
	Value []byte
	// NoToken and NoCloser keep the round trip token and the closer nodes out of the answer.
	NoToken, NoCloser bool
}

// done is the answer to announcements: the sender asks for nothing more.
var done = Answer{NoToken: true, NoCloser: true}

func refuse(code uint64) Answer { return Answer{Error: code, NoToken: true} }

// Stats counts what is stored and what was dropped, by reason.
type Stats struct {
	// Entries, Topics, Bumps, Refreshes, Mutables and Immutables are the numbers stored now. Topics
	// counts records, Entries leaves local servers out.
	Entries, Topics, Bumps, Refreshes, Mutables, Immutables int
	// ValueBytes is the size of all mutable and immutable values.
	ValueBytes int

	// NoTarget, NoToken and NoValue count requests that lack what their command needs.
	NoTarget, NoToken, NoValue uint64
	// Malformed counts values that do not decode, or decode to something incomplete.
	Malformed uint64
	// WrongTarget counts values stored under a target that is not their hash.
	WrongTarget uint64
	// BadSignature counts signatures that do not verify.
	BadSignature uint64
	// UnknownRefresh counts refreshes of nothing we remember.
	UnknownRefresh uint64
	// NoPlugin counts requests to plugins, of which there are none.
	NoPlugin uint64
}

// Stats is a copy of the counters.
func (s *Store) Stats() Stats {
	st := s.stats
	st.Entries, st.Topics = s.router.announced.len(), s.topics.len()
	st.Bumps, st.Refreshes = s.bumps.len(), s.refreshes.len()
	st.Mutables, st.Immutables = s.mutables.len(), s.immutables.len()
	st.ValueBytes = s.mutables.bytes() + s.immutables.bytes()
	return st
}

// Advance forgets what is too old. Handle does it too; calling it in between only frees memory
// earlier.
func (s *Store) Advance(now host.Instant) {
	s.router.announced.advance(now, s.router.announced.rotate)
	s.topics.advance(now, s.topics.rotate)
	s.bumps.advance(now, s.bumps.rotate)
	s.refreshes.advance(now, s.refreshes.rotate)
	s.mutables.advance(now, s.mutables.rotate)
	s.immutables.advance(now, s.immutables.rotate)
}

// NextDeadline returns the time at which Advance must run next.
func (s *Store) NextDeadline() host.Instant {
	return min(s.router.announced.next, s.topics.next, s.bumps.next, s.refreshes.next, s.mutables.next, s.immutables.next)
}

// Get is the entry of a server that can be reached through this node. It is as old as the last
// Advance or Handle made it; reading keeps it alive.
func (s *Store) Get(target id.Target) (Entry, bool) { return s.router.get(target) }

// SetLocal pins the entry of a server that runs on this node. The record is kept and must not be
// changed.
func (s *Store) SetLocal(target id.Target, record []byte) { s.router.setLocal(target, record) }

// DeleteLocal removes a pinned entry.
func (s *Store) DeleteLocal(target id.Target) { delete(s.router.local, target) }

// Unannounce removes the record of a key on a target. A server of that key on this node stays, where
// the reference implementation would make it unreachable.
func (s *Store) Unannounce(target id.Target, key id.PublicKey) {
	if key.Target() == target {
		s.router.announced.delete(target)
	} else {
		s.topics.remove(target, key)
	}
}

// Handle carries out one request and says what to answer. Commands that it does not know are answered
// as such; PEER_HANDSHAKE and PEER_HOLEPUNCH are not for it.
func (s *Store) Handle(t Turn, r Request) Answer {
	s.Advance(t.Now)
	switch r.Command {
	case wire.CmdFindPeer:
		return s.findPeer(r)
	case wire.CmdLookup:
		return s.lookup(t, r)
	case wire.CmdAnnounce:
		return s.announce(t, r)
	case wire.CmdUnannounce:
		return s.unannounce(t, r)
	case wire.CmdMutablePut:
		return s.mutablePut(r)
	case wire.CmdMutableGet:
		return s.mutableGet(r)
	case wire.CmdImmutablePut:
		return s.immutablePut(r)
	case wire.CmdImmutableGet:
		return s.immutableGet(r)
	case wire.CmdPlugin:
		return drop(&s.stats.NoPlugin)
	}
	return refuse(wire.CodeUnknownCommand)
}

// drop counts a reason and answers nothing, which to the sender looks like packet loss.
func drop(reason *uint64) Answer {
	*reason++
	return Answer{Drop: true}
}
