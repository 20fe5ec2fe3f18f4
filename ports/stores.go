package ports

import (
	"github.com/dhtprom/dhtprom/domain"
)

// AliasStore keeps the alias table across restarts. Changes take effect in the order of the calls, and done callbacks come in
// that order.
type AliasStore interface {
	// Load reads all entries, by alias. Unreadable records are reported in bad, and kept: loading, and later changes to other
	// aliases, must not lose them. err means that nothing could be read.
	Load(done func(entries []domain.Entry, bad []error, err error))
	// OnDamage sets the handler of damage that the store has repaired, when it was opened or later. It is called on the loop,
	// once for each.
	OnDamage(f func(domain.StoreDamage))
	// Put sets an entry. When done reports no error the entry survives a crash of the program and the machine.
	Put(e domain.Entry, done func(error))
	// PutSet changes the entries of a client's set, and the pins that move with them, all at once. Pins are for a store that is a
	// PinStore, too; others have none.
	PutSet(c domain.SetChange, done func(error))
	// Delete removes aliases; absent ones are not an error.
	Delete(aliases []domain.Alias, done func(error))
	// Close finishes the changes in progress and closes the store. Later calls fail.
	Close(done func(error))
}

// PinStore keeps the operator's pins across restarts. The rules of AliasStore hold; a store that is both closes as
// one.
type PinStore interface {
	// LoadPins reads all pins, by alias. Unreadable records are reported in bad, and kept.
	LoadPins(done func(pins []domain.Pin, bad []error, err error))
	// PutPin sets the pin of an alias.
	PutPin(p domain.Pin, done func(error))
	// DeletePin removes a pin; an absent one is not an error.
	DeletePin(a domain.Alias, done func(error))
}

// AliasImport reads the aliases of another program.
type AliasImport interface {
	// Read lists them. Unreadable records are reported in bad; err means that nothing could be read. An absent file is not an
	// error.
	Read(done func(aliases []domain.Register, bad []error, err error))
}

// TargetsFile publishes the alias table to Prometheus's file service discovery.
type TargetsFile interface {
	// Write replaces the file atomically: readers see the old content or the new one.
	Write(entries []domain.Entry, done func(error))
}
