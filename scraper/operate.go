package scraper

import (
	"context"

	"github.com/dhtprom/dhtprom/domain"
)

// This file has the changes and inspections of a running scraper, for services that decide by themselves which aliases there are.

// PutAlias registers an alias without a registration by its client: the scraper dials the key and scrapes it. The alias expires like any
// other unless it is put again, or its client registers it. updated reports whether it is new or had another key. It returns when the
// alias is durable. The error is one that a registration would be answered with, domain.ErrNotLoaded before Loaded, or that of the store.
func (s *Scraper) PutAlias(ctx context.Context, r domain.Register) (updated bool, err error) {
	return change(ctx, s, func(done func(bool, error)) { s.scraper.PutAlias(r, done) })
}

// Forget removes an alias as if it had expired, and reports whether there was one. A running client restores it with its next
// registration; Pin prevents that. It returns when the removal is durable.
func (s *Scraper) Forget(ctx context.Context, alias string) (found bool, err error) {
	return change(ctx, s, func(done func(bool, error)) { s.scraper.Forget(domain.Alias(alias), done) })
}

// Pin reserves an alias for a key, its current one if key is zero: registrations with other keys are rejected. An alias that has another
// key is removed. It returns when the pin is durable. The error wraps domain.ErrUnknownAlias if there is neither a key nor an alias.
func (s *Scraper) Pin(ctx context.Context, alias string, key domain.PublicKey) (domain.Pin, error) {
	return change(ctx, s, func(done func(domain.Pin, error)) { s.scraper.Pin(domain.Alias(alias), key, done) })
}

// Unpin removes a pin, and reports whether there was one. It returns when that is durable.
func (s *Scraper) Unpin(ctx context.Context, alias string) (found bool, err error) {
	return change(ctx, s, func(done func(bool, error)) { s.scraper.Unpin(domain.Alias(alias), done) })
}

// Pins lists the pins, in the order of aliases.
func (s *Scraper) Pins(ctx context.Context) ([]domain.Pin, error) {
	return read(ctx, s, s.scraper.Pins)
}

// Alias returns the details of an alias; the error wraps domain.ErrUnknownAlias if there is none.
func (s *Scraper) Alias(ctx context.Context, alias string) (d domain.AliasDetail, err error) {
	err = s.node.Do(ctx, func() error {
		var found bool
		if d, found = s.scraper.Alias(domain.Alias(alias)); !found {
			return domain.ErrUnknownAlias
		}
		return nil
	})
	return d, err
}

// Stats is a snapshot of the counters.
func (s *Scraper) Stats(ctx context.Context) (domain.ScraperStats, error) {
	return read(ctx, s, s.scraper.Stats)
}

// Refusals lists the last rejected registrations, oldest first.
func (s *Scraper) Refusals(ctx context.Context) ([]domain.Refusal, error) {
	return read(ctx, s, s.scraper.Refusals)
}

// read returns what f returns on the loop.
func read[T any](ctx context.Context, s *Scraper, f func() T) (all T, err error) {
	err = s.node.Do(ctx, func() error {
		all = f()
		return nil
	})
	return all, err
}

// change calls f on the loop and waits for its done: what was begun goes on where ctx ends first.
func change[T any](ctx context.Context, s *Scraper, f func(done func(T, error))) (T, error) {
	return call(ctx, s.node, func(done func(T, error)) func() {
		f(done)
		return nil
	})
}
