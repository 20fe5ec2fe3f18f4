package sim

import (
	"errors"
	"slices"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// taker is a client that takes an alias from the site. It says no goodbye if it crashed with its alias, and is closed before its next process
// has sent a registration: that process does not know of the former one's alias.
type taker struct {
	*client
	asked   bool // the running process has sent a registration that was not rejected
	crashed bool // such a process crashed, and none of those after it is one
}

// addTaker adds a client that takes an alias, without booting it.
func (s *site) addTaker(with *scraper, a domain.Alias) {
	t := &taker{}
	t.client = s.w.addClient(with, clientSetup{at: home, late: true, alias: a, change: func(c *app.ClientConfig) {
		c.RegisterInterval = siteInterval
		c.Transport = takerTransport{c.Transport, t}
	}})
	t.retired = true // from the stories of others
	s.takers = append(s.takers, t)
}

// takerTransport is the transport of a taker. It records whether registrations are sent and rejected, which no event reports.
type takerTransport struct {
	ports.ClientTransport
	taker *taker
}

// RegisterAlias implements ports.ClientTransport.
func (t takerTransport) RegisterAlias(r ports.Registration, done func(updated bool, err error)) (cancel func()) {
	k, onSent := t.taker, r.OnSent
	asked, crashed := k.asked, k.crashed
	r.OnSent = func() {
		k.asked, k.crashed = true, false
		onSent()
	}
	return t.ClientTransport.RegisterAlias(r, func(updated bool, err error) {
		if _, rejected := errors.AsType[*domain.RemoteError](err); rejected {
			k.asked, k.crashed = asked, crashed
		}
		done(updated, err)
	})
}

// toggle starts a client that takes an alias, or stops it so that it gives the alias back.
func (s *site) toggle(t *taker) {
	switch {
	case t.boots == 0:
		t.boot()
	case t.node == nil:
		t.restart() // its former process has ended, even if not all connections had by the end of Close
	case s.luck.IntN(4) == 0:
		t.asked, t.crashed = false, t.crashed || t.asked
		t.restart()
	default:
		t.end()
	}
}

// end closes the client.
func (t *taker) end() {
	t.close()
	t.asked = false
}

// holders returns the keys of the clients that may have an alias of the site now.
func (s *site) holders(a domain.Alias) (keys []domain.PublicKey) {
	for _, c := range s.takers {
		if c.alias == a && c.node != nil {
			keys = append(keys, c.keys.Public)
		}
	}
	return keys
}

// abandoned reports whether an entry is that of a client that crashed with it and was closed without a goodbye.
func (s *site) abandoned(e domain.Entry) bool {
	return slices.ContainsFunc(s.takers, func(t *taker) bool { return t.crashed && t.node == nil && t.alias == e.Alias && t.keys.Public == e.Key })
}

// abandoned returns the number of entries, each with a key of its own, of clients that were closed without a goodbye.
func (v *view) abandoned() (n int) {
	for _, e := range v.entries() {
		if v.site.abandoned(e) {
			n++
		}
	}
	return n
}
