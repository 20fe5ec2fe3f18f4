package app

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ScraperConfig configures a Scraper.
type ScraperConfig struct {
	Host      host.Host
	Transport ports.ScraperTransport
	// KeepTransport makes Close leave the transport open for others. By default the scraper owns it.
	KeepTransport bool

	Clock   ports.Clock
	Store   ports.AliasStore  // closed by Close. Pins need a ports.PinStore, and a group a ports.SharedStore.
	Targets ports.TargetsFile // may be nil
	Import  ports.AliasImport // read when Store is empty; may be nil
	Group   *GroupConfig      // the group that this scraper belongs to; nil for none

	Keys    domain.KeyPair  // the identity that clients know
	Secrets []domain.Secret // each of them authorizes registrations
	// Identities have secrets of their own. Where there are some, Secrets may be empty. Start fails if it is nil and Store has aliases of
	// identities, which would be removed: an empty list, or one without their identity, means that they are revoked.
	Identities []domain.Identity

	Expiry         time.Duration // of an alias that is not renewed; 3 h by default
	CheckInterval  time.Duration // between removals of expired aliases; 1 h by default
	RequestTimeout time.Duration // bounds a scrape whose caller set no bound; 5 s by default
	MaxAliases     int           // 50,000 by default
	// RequireProof rejects registrations of keys that the client has not proven to hold, and so those of the JavaScript clients,
	// which send no proof.
	RequireProof bool
	// PinAliases rejects registrations of a live alias from any key other than its current one. By default the last registration
	// wins.
	PinAliases bool
	Retry      Retry // after a connection was lost

	OnEvent  func(domain.Event) // called on the loop for every event; may be nil
	OnLoaded func()             // called on the loop when the alias table is complete; may be nil
}

func (c *ScraperConfig) check() error {
	var p problems
	p.must(c.Host != nil, "Host", "is required")
	p.must(c.Transport != nil, "Transport", "is required")
	p.must(c.Clock != nil, "Clock", "is required")
	p.must(c.Store != nil, "Store", "is required")
	p.must(!c.Keys.IsZero(), "Keys", "want the scraper's key pair")
	if c.Group != nil {
		_, shared := c.Store.(ports.SharedStore)
		p.must(c.Group.Group != nil, "Group.Group", "is required")
		p.must(shared || c.Store == nil, "Store", "want a store that the members of the group share")
	}
	if _, err := identitiesOf(c.Secrets, c.Identities); err != nil {
		p = append(p, err)
	}
	p.within("Expiry", &c.Expiry, domain.DefaultExpiry, minExpiry, forever)
	p.within("CheckInterval", &c.CheckInterval, domain.DefaultExpiryCheckInterval, minCheckInterval, forever)
	p.within("RequestTimeout", &c.RequestTimeout, domain.DefaultRequestTimeout, time.Millisecond, forever)
	c.Retry.check(&p, "Retry")
	if c.MaxAliases == 0 {
		c.MaxAliases = domain.MaxEntries
	}
	p.must(c.MaxAliases > 0, "MaxAliases", "want a positive number")
	return p.err()
}

// Scraper accepts registrations, keeps the alias table, holds a session per client key and scrapes over it.
type Scraper struct {
	cfg      ScraperConfig
	table    *domain.Table
	sessions map[domain.PublicKey]*Session
	scrapes  map[domain.Alias]*domain.ScrapeHistory
	pins     map[domain.Alias]domain.Pin
	damages  []domain.StoreDamage // the last ones, oldest first
	clock    clock
	graces   graces
	dials    *dialQueue
	registry *registry
	listener ports.Listener
	expiry   host.Timer
	nudges   nudges
	targets  targetsWriter
	group    *membership // nil without a group
	phase
	stats domain.ScraperStats
}

// phase has the steps of a scraper's life that are behind it.
type phase struct {
	started  bool
	loaded   bool // the table holds all that the store and the import have
	ready    bool // it is announced
	closed   bool
	shutdown shutdown
}

// NewScraper checks the configuration. Nothing happens before Start.
func NewScraper(cfg ScraperConfig) (*Scraper, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	identities, err := identitiesOf(cfg.Secrets, cfg.Identities)
	if err != nil {
		return nil, err
	}
	s := &Scraper{
		cfg:      cfg,
		table:    domain.NewTable(cfg.MaxAliases),
		sessions: map[domain.PublicKey]*Session{},
		scrapes:  map[domain.Alias]*domain.ScrapeHistory{},
		pins:     map[domain.Alias]domain.Pin{},
		graces:   newGraces(),
		clock:    newClock(cfg.Clock.Now(), cfg.Host.Now()),
		stats: domain.ScraperStats{
			ScrapesFailed: map[string]uint64{}, Rejected: map[string]uint64{}, ConnectionsDenied: map[string]uint64{},
			MaxAliases: cfg.MaxAliases, MaxAliasConnections: maxAliasConns,
		},
	}
	s.dials = newDialQueue(cfg.Host)
	s.registry = newRegistry(s)
	s.registry.identities = identities
	s.targets = targetsWriter{scraper: s, backoff: cfg.Retry.backoff()}
	s.nudges = nudges{scraper: s}
	if cfg.Group != nil {
		s.group = newMembership(s)
	}
	return s, nil
}

// PublicKey is the key that clients register with.
func (s *Scraper) PublicKey() domain.PublicKey { return s.cfg.Keys.Public }

func (s *Scraper) listen(done func(error)) {
	listener, err := s.cfg.Transport.ListenAliases(ports.AliasListen{
		Keys: s.cfg.Keys, SharedKeys: s.group != nil, Holds: s.takes, Known: s.registry.knows, OnOpen: s.registry.onOpen,
	}, func(err error) {
		if s.closed {
			return
		}
		s.ready = err == nil
		done(err)
	})
	if err != nil {
		s.cfg.Host.Post(func() { done(err) })
		return
	}
	s.listener = listener
	s.expiry = s.cfg.Host.AfterFunc(s.cfg.CheckInterval, s.checkExpiry)
}

// Loaded reports whether the alias table is complete: read from the store, and imported at a first start. Before that an alias
// that is absent from the table may exist, so lists, scrapes and changes fail with domain.ErrNotLoaded.
func (s *Scraper) Loaded() bool { return s.loaded }

// Ready reports whether the scraper has been announced: clients could find it. It stays true when the network fails, because
// scrapes go on over open connections; Node reports how many DHT nodes hold the record now. A member of a group, of which only the leader
// is announced, is ready when it has the table.
func (s *Scraper) Ready() bool {
	if s.group != nil {
		return s.group.joined && s.loaded && !s.closed
	}
	return s.ready && !s.closed
}

func (s *Scraper) checkExpiry() {
	s.dropExpired()
	s.expiry = s.cfg.Host.AfterFunc(s.cfg.CheckInterval, s.checkExpiry)
}

func (s *Scraper) dropExpired() {
	candidates := s.table.ExpiredAt(s.now())
	aliases := make([]domain.Alias, 0, len(candidates))
	sets := map[domain.PublicKey]int{} // expired targets of sets
	var order []domain.PublicKey       // of sets
	for _, e := range candidates {
		if s.registry.pendingFor(e.Alias) || !s.expired(e) {
			continue // being renewed, or disproved
		}
		aliases = append(aliases, e.Alias)
		s.registry.vanish(e.Alias)
		s.remove(e)
		s.stats.Expired++
		if e.InSet {
			if sets[e.Key]++; sets[e.Key] == 1 {
				order = append(order, e.Key)
			}
			continue
		}
		tell(s.cfg.OnEvent, domain.AliasExpired{Entry: s.shown(e)})
	}
	for _, key := range order {
		tell(s.cfg.OnEvent, domain.SetExpired{Key: key, Targets: sets[key]})
	}
	if len(aliases) > 0 {
		s.cfg.Store.Delete(aliases, s.storeDone)
	}
}

func (s *Scraper) storeDone(err error) {
	if err != nil {
		s.stats.StoreFailures++
		tell(s.cfg.OnEvent, domain.WriteAliasesError{What: "store", Err: err})
	}
}

// put applies a durable entry.
func (s *Scraper) put(e domain.Entry) (domain.Change, error) {
	old, _ := s.table.Get(e.Alias)
	change := e.ChangeFrom(old)
	if err := s.table.Put(e); err != nil {
		return change, err
	}
	s.ungrace(e.Alias)
	if !change.TakenFrom.IsZero() {
		s.stats.Takeovers++
		s.release(change.TakenFrom)
		delete(s.scrapes, e.Alias) // they were another client's
	}
	s.scrapes[e.Alias].Registered(s.cfg.Clock.Now())
	s.callBack(e.Key)
	if change.Updated {
		tell(s.cfg.OnEvent, domain.SetAlias{Entry: e})
		s.targets.changed()
	}
	return change, nil
}

// remove removes an alias from the table, not from the store.
func (s *Scraper) remove(e domain.Entry) {
	s.forget(e.Alias)
	s.release(e.Key)
	s.targets.changed()
}

// forget removes an alias from the table, and does no more.
func (s *Scraper) forget(a domain.Alias) {
	s.table.Delete(a)
	s.ungrace(a)
	delete(s.scrapes, a)
}

// session returns the session with a client, and starts it if necessary.
func (s *Scraper) session(key domain.PublicKey) *Session {
	held := s.sessions[key]
	if held == nil {
		var err error
		held, err = NewSession(SessionConfig{
			Host: s.cfg.Host, Transport: s.cfg.Transport, Clock: s.cfg.Clock, Keys: s.cfg.Keys, Client: key,
			RequestTimeout: s.cfg.RequestTimeout, Retry: s.cfg.Retry, OnEvent: s.cfg.OnEvent,
		})
		if err != nil {
			panic("app: " + err.Error()) // NewScraper has checked the values
		}
		held.queue, held.paths = s.dials, &s.stats.Paths
		held.service = sessionService{
			func(req ports.AliasRequest, l *sessionLink, reply func(ports.AliasReply)) {
				s.registry.leaveOverSession(req, l, reply)
			},
			func(req ports.SetRequest, l *sessionLink, reply func(ports.SetReply)) {
				s.registry.setOverSession(req, l, reply)
			},
			s.leads, // otherwise the client dials the leader
		}
		s.sessions[key] = held
		held.Start()
	}
	return held
}

// release closes the session with a client that has no alias any more.
func (s *Scraper) release(key domain.PublicKey) {
	s.registry.vanishSetMaybe(key)
	if held := s.sessions[key]; held != nil && !s.table.Serves(key) {
		s.endVisit(key)
		delete(s.sessions, key)
		s.stats.Dials += held.dials
		held.Release()
	}
}

// callBack dials a client that has registered, if this scraper is to hold its connection.
func (s *Scraper) callBack(key domain.PublicKey) {
	if s.group != nil {
		s.group.heard(key)
	}
	if !s.closed && s.takes(key) {
		s.session(key).Nudge()
		s.visit(key)
	}
}

// PutAlias sets an alias as a registration with the right secret does. done is called when it is durable.
func (s *Scraper) PutAlias(r domain.Register, done func(updated bool, err error)) {
	s.registry.register(r, domain.Identity{}, func(change domain.Change, err error) { done(change.Updated, err) })
}

// Aliases lists the table by alias, with sessions and last scrapes.
func (s *Scraper) Aliases() []domain.AliasStatus { return s.AliasesAfter("", s.table.Len()) }

// AliasesAfter lists at most n of the aliases that follow an alias, or the first ones if it is empty. A large table is listed in several
// turns with it, so that scrapes do not wait for the list.
func (s *Scraper) AliasesAfter(a domain.Alias, n int) []domain.AliasStatus {
	entries := s.table.After(a, n)
	all := make([]domain.AliasStatus, len(entries))
	for i, e := range entries {
		all[i] = s.status(e)
	}
	return all
}

func (s *Scraper) status(e domain.Entry) domain.AliasStatus {
	_, pinned := s.pins[e.Alias]
	e.Labels = e.Labels.With(s.labelsOf(e.Identity))
	status := domain.AliasStatus{
		Entry: s.shown(e), Session: domain.SessionClosed, Scrape: s.scrapes[e.Alias].Last(), Pinned: pinned, Overdue: s.expired(e),
		Shared: s.registry.sharedIdentity(e.Key), Holder: s.holderOf(e.Key),
	}
	if held := s.sessions[e.Key]; held != nil {
		status.Session, status.Why = held.State(), held.LastError()
		status.Peer, status.SessionUp = held.Peer()
		status.Link, status.Version = held.linkState()
		status.Since = held.since()
	}
	return status
}

// Sessions counts the sessions by state.
func (s *Scraper) Sessions() map[domain.SessionState]int {
	count := map[domain.SessionState]int{}
	for _, held := range s.sessions {
		count[held.State()]++
	}
	return count
}

// Stats is a snapshot of the counters.
func (s *Scraper) Stats() domain.ScraperStats {
	stats := s.stats
	stats.Aliases = s.table.Len()
	stats.ScrapesFailed, stats.Rejected = maps.Clone(stats.ScrapesFailed), maps.Clone(stats.Rejected)
	stats.ConnectionsDenied, stats.Paths.Took = maps.Clone(stats.ConnectionsDenied), maps.Clone(stats.Paths.Took)
	for _, held := range s.sessions {
		stats.Dials += held.dials
	}
	return stats
}

// Node returns a snapshot of the DHT node.
func (s *Scraper) Node() ports.NodeStatus { return s.cfg.Transport.Status() }

// Fingerprints identify the accepted secrets of clients without an identity without revealing them.
func (s *Scraper) Fingerprints() []string {
	shared, _ := s.registry.identities.Get(domain.SharedIdentity)
	return shared.Fingerprints()
}

// clients returns the keys of all sessions, in the same order each time.
func (s *Scraper) clients() []domain.PublicKey {
	keys := slices.Collect(maps.Keys(s.sessions))
	slices.SortFunc(keys, func(a, b domain.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return keys
}
