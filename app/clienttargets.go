package app

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// ClientTarget is one of several targets of a client.
type ClientTarget struct {
	domain.Target
	Source ports.MetricsSource // where its metrics come from
	// Keys are the identity of the alias where it is registered by itself: with scrapers that do not know sets, as in earlier versions of
	// this program (AliasKeys). If zero, a pair is drawn where one is needed.
	Keys domain.KeyPair
}

// targetQueues are the requests of one scraper for one target.
type targetQueues struct {
	scrapes queue // without parameters
	probes  queue // and with them

	requests uint64
	failed   uint64
	bytes    uint64
}

// queues returns the queues of a target.
func (s *clientScraper) queues(a domain.Alias, scrapers int) *targetQueues {
	q := s.targets[a]
	if q == nil {
		q = &targetQueues{
			scrapes: queue{limit: maxScrapes, most: maxWaitingCollections},
			probes:  queue{limit: max(2, maxProbes/max(1, scrapers)), most: maxWaitingCollections},
		}
		s.targets[a] = q
	}
	return q
}

// setOf checks targets, and returns their set.
func setOf(targets []ClientTarget) (domain.TargetSet, error) {
	all := make([]domain.Target, len(targets))
	for i, t := range targets {
		if t.Source == nil {
			return domain.TargetSet{}, fmt.Errorf("target %q: want a source of metrics", clip(string(t.Alias)))
		}
		all[i] = t.Target
	}
	return domain.NewTargetSet(all)
}

// SetTargets replaces the targets of a client that was configured with Targets, and registers what has changed. Scrapes under way go on.
// On an error nothing changes.
func (c *Client) SetTargets(targets []ClientTarget) error {
	switch {
	case c.closed:
		return domain.ErrClosed
	case c.cfg.Targets == nil:
		return errors.New("the client has a single target")
	}
	before := c.set.Revision()
	if err := c.take(targets); err != nil {
		return err
	}
	c.singles.sync()
	if c.set.Revision() == before {
		return nil
	}
	for _, k := range c.scrapers {
		for a := range k.targets {
			if _, stays := c.targets[a]; !stays {
				delete(k.targets, a)
			}
		}
		k.registrar.setTargets(c.set)
	}
	return nil
}

// take replaces the targets.
func (c *Client) take(targets []ClientTarget) error {
	set, err := setOf(targets)
	if err != nil {
		return err
	}
	c.set = set
	clear(c.targets)
	for _, t := range targets {
		c.targets[t.Alias] = t
	}
	return nil
}

// former returns the identity of an alias where it is registered by itself.
func (c *Client) former(a domain.Alias) domain.KeyPair { return c.targets[a].Keys }

// errNoTarget is the failure of a request for a target that the client does not have.
var errNoTarget = &domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the client has no such target (any more)"}

// target returns the target of a request. A client with one serves it under any key, as versions without sets ask for none.
func (c *Client) target(name string) (t ClientTarget, ok bool) {
	if name == "" && len(c.targets) == 1 {
		for _, t = range c.targets {
			return t, true
		}
	}
	t, ok = c.targets[domain.Alias(name)]
	return t, ok
}

// Set returns the targets of a client that was configured with Targets.
func (c *Client) Set() domain.TargetSet { return c.set }

// RejectedError is the reason for which a scraper does not have a target of a set that it has registered.
type RejectedError struct{ Reason string }

func (e *RejectedError) Error() string { return "the scraper rejected the alias: " + e.Reason }

// TargetStatus is Status for one target: its own requests, and the scrapers that have its alias.
func (c *Client) TargetStatus(a domain.Alias) ClientStatus {
	s := ClientStatus{Listening: c.listening, Blocked: c.blocked}
	for _, k := range c.scrapers {
		one := k.status()
		if single := c.singles.status(a, k.key); single != nil {
			one = *single
		} else if reason, rejected := k.registrar.set.rejected[a]; rejected {
			one.Registered, one.LastError = false, &RejectedError{reason}
		}
		if q := k.targets[a]; q != nil {
			one.Requests, one.RequestsFailed, one.Bytes = one.Requests+q.requests, one.RequestsFailed+q.failed, one.Bytes+q.bytes
		}
		s.add(one)
	}
	return s
}

// SetSecrets replaces the secrets of scrapers, matched by key, and registers again where one changed. It returns how many
// changed. Unknown scrapers are ignored.
func (c *Client) SetSecrets(scrapers []ClientScraper) (changed int) {
	for _, s := range scrapers {
		if k := c.scraper(s.Key); k != nil && !s.Secret.IsZero() && k.registrar.setSecret(s.Secret) {
			changed++
			c.singles.setSecret(s)
		}
	}
	return changed
}

// clipped returns the first aliases of a set, as many as can be registered each by itself.
func clipped(set domain.TargetSet) []domain.Alias {
	var first []domain.Alias
	for t := range set.All() {
		if len(first) == maxSingles {
			break
		}
		first = append(first, t.Alias)
	}
	return slices.Clip(first)
}
