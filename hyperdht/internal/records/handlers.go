package records

import (
	"bytes"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// findPeer answers with the record of a server, wherever it runs. Topic records do not count.
func (s *Store) findPeer(r Request) Answer {
	if r.Target == nil {
		return drop(&s.stats.NoTarget)
	}
	e, _ := s.router.get(*r.Target)
	return Answer{Value: e.Record}
}

// lookup answers with some of the records of a topic, the server whose target it is, and the bump.
func (s *Store) lookup(t Turn, r Request) Answer {
	if r.Target == nil {
		return drop(&s.stats.NoTarget)
	}
	found := s.topics.sample(*r.Target, maxLookupRecords, t.Rand)
	bump, _ := s.bumps.get(*r.Target)
	if e, ok := s.router.get(*r.Target); ok && len(found) < maxLookupRecords {
		found = append(found, e.Record)
	}
	if len(found) == 0 {
		return Answer{}
	}
	return Answer{Value: wire.AppendLookupReply(nil, found, bump)}
}

// announce stores a signed record: as a router entry under the key's own target, else in the topic.
func (s *Store) announce(t Turn, r Request) Answer {
	if a, ok := s.storable(r); !ok {
		return a
	}
	m, err := wire.ParseAnnounce(r.Value)
	if err != nil || (m.Peer == nil && m.Refresh == nil) {
		return drop(&s.stats.Malformed)
	}
	if m.Peer == nil {
		return s.refresh(r, *m.Refresh)
	}
	if !m.VerifyAnnounce(wire.Grant{Target: *r.Target, Node: t.Self, Token: *r.Token}) {
		return drop(&s.stats.BadSignature)
	}
	peer := *m.Peer
	peer.RelayAddrs = peer.RelayAddrs[:min(len(peer.RelayAddrs), maxRelayAddrs)]
	kept := refresh{
		target: *r.Target,
		record: peer.Append(make([]byte, 0, peer.Size())),
		self:   peer.PublicKey.Target() == *r.Target,
	}
	s.keep(kept, r)
	if !kept.self {
		s.bump(kept.target, m.Bump, t.WallMillis)
	}
	if m.Refresh != nil {
		s.refreshes.set(*m.Refresh, kept)
	}
	return done
}

// keep stores a record that its key wants stored. A key never has both kinds of record on one target.
func (s *Store) keep(k refresh, r Request) {
	if k.self {
		s.router.announce(k.target, r.From, k.record)
	} else {
		s.topics.add(k.target, k.record)
	}
}

// bump remembers the latest bump of a topic, unless it is from the future.
func (s *Store) bump(target id.Target, bump uint64, wallMillis int64) {
	if latest, _ := s.bumps.get(target); bump > latest && int64(bump) <= wallMillis+maxBumpDrift {
		s.bumps.set(target, bump)
	}
}

// refresh stores a record again for a sender that shows the preimage of the hash stored with it.
// The preimage takes the hash's place: it is the hash of the next preimage.
func (s *Store) refresh(r Request, preimage [32]byte) Answer {
	hash := id.Hash(preimage[:])
	kept, ok := s.refreshes.get(hash)
	if !ok {
		return drop(&s.stats.UnknownRefresh)
	}
	s.keep(kept, r)
	s.refreshes.delete(hash)
	s.refreshes.set(preimage, kept)
	return done
}

// unannounce forgets a record for its key.
func (s *Store) unannounce(t Turn, r Request) Answer {
	if a, ok := s.storable(r); !ok {
		return a
	}
	m, err := wire.ParseAnnounce(r.Value)
	if err != nil || m.Peer == nil || m.Signature == nil {
		return drop(&s.stats.Malformed)
	}
	if !m.VerifyUnannounce(wire.Grant{Target: *r.Target, Node: t.Self, Token: *r.Token}) {
		return drop(&s.stats.BadSignature)
	}
	s.Unannounce(*r.Target, m.Peer.PublicKey)
	return done
}

// mutablePut stores a signed value, if it is newer than the one we have.
func (s *Store) mutablePut(r Request) Answer {
	if a, ok := s.storable(r); !ok {
		return a
	}
	m, err := wire.ParseMutablePut(r.Value)
	if err != nil {
		return drop(&s.stats.Malformed)
	}
	if m.PublicKey.Target() != *r.Target {
		return drop(&s.stats.WrongTarget)
	}
	if !m.Verify() {
		return drop(&s.stats.BadSignature)
	}
	if old, ok := s.mutable(*r.Target); ok {
		if m.Seq == old.Seq && !bytes.Equal(m.Value, old.Value) {
			return refuse(wire.CodeSeqReused)
		}
		if m.Seq < old.Seq {
			return refuse(wire.CodeSeqTooLow)
		}
	}
	s.mutables.set(*r.Target, m.MutableValue.Append(make([]byte, 0, m.MutableValue.Size())))
	return Answer{}
}

// mutable is the stored value of a target.
func (s *Store) mutable(target id.Target) (wire.MutableValue, bool) {
	b, ok := s.mutables.get(target)
	if !ok {
		return wire.MutableValue{}, false
	}
	m, err := wire.ParseMutableValue(b)
	return m, err == nil
}

// mutableGet answers with a value that is at least as new as asked for.
func (s *Store) mutableGet(r Request) Answer {
	switch {
	case r.Target == nil:
		return drop(&s.stats.NoTarget)
	case r.Value == nil:
		return drop(&s.stats.NoValue)
	}
	want, err := wire.ParseMutableGet(r.Value)
	if err != nil {
		return drop(&s.stats.Malformed)
	}
	if have, ok := s.mutable(*r.Target); !ok || have.Seq < want.Seq {
		return Answer{}
	}
	b, _ := s.mutables.get(*r.Target)
	return Answer{Value: b}
}

// immutablePut stores a value under its hash.
func (s *Store) immutablePut(r Request) Answer {
	if a, ok := s.storable(r); !ok {
		return a
	}
	if id.Target(id.Hash(r.Value)) != *r.Target {
		return drop(&s.stats.WrongTarget)
	}
	s.immutables.set(*r.Target, append([]byte{}, r.Value...)) // not nil, though it may be empty
	return Answer{}
}

// immutableGet answers with the value of a hash.
func (s *Store) immutableGet(r Request) Answer {
	if r.Target == nil {
		return drop(&s.stats.NoTarget)
	}
	b, _ := s.immutables.get(*r.Target)
	return Answer{Value: b}
}

// storable reports whether a request has what every request needs that changes the store. If not, it
// returns the answer.
func (s *Store) storable(r Request) (Answer, bool) {
	switch {
	case r.Target == nil:
		return drop(&s.stats.NoTarget), false
	case r.Token == nil:
		return drop(&s.stats.NoToken), false
	case r.Value == nil:
		return drop(&s.stats.NoValue), false
	}
	return Answer{}, true
}
