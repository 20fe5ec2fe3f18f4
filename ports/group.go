package ports

import "github.com/dhtprom/dhtprom/domain"

// Group is a group of scrapers that share a key, secrets and the alias table. One of its members leads: it is announced under the key,
// takes registrations, and writes the table. Each holds connections to a share of the clients.
type Group interface {
	// Join makes this scraper a member, which stands for election. done is called when the other members can see it, or with an error that
	// wraps domain.ErrGroup if the scraper does not belong to the group, or another one if the store refuses access; while the store cannot
	// be reached, Join waits.
	Join(j GroupJoin, h GroupHandlers, done func(error))
	// Update replaces what this member reports of itself. One that is leaving does not stand for election, and stops leading: OnFollow is
	// called in this turn.
	Update(m domain.Member)
	// Leave removes this member, after what Update does for one that is leaving. done is called when the others can see it, or after some
	// seconds.
	Leave(done func())
}

// GroupJoin has the arguments of Join.
type GroupJoin struct {
	Member domain.Member // ID and Started are set by the group
	// Identity identifies the configuration that all members must have, the public key: that of the first member is the group's.
	Identity domain.PublicKey
}

// GroupHandlers receive the events of a group.
type GroupHandlers struct {
	// OnView is called with each change of the group that this member sees, first when it has joined.
	OnView func(domain.Group)
	// OnLead is called when this member leads: no earlier leader's write takes effect any more, and the store takes this member's. It
	// leads until OnFollow.
	OnLead func(term int64)
	// OnFollow is called when this member leads no more, a margin before another one can by its own steady time.
	OnFollow func()
}

// Members reaches the HTTP servers of the other members of a group.
type Members interface {
	// Source passes scrapes of an alias on to a member, which answers them itself. They end with an error that wraps
	// domain.ErrNoAnswer, before their head, if the member cannot be reached or has no way to the client now.
	Source(m domain.Member, a domain.Alias) MetricsSource
}

// SharedStore is an AliasStore that the members of a group share. Changes by a member that does not lead fail with domain.ErrNotLeader;
// those by a leader that loses its leadership meanwhile fail, too, and may have taken effect. After OnLead, Load returns all changes that
// any leader has made.
type SharedStore interface {
	AliasStore
	PinStore
	// Follow reports the changes of the table, those by this member included, in order: the whole of it first, and again where changes
	// were missed.
	Follow(f func(domain.TableChange))
}
