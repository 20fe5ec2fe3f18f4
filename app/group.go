package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// AliasKeys derives the identity of one of several aliases of a process from the process's seed.
//
// Each alias has its own key pair because a request for metrics does not name an alias: it goes to a key, and a scraper holds one
// connection per key. Keys that depend on the seed and the alias's name alone do not change when other aliases are added or
// removed, so a scraper that pins aliases to their first key keeps accepting them. The seed is HMAC-SHA256 of "dhtprom alias", a
// zero byte and the alias, keyed with the process's seed.
func AliasKeys(seed domain.Seed, alias domain.Alias) domain.KeyPair {
	key := seed.Reveal()
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("dhtprom alias\x00" + string(alias)))
	return domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte(mac.Sum(nil))))
}

// GroupConfig configures a Group.
type GroupConfig struct {
	Host      host.Host
	Transport ports.ClientTransport
	// KeepTransport makes Close leave the transport open for others. By default the group owns it.
	KeepTransport bool

	// Clients are its members. They use the group's Host and Transport. No two may have the same alias or the same keys.
	Clients []ClientConfig
}

// Group is several clients on one transport: a process that serves several targets, each under its own alias and key.
type Group struct {
	cfg      GroupConfig
	clients  []*Client
	started  bool
	closed   bool
	shutdown shutdown
}

// NewGroup checks the configuration. Nothing happens before Start.
func NewGroup(cfg GroupConfig) (*Group, error) {
	var p problems
	p.must(cfg.Host != nil, "Host", "is required")
	p.must(cfg.Transport != nil, "Transport", "is required")
	if err := p.err(); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	g := &Group{cfg: cfg}
	for i, c := range cfg.Clients {
		c.Host, c.Transport, c.KeepTransport = cfg.Host, cfg.Transport, true
		client, err := NewClient(c)
		if err != nil {
			//lint:ignore ST1005 begins with the name of a field
			return nil, fmt.Errorf("Clients[%d]: %w", i, err)
		}
		client.grouped = i > 0
		g.clients = append(g.clients, client)
	}
	return g, nil
}

// Check is NewGroup's check of all but the host and the transport, for programs that only validate a configuration.
func (cfg GroupConfig) Check() error {
	var p problems
	p.must(len(cfg.Clients) > 0, "Clients", "want at least one")
	p.must(len(cfg.Clients) <= maxClients, "Clients", fmt.Sprintf("want at most %d, got %d", maxClients, len(cfg.Clients)))
	aliases, keys := map[domain.Alias]bool{}, map[domain.PublicKey]bool{}
	for i, c := range cfg.Clients {
		field := fmt.Sprintf("Clients[%d].", i)
		p.must(!aliases[c.Alias], field+"Alias", fmt.Sprintf("duplicate %q", c.Alias))
		p.must(c.Keys.IsZero() || !keys[c.Keys.Public], field+"Keys", "duplicate: a request for metrics names no alias, only a key")
		aliases[c.Alias], keys[c.Keys.Public] = true, true
	}
	if err := p.err(); err != nil {
		return err
	}
	for i, c := range cfg.Clients {
		var p problems
		c.checkValues(&p)
		if err := p.err(); err != nil {
			//lint:ignore ST1005 begins with the name of a field
			return fmt.Errorf("Clients[%d]: %w", i, err)
		}
	}
	return nil
}

// Clients returns the members, in the order configured.
func (g *Group) Clients() []*Client { return g.clients }

// SetSecrets replaces the secrets of scrapers, matched by key, and registers again where one changed. It returns how many
// changed. Unknown scrapers are ignored.
func (g *Group) SetSecrets(scrapers []ClientScraper) (changed int) {
	for _, s := range scrapers {
		other := false
		for _, c := range g.clients {
			if k := c.scraper(s.Key); k != nil && !s.Secret.IsZero() && k.registrar.setSecret(s.Secret) {
				other = true
			}
		}
		if other {
			changed++
		}
	}
	return changed
}

// Start makes all clients listen, a few at a time. done is called when all do, or with the first error; then the group should be
// closed. Registrations go on as in Client.Start.
func (g *Group) Start(done func(error)) {
	if g.started || g.closed {
		g.cfg.Host.Post(func() { done(fmt.Errorf("group %w", errStarted)) })
		return
	}
	g.started = true
	next, listening, failed := 0, 0, false
	var start func()
	start = func() {
		if next == len(g.clients) {
			return
		}
		c := g.clients[next]
		next++
		c.Start(func(err error) {
			switch {
			case failed || g.closed:
				return
			case err != nil:
				failed = true
				done(fmt.Errorf("alias %q: %w", c.Alias(), err))
				return
			}
			if listening++; listening == len(g.clients) {
				done(nil)
			}
			start()
		})
	}
	for range groupStart {
		start()
	}
}

// Close closes all clients and, unless it is borrowed, the transport. done is called at the end, within closeTimeout whatever the
// network does. Closing twice calls both.
func (g *Group) Close(done func()) {
	g.closed = true
	if !g.shutdown.begin(g.cfg.Host, closeTimeout, done) {
		return
	}
	closing := host.NewJoin(func() {
		if g.cfg.KeepTransport {
			g.shutdown.finish()
			return
		}
		g.cfg.Transport.Close(g.shutdown.finish)
	})
	for _, c := range g.clients {
		c.Close(closing.Add())
	}
}
