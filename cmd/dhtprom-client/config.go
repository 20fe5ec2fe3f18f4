package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// config is the program's configuration: flags, environment and files together.
type config struct {
	flags    *flags // that it was loaded from
	targets  []target
	labels   map[string]string // of all targets
	fileSD   []fileSD
	hostname string
	client   client.Config // without its targets
	node     dhtprom.NodeConfig
	web      webConfig
}

// webConfig configures the HTTP server.
type webConfig struct {
	address    string // empty: no server
	configFile string
	hosts      []string // more names of the server
	lifecycle  bool     // every caller may reload
}

// target is one served target, under one alias.
type target struct {
	where    string // its place in flags or file, for errors
	line     int
	alias    domain.Alias
	service  string
	hostname string
	instance string
	labels   map[string]string
	http     *exporter.Config // nil: this process's own metrics

	allowHeaders       []string
	allowAuthorization bool

	named bool // its key is derived from seed and alias even for a single target, so that adding one changes no other key
}

// exporter returns the exporter for package client, or nil.
func (t *target) exporter() client.Exporter {
	if t.http == nil {
		return nil
	}
	return t.http
}

// single returns the only target if it is registered by itself.
func (c *config) single() (t target, ok bool) {
	if len(c.targets) != 1 || c.targets[0].named || len(c.fileSD)+len(c.labels) > 0 {
		return target{}, false
	}
	return c.targets[0], true
}

// aliases lists the targets, the first of them if they are many.
func (c *config) aliases() string {
	all := make([]domain.Alias, len(c.targets))
	for i, t := range c.targets {
		all[i] = t.alias
	}
	if len(all) == 1 {
		return strconv.Quote(string(all[0]))
	}
	return fmt.Sprintf("%d targets, %s,", len(all), few(all))
}

// load reads the files that the flags name.
func load(f *flags, stdin io.Reader, log *slog.Logger) (cfg config, err error) {
	cfg = f.config
	cfg.node.Paths = domain.NewPathRules(f.paths)
	var file fileConfig
	if f.configFile != "" {
		if file, err = readConfigFile(f.configFile); err != nil {
			return cfg, err
		}
	}
	cfg.flags, cfg.labels, cfg.fileSD = f, file.labels, file.fileSD
	if cfg.targets, err = f.chooseTargets(file); err != nil {
		return cfg, err
	}
	cfg.completeFileSD(f)
	invites, err := f.chooseScrapers(&cfg, file, stdin, log)
	if err != nil {
		return cfg, err
	}
	if err := cfg.take(invites); err != nil {
		return cfg, err
	}
	turn := f.turn // a reload reads the file again
	if err := turn.Take(file.turn); err != nil {
		return cfg, &cli.UsageError{Err: err}
	}
	if cfg.node.TURN, err = turn.Config(turnServers(invites), memoryBeside(cfg.node.NodesFile)); err != nil {
		return cfg, err
	}
	for i, s := range cfg.client.Scrapers {
		if slices.ContainsFunc(cfg.client.Scrapers[:i], func(o app.ClientScraper) bool { return o.Key == s.Key }) {
			return cfg, fmt.Errorf("duplicate scraper %s", s.Key)
		}
		if s.Secret.Weak() {
			log.Warn("A secret has only one byte value and is easy to guess", "fingerprint", s.Secret.Fingerprint())
		}
	}
	if cfg.web.configFile != "" {
		if err := web.Validate(cfg.web.configFile); err != nil {
			return cfg, fmt.Errorf("--web.config.file: %w", err)
		}
	}
	cfg.client.Seed, err = loadSeed(f.seedFile, log)
	return cfg, err
}

// chooseTargets takes the targets of the flags or those of the file.
func (f *flags) chooseTargets(file fileConfig) ([]target, error) {
	given := f.alias != "" || len(f.targets) > 0
	switch {
	case given && len(file.targets) > 0:
		return nil, &cli.UsageError{Err: errors.New("targets are set in --config.file; remove --alias and --target")}
	case !given && len(file.targets)+len(file.fileSD) == 0:
		return nil, fmt.Errorf("%s:1: targets: missing, and there are no file_sd_configs", f.configFile)
	case given && f.configFile != "":
		// Checked late, because a file may set the targets.
		if err := f.checkTargets(); err != nil {
			return nil, &cli.UsageError{Err: err}
		}
	}
	targets := file.targets
	if f.alias != "" {
		t := target{where: "--alias", alias: f.alias}
		if len(f.targets) > 0 {
			t.where, t.http = "--target", &exporter.Config{Target: f.targets[0].target}
		}
		targets = []target{t}
	}
	if f.alias == "" {
		for _, n := range f.targets {
			targets = append(targets, target{
				where: "--target=" + string(n.alias), alias: n.alias, http: &exporter.Config{Target: n.target}, named: true,
			})
		}
	}
	for i := range targets {
		t := &targets[i]
		f.complete(t)
		if slices.ContainsFunc(targets[:i], func(o target) bool { return o.alias == t.alias }) {
			return nil, &cli.UsageError{Err: fmt.Errorf("--target: duplicate alias %q", t.alias)}
		}
	}
	return targets, nil
}

// complete sets what a target shares with others.
func (f *flags) complete(t *target) {
	if t.service == "" {
		t.service = f.service
	}
	if t.hostname == "" {
		t.hostname = f.machine()
	}
}

// machine returns the host name.
func (f *flags) machine() string {
	if f.hostname != "" {
		return f.hostname
	}
	hostname, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return hostname
}

// completeFileSD sets what targets of files share.
func (c *config) completeFileSD(f *flags) {
	c.hostname = f.machine()
	for i := range c.fileSD {
		f.complete(&c.fileSD[i].all)
	}
}

// chooseScrapers takes the scrapers of the flags or those of the file, and reads their secrets and invites.
func (f *flags) chooseScrapers(cfg *config, file fileConfig, stdin io.Reader, log *slog.Logger) (invites []domain.Invite, err error) {
	given := len(f.scrapers)+len(f.invites)+len(f.inviteFiles)+len(f.secretFiles) > 0
	switch {
	case given && len(file.scrapers) > 0:
		return nil, &cli.UsageError{Err: errors.New("scrapers are set in --config.file; remove them from flags and environment")}
	case len(file.scrapers) > 0:
		return fileScrapers(cfg, file, log)
	}
	if err := f.checkScrapers(); err != nil {
		return nil, &cli.UsageError{Err: err}
	}
	if f.inviteVisible {
		log.Warn("The invite on the command line can be seen by others on this machine, in the list of processes; --invite-file or DHTPROM_INVITE keep it secret")
	}
	secrets, err := f.loadSecrets(log)
	if err != nil {
		return nil, err
	}
	for i, s := range f.scrapers {
		cfg.client.Scrapers = append(cfg.client.Scrapers, scraperAt(s, secrets[i]))
	}
	invites = f.invites
	for _, path := range f.inviteFiles {
		v, err := loadInvite(path, stdin, log)
		if err != nil {
			return nil, err
		}
		invites = append(invites, v)
	}
	return invites, nil
}

// scraperAt is a scraper that flags or the file name.
func scraperAt(r domain.Reference, secret domain.Secret) app.ClientScraper {
	s := app.ClientScraper{Key: r.Key, Secret: secret}
	if !r.Addr.IsZero() {
		s.Addrs = []domain.Address{r.Addr}
	}
	return s
}

func fileScrapers(cfg *config, file fileConfig, log *slog.Logger) (invites []domain.Invite, err error) {
	for _, s := range file.scrapers {
		if s.inviteFile != "" {
			v, err := loadInvite(s.inviteFile, nil, log)
			if err != nil {
				return nil, fmt.Errorf("%s: invite_file: %w", s.where, err)
			}
			invites = append(invites, v)
			continue
		}
		secret, err := loadSecret(s.secretFile, log)
		if err != nil {
			return nil, fmt.Errorf("%s: secret_file: %w", s.where, err)
		}
		cfg.client.Scrapers = append(cfg.client.Scrapers, scraperAt(s.key, secret))
	}
	return invites, nil
}

// take adds the scrapers of the invites, and their network.
func (c *config) take(invites []domain.Invite) error {
	var nodes []string
	var relays []domain.Reference
	public, private := false, false
	for _, v := range invites {
		c.client.Scrapers = append(c.client.Scrapers, app.ClientScraper{Key: v.Scraper, Secret: v.Secret, Addrs: v.Addrs})
		public, private = public || len(v.Bootstrap) == 0, private || len(v.Bootstrap) > 0
		for _, b := range v.Bootstrap {
			node, err := cli.Bootstrap(b)
			if err != nil {
				return fmt.Errorf("invite: bootstrap node: %w", err)
			}
			nodes = appendNew(nodes, node)
		}
		relays = appendNew(relays, v.Relays...)
	}
	if c.node.Relays == nil {
		c.node.Relays = relays
	}
	if c.node.Bootstrap != nil {
		return nil // flags win
	}
	if public && private {
		return errors.New("one invite is for the public DHT and another for a private one: run one client for each, or say which with --dht.bootstrap")
	}
	c.node.Bootstrap = nodes
	return nil
}

// turnServers returns the TURN servers of invites.
func turnServers(invites []domain.Invite) (list []domain.TURNServer) {
	for _, v := range invites {
		list = appendNew(list, v.TURN...)
	}
	return list
}

// memoryBeside returns the file of the uplink that worked, beside that of the nodes; "" for none.
func memoryBeside(nodes string) string {
	if nodes == "" {
		return ""
	}
	return nodes + ".uplink"
}

func appendNew[T comparable](list []T, more ...T) []T {
	for _, e := range more {
		if !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}
