package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// AliasKeys derives an identity of a process from its seed: that of an alias where it is registered by itself, and for the empty alias
// that of its set.
//
// An alias that is registered by itself has its own key pair because a request for metrics then does not name it: it goes to a key, and a
// scraper holds one connection per key. Keys that depend on the seed and the alias's name alone do not change when other aliases are added
// or removed, so a scraper that pins aliases to their first key keeps accepting them. The seed is HMAC-SHA256 of "dhtprom alias", a
// zero byte and the alias, keyed with the process's seed.
func AliasKeys(seed domain.Seed, alias domain.Alias) domain.KeyPair {
	key := seed.Reveal()
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("dhtprom alias\x00" + string(alias)))
	return domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte(mac.Sum(nil))))
}

// singles registers the targets of a client each by itself, with the scrapers that do not know sets.
type singles struct {
	client   *Client
	scrapers []ClientScraper // those scrapers
	members  map[domain.Alias]*singleClient
	waiting  []*singleClient // to start
	starting int
}

// singleClient is a target with a client of its own.
type singleClient struct {
	target domain.Target
	client *Client
	state  memberState
}

// memberState is the state of a member. Each begins waiting.
type memberState uint8

const (
	memberWaiting memberState = iota // for its turn to start
	memberStarting
	memberStarted
	memberClosing
)

// serve begins or ends to serve a scraper.
func (s *singles) serve(scraper ClientScraper, older bool) {
	i := slices.IndexFunc(s.scrapers, func(o ClientScraper) bool { return o.Key == scraper.Key })
	switch {
	case older && i < 0:
		s.scrapers = append(s.scrapers, scraper)
		for _, a := range s.aliases() {
			s.members[a].serve(scraper)
		}
		set := s.client.set
		tell(s.client.cfg.OnEvent, domain.SetUnsupported{Scraper: scraper.Key, Targets: set.Len(), Served: min(set.Len(), maxSingles)})
	case !older && i >= 0:
		s.scrapers = slices.Delete(s.scrapers, i, i+1)
		s.drop(scraper.Key)
	default:
		return
	}
	s.sync()
}

// drop removes a scraper from all members. A registration by itself that was under way may have taken its alias back from the set, and the
// goodbye removes it then: the set is registered again after that.
func (s *singles) drop(scraper domain.PublicKey) {
	if len(s.members) == 0 {
		return
	}
	left := host.NewJoin(func() {
		if k := s.client.scraper(scraper); k != nil {
			k.registrar.renew()
		}
	})
	all := left.Add()
	for _, a := range s.aliases() {
		m := s.members[a]
		if k := m.client.scraper(scraper); k != nil {
			s.fold(a, m, k)
			m.client.dropScraper(k, left.Add())
		}
	}
	all()
}

// serve adds a scraper to a member.
func (sc *singleClient) serve(scraper ClientScraper) {
	if sc.state != memberClosing && sc.client.scraper(scraper.Key) == nil {
		k := sc.client.addScraper(scraper)
		if sc.state != memberWaiting {
			k.registrar.attempt()
		}
	}
}

// sync starts and closes members as the targets and the scrapers demand.
func (s *singles) sync() {
	c := s.client
	var want []domain.Alias
	if len(s.scrapers) > 0 && !c.closed {
		want = clipped(c.set)
	}
	for _, a := range s.aliases() {
		m := s.members[a]
		if m.state == memberClosing {
			continue
		}
		t, has := c.targets[a]
		if !has || !slices.Contains(want, a) || m.target != t.Target {
			s.end(a, m, func() {})
			continue
		}
		m.client.targets[a] = t
	}
	for _, a := range want {
		if s.members[a] == nil {
			s.add(c.targets[a])
		}
	}
	s.startMore()
}

// aliases returns those of the members, in the same order each time.
func (s *singles) aliases() []domain.Alias {
	all := make([]domain.Alias, 0, len(s.members))
	for a := range s.members {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

func (s *singles) add(t ClientTarget) {
	of := &s.client.cfg
	client, err := NewClient(ClientConfig{
		Host: of.Host, Transport: of.Transport, KeepTransport: true, Scrapers: slices.Clone(s.scrapers),
		Source: t.Source, Alias: t.Alias, Service: t.Service, Hostname: t.Hostname, Keys: t.Keys,
		RegisterInterval: of.RegisterInterval, Retry: of.Retry, CollectTimeout: of.CollectTimeout,
		OnEvent: func(e domain.Event) { tell(of.OnEvent, named(e, t.Alias)) },
	})
	if err != nil {
		panic("app: " + err.Error()) // NewClient has checked the values
	}
	client.member = true
	m := &singleClient{target: t.Target, client: client}
	s.members[t.Alias] = m
	s.waiting = append(s.waiting, m)
}

// named returns an event of a member as one of its client, which has several targets.
func named(e domain.Event, a domain.Alias) domain.Event {
	switch e := e.(type) {
	case domain.MetricsRequest:
		e.Target = a
		return e
	case domain.MetricsSuccess:
		e.Target = a
		return e
	case domain.MetricsError:
		e.Target = a
		return e
	}
	return e
}

// startMore starts members, a few at a time: each is announced on the DHT.
func (s *singles) startMore() {
	for s.starting < singleStarts && len(s.waiting) > 0 && !s.client.closed {
		m := s.waiting[0]
		s.waiting = s.waiting[1:]
		if m.state != memberWaiting {
			continue
		}
		m.state = memberStarting
		s.starting++
		started := func() {
			if m.state == memberStarting {
				m.state = memberStarted
				s.starting--
				s.startMore()
			}
		}
		m.client.Start(func(error) { started() }) // registers also if it cannot be found
	}
}

// end closes a member, and calls done when it is. If its alias is wanted again, another one starts then.
func (s *singles) end(a domain.Alias, m *singleClient, done func()) {
	if m.state == memberStarting {
		s.starting--
	}
	for _, k := range m.client.scrapers {
		s.fold(a, m, k)
	}
	m.state = memberClosing
	m.client.Close(func() {
		if s.members[a] == m {
			delete(s.members, a)
		}
		done()
		s.sync()
	})
}

// close closes all members.
func (s *singles) close(closing *host.Join) {
	for _, a := range s.aliases() {
		s.end(a, s.members[a], closing.Add())
	}
}

// setSecret replaces the secret of a scraper.
func (s *singles) setSecret(scraper ClientScraper) {
	for i, o := range s.scrapers {
		if o.Key == scraper.Key {
			s.scrapers[i] = scraper
		}
	}
	for _, a := range s.aliases() {
		if k := s.members[a].client.scraper(scraper.Key); k != nil {
			k.registrar.setSecret(scraper.Secret)
		}
	}
}

// fold adds the counts of a member with a scraper to those of its client.
func (s *singles) fold(a domain.Alias, m *singleClient, k *clientScraper) {
	of := s.client.scraper(k.key)
	if of == nil || m.state == memberClosing {
		return
	}
	one, q := m.client.scraperStatus(k), of.queues(a, len(s.client.scrapers))
	of.registrar.succeeded += one.Registrations
	of.registrar.failed += one.RegistrationsFailed
	q.requests, q.failed, q.bytes = q.requests+one.Requests, q.failed+one.RequestsFailed, q.bytes+one.Bytes
}

// serves reports whether a scraper does not know sets.
func (s *singles) serves(scraper domain.PublicKey) bool {
	return slices.ContainsFunc(s.scrapers, func(o ClientScraper) bool { return o.Key == scraper })
}

// status returns the status of a target with a scraper that does not know sets; nil with others.
func (s *singles) status(a domain.Alias, scraper domain.PublicKey) *ClientScraperStatus {
	if !s.serves(scraper) {
		return nil
	}
	m := s.members[a]
	if m == nil {
		return &ClientScraperStatus{Key: scraper, LastError: errNotServed}
	}
	one := ClientScraperStatus{Key: scraper}
	if k := m.client.scraper(scraper); k != nil && m.state != memberClosing {
		one = m.client.scraperStatus(k)
	}
	return &one
}

// addTo adds the statuses of all members with a scraper to that of their client.
func (s *singles) addTo(total *ClientScraperStatus) {
	if !s.serves(total.Key) {
		return
	}
	for _, a := range s.aliases() {
		one := *s.status(a, total.Key)
		total.Registered = total.Registered || one.Registered
		if total.LastError == nil {
			total.LastError = one.LastError
		}
		total.Registrations += one.Registrations
		total.RegistrationsFailed += one.RegistrationsFailed
		total.Connections += one.Connections
		total.Requests += one.Requests
		total.RequestsFailed += one.RequestsFailed
		total.Bytes += one.Bytes
	}
}

// errNotServed is the reason for which a scraper that does not know sets does not have a target.
var errNotServed = &RejectedError{"it is of an older version or of another implementation, and there are more targets than can be registered each by itself"}
