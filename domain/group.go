package domain

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"time"
)

var (
	// ErrNotLeader rejects changes at a member of a group that does not lead it.
	ErrNotLeader = errors.New("this scraper does not lead its group")
	// ErrGroup rejects a scraper that does not belong to a group.
	ErrGroup = errors.New("the group has another configuration")
)

// ErrNoAnswer means that a member of a group does not answer, or has no table yet.
var ErrNoAnswer = errors.New("the member of the group does not answer")

// ErrStoreUnreachable means that the store that a group shares cannot be reached now.
var ErrStoreUnreachable = errors.New("the group's store cannot be reached")

// MemberID identifies a member of a group. Each start of a program has its own.
type MemberID string

// Member is one of the scrapers of a group, as it describes itself.
type Member struct {
	ID      MemberID
	Name    string    // for people: a host name
	URL     string    // of its HTTP server, with the prefix of its paths, for the other members
	Version string    // of the program
	Started time.Time // wall time
	// Leaving means that it is being stopped: it does not stand for election, and keeps its connections until another member has them.
	Leaving bool
	// Settled is the Group.Holders of the last time at which it had dialled all clients that it holds, and each dial had ended.
	Settled uint64
	Clients int // connections that it had then
	// Missed are clients that it is to hold, and cannot reach: another member that can takes them.
	Missed KeyList
	// Pinned are clients that it holds whatever their keys say, because their holders missed them, and it has their connections.
	Pinned KeyList
}

// Group is a member's view of its group.
type Group struct {
	Self    MemberID
	Members []Member // by ID
	Leader  MemberID // empty for none
	Term    int64    // of the leader; it increases with each
	// Since is the wall time at which this member saw the leader lead first; zero without one. Scraper.Group sets it.
	Since time.Time
	// Connected means that the view is that of the store, but for delays. Otherwise the store cannot be reached.
	Connected bool
}

// Member returns a member.
func (g Group) Member(id MemberID) (Member, bool) {
	for _, m := range g.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// Holder returns the member that holds the connection to a client: of those that are not leaving, the one that has pinned it, or else the one
// with the highest score for the client's key (rendezvous hashing). So a member that comes or goes changes the holder of its own clients
// only, and one that is restarted gets the same ones. Of several that have pinned it, the highest score decides, too.
func (g Group) Holder(key PublicKey) (m Member, ok bool) {
	var best uint64
	pinned := false
	for _, one := range g.Members {
		if one.Leaving {
			continue
		}
		score, pins := one.score(key), one.Pinned.Has(key)
		if !ok || pins && !pinned || pins == pinned && score > best {
			m, best, pinned, ok = one, score, pins, true
		}
	}
	return m, ok
}

// Missed reports whether the member that is to hold a client cannot reach it.
func (g Group) Missed(key PublicKey) bool {
	m, ok := g.Holder(key)
	return ok && m.Missed.Has(key)
}

// Holders identifies the members that hold clients: it is another number after each change of them.
func (g Group) Holders() (sum uint64) {
	for _, m := range g.Members {
		if !m.Leaving {
			sum += mix(hash(m.Name) ^ mix(hash(string(m.ID))))
		}
	}
	return sum
}

// score is the member's for a key.
func (m Member) score(key PublicKey) uint64 {
	return mix(binary.LittleEndian.Uint64(key[:8]) ^ hash(m.Name))
}

// hash is FNV-1a.
func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it does not fail
	return mix(h.Sum64())
}

// mix is the last step of SplitMix64, which makes each bit depend on all others.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// TableChange is a change of an alias table that other processes write.
type TableChange struct {
	// Whole means that it is the whole table: what it does not have is gone.
	Whole    bool
	Put      []Entry
	Delete   []Alias
	Pins     []Pin
	Unpinned []Alias
	Bad      []error // unreadable records
}
