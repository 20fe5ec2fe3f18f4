package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/startup"
	"github.com/dhtprom/dhtprom/cmd/internal/systemd"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/scraper"
)

const (
	// httpTimeout bounds the scrapes in progress when the program stops.
	httpTimeout = 500 * time.Millisecond
	// headerTimeout bounds the time until a request's headers are read.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// handOverTime bounds the wait for another member of the group, and drainTime the scrapes in progress after it.
	handOverTime = 16 * time.Second
	drainTime    = 5 * time.Second
)

// program is a scraper with its HTTP server: all of dhtprom-scraper run.
type program struct {
	node    *dhtprom.Node
	scraper *scraper.Scraper
	servers *servers
	reload  *reloader
	cfg     runConfig
	log     *slog.Logger

	listeners []net.Listener
	admin     net.Listener         // may be nil
	screen    *cli.Screen          // shows what the start waits for; may be nil
	onReady   func(address string) // called when registrations are accepted; may be nil
}

// run runs a scraper until ctx ends.
func run(ctx context.Context, cfg runConfig, stdout io.Writer, screen *cli.Screen, log *slog.Logger) error {
	var err error
	if err := cfg.loadTURN(); err != nil {
		return err
	}
	id, err := loadIdentity(cfg, log)
	if err != nil {
		return err
	}
	p, cleanup, err := newProgram(cfg, id, log)
	if err != nil {
		return explain(err)
	}
	defer cleanup()
	id.greet(stdout, cfg)
	p.screen = screen
	return explain(p.Run(ctx))
}

// loadTURN reads the files that the flags of TURN servers name.
func (c *runConfig) loadTURN() (err error) {
	c.node.TURN, err = c.turn.Config(nil, filepath.Join(c.storage, "uplink"))
	return err
}

// explain names the flag behind an error.
func explain(err error) error {
	if _, ok := errors.AsType[*hyperdht.ListenError](err); ok {
		return fmt.Errorf("--dht.listen-address: %w; port 0 takes any free one", err)
	}
	if errors.Is(err, domain.ErrGroup) {
		return fmt.Errorf("--group.etcd: %w; give all members the same seed, and each group its own --group.prefix", err)
	}
	if _, ok := errors.AsType[*scraper.StoreError](err); ok {
		return fmt.Errorf("--storage.path: %w", err)
	}
	if errors.Is(err, domain.ErrNoIdentities) {
		return fmt.Errorf("--storage.path: %w; restore %s there, or write `identities: []` to it to remove these aliases", err, identitiesFile)
	}
	return err
}

// Run serves until ctx ends or something fails, and then stops cleanly.
func (p *program) Run(ctx context.Context) error {
	failed := make(chan error, 2)
	if p.cfg.group.configured() {
		cli.StopLater(ctx, handOverTime+drainTime)
	}
	service := systemd.New(p.log)
	cli.OnHangUp(ctx, func() { service.Reload(p.reload.run) })
	if err := p.listen(); err != nil {
		return errors.Join(err, p.Close())
	}
	p.serveAdmin()
	service.Status("Entering the DHT")
	go service.Watch(ctx, p.turn)
	go p.keepPublicAddress(ctx)
	go func() {
		// Without the DHT, too: its absence must not end the service.
		if p.cfg.group.configured() || p.scraper.Loaded(ctx) == nil {
			service.Ready() // the absence of the group's store must not end it either
		}
	}()
	go func() { failed <- p.servers.serve(p.listeners) }()
	go func() {
		started := startup.Begin(ctx, p.screen, p.log, startOf(p.node))
		err := p.scraper.Start(context.WithoutCancel(ctx))
		started()
		if err != nil {
			failed <- err
			return
		}
		what := "Accepting registrations"
		if p.cfg.group.configured() {
			what = "Joined the group" // its leader accepts them
		}
		attrs := []any{"public_key", p.scraper.PublicKey().String()}
		if s, err := p.node.Status(ctx); err == nil && s.Known.IsValid() {
			attrs = append(attrs, "public_address", s.Known.String(), "dht", s.Announced > 0)
		}
		p.log.Info(what, attrs...)
		service.Status(what)
		if p.onReady != nil {
			p.onReady(p.address())
		}
	}()
	var err error
	select {
	case <-ctx.Done():
		p.log.Info("Stopping")
	case err = <-failed:
	}
	service.Stopping()
	if err == nil && p.cfg.group.configured() {
		p.handOver()
	}
	return errors.Join(err, p.Close())
}

// turn waits for a turn of the node's loop.
func (p *program) turn(ctx context.Context) error { return p.node.Do(ctx, func() error { return nil }) }

// startOf returns the step in which a node and its server are.
func startOf(n *dhtprom.Node) func(context.Context) (startup.Step, error) {
	return func(ctx context.Context) (startup.Step, error) {
		s, err := n.Status(ctx)
		return startup.Network(s.State, s.Announced > 0), err
	}
}

// listen binds the HTTP addresses before anything else, so that a port in use is reported first.
func (p *program) listen() error {
	web := p.cfg.web
	if web.WebSystemdSocket != nil && *web.WebSystemdSocket {
		listeners, err := systemdListeners()
		if err != nil {
			return fmt.Errorf("--web.systemd-socket: %w", err)
		}
		p.listeners = listeners
		return nil
	}
	if slices.ContainsFunc(*web.WebListenAddresses, isVsock) {
		if slices.ContainsFunc(*web.WebListenAddresses, func(a string) bool { _, is := unix.Path(a); return is }) {
			return errors.New("--web.listen-address: vsock and unix addresses cannot be combined")
		}
		return nil
	}
	for _, a := range *web.WebListenAddresses {
		l, err := cli.ListenWeb(a)
		if err != nil {
			for _, open := range p.listeners {
				_ = open.Close()
			}
			return fmt.Errorf("--web.listen-address: %w", err)
		}
		p.listeners = append(p.listeners, l)
		p.warnOpen(l.Addr())
	}
	return nil
}

// warnOpen warns when the metrics can be read without authentication.
func (p *program) warnOpen(a net.Addr) {
	bound, err := netip.ParseAddrPort(a.String())
	if err == nil && !bound.Addr().IsLoopback() && *p.cfg.web.WebConfigFile == "" {
		p.log.Warn("The HTTP server is open to others without TLS and passwords; see --web.config.file", "address", a.String())
	}
}

// address is the URL of the HTTP server, for people to open.
func (p *program) address() string {
	if len(p.listeners) == 0 {
		return (*p.cfg.web.WebListenAddresses)[0]
	}
	return p.listeners[0].Addr().String()
}

// handOver leaves the group's leadership and the connections to clients to another member. The HTTP server serves until then.
func (p *program) handOver() {
	p.servers.handler.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	if err := p.scraper.HandOver(ctx); err != nil {
		p.log.Warn("Stopping before another member of the group has taken over", "err", err)
	}
}

// Close stops the HTTP server and the scraper, within five seconds, and drainTime more in a group.
func (p *program) Close() error {
	wait := httpTimeout
	if p.cfg.group.configured() {
		wait = drainTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for _, s := range p.servers.shut() {
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // scrapes in progress have had their time
		}
	}
	for _, l := range p.listeners {
		_ = l.Close() // those without a server
	}
	if p.admin != nil {
		_ = p.admin.Close()
	}
	err := p.node.Close()
	if err == nil {
		p.log.Info("Stopped")
	}
	return err
}

// The providers of the wiring.

func newNodeConfig(cfg runConfig, id identity, log *slog.Logger) dhtprom.NodeConfig {
	c := cfg.node
	c.Seed, c.Paths, c.NodesFile, c.Logger = id.keys.Seed, domain.NewPathRules(cfg.paths), filepath.Join(cfg.storage, "nodes.json"), log
	return c
}

func newScraperConfig(cfg runConfig, id identity, log *slog.Logger) scraper.Config {
	c := cfg.scraper
	c.Seed, c.Secrets, c.Identities, c.Logger = id.keys.Seed, id.secrets, id.named, log
	path := filepath.Join(cfg.storage, "aliases.db")
	if c.Group = cfg.group.member(); c.Group == nil {
		c.Path = path
	} else if _, err := os.Stat(path); err == nil {
		log.Warn("The alias table in the storage path is not used: a group has its own", "file", path)
	}
	return c
}

func newServers(s *scraper.Scraper, reload *reloader, cfg runConfig, id identity, log *slog.Logger) (*servers, error) {
	names := cfg.hosts
	if cfg.page.ExternalURL != nil {
		names = append(slices.Clip(names), cfg.page.ExternalURL.Hostname())
	}
	if at := cfg.group.advertised; at != nil {
		names = append(slices.Clip(names), at.Hostname())
	}
	known := func(r *http.Request) bool { return isAdmin(r) || cli.Authenticated(*cfg.web.WebConfigFile, r) }
	guard := &hosts.Guard{Names: cli.HostNames(*cfg.web.WebListenAddresses, names...), Exempt: known, Log: log}
	page := cfg.page
	page.Hosts, page.Authenticated, page.Version = guard.Names, known, cli.Version()
	page.Reload, page.ClientCommand = reload.run, id.clientCommand(cfg, "FILE")
	page.Collectors = append(reload.collectors(),
		cli.GuardCollector(guard), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("dhtprom"),
	)
	handler, err := s.Web(page)
	if err != nil {
		return nil, err
	}
	return &servers{web: cfg.web, handler: handler, guard: guard, openHealth: cfg.openHealth, log: log}, nil
}
