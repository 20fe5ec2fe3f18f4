package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/turnflags"
	"github.com/dhtprom/dhtprom/domain"
)

// defaultService is not empty because the JavaScript bridge's example configuration loses targets without one.
const defaultService = "dhtprom"

// flags are the program's flags as given.
type flags struct {
	app *cli.App

	configFile string
	checkOnly  bool

	scrapers      []domain.Reference
	secretFiles   []string
	invites       []domain.Invite
	inviteFiles   []string
	inviteVisible bool // one is on the command line, in the list of processes
	seedFile      string

	alias    domain.Alias
	service  string
	hostname string
	targets  []namedTarget

	paths []domain.PathRuleFor
	turn  turnflags.Flags

	config config // from the other flags
}

// namedTarget is one --target: an exporter and its alias, empty where --alias has it.
type namedTarget struct {
	alias  domain.Alias
	target exporter.Target
}

func newFlags(out io.Writer) *flags {
	f := &flags{app: cli.New(name, "Serve this machine's metrics to dhtprom scrapers, through NATs, over HyperDHT.\n\n\"dhtprom-client doctor\" with the same flags checks whether the scrapers can be reached instead.", out)}
	a := f.app
	a.Flag("config.file", "YAML file with the targets, and the scrapers where no flags name them.").PlaceHolder("FILE").
		StringVar(&f.configFile)
	a.Flag("config.check", "Validate the configuration and all referenced files, then exit.").BoolVar(&f.checkOnly)
	a.Flag("invite", "Invite of a scraper, in place of --scraper and --secret-file. Others on this machine can see it in the list of processes: --invite-file and DHTPROM_INVITE hide it. Repeatable.").
		PlaceHolder("dhtprom1...").SetValue(each("invite", &f.invites, domain.ParseInvite))
	a.Flag("invite-file", "File with such an invite; - is standard input. Repeatable.").PlaceHolder("FILE").
		SetValue(each("invite-file", &f.inviteFiles, fileName))
	a.Flag("scraper", "Public key of a scraper, as hex or z32. With @HOST:PORT it is dialled there first, without the DHT. Repeatable.").PlaceHolder("KEY").
		SetValue(cli.List("scraper", &f.scrapers, parseKey))
	a.Flag("secret-file", "File with the 32-byte secret that the scraper expects, as hex or z32. With several scrapers, one for each, in the same order. DHTPROM_SECRET takes the secrets themselves.").
		PlaceHolder("FILE").SetValue(each("secret-file", &f.secretFiles, fileName))
	a.Flag("alias", "Alias to register (single-target mode). Must be unique per scraper; the most recent registration wins.").PlaceHolder("NAME").
		SetValue(cli.Value("alias", &f.alias, domain.ParseAlias))
	a.Flag("service", "Service that this is an instance of; a label in Prometheus.").Default(defaultService).
		SetValue(cli.Value("service", &f.service, cli.Checked(domain.CheckService)))
	a.Flag("hostname", "Host name of the service. Default: this machine's.").PlaceHolder("NAME").
		SetValue(cli.Value("hostname", &f.hostname, cli.Checked(domain.CheckHostname)))
	a.Flag("target", "Exporter to serve: a URL with --alias, or NAME=URL with NAME as the alias, repeatable. Schemes: http://, https:// and unix:///socket:/path. Default: this process's own metrics.").
		PlaceHolder("NAME=http://localhost:9100/metrics").SetValue(each("target", &f.targets, parseTarget))
	a.Flag("identity.seed-file", "File with the 32-byte seed of the client's key pair, as hex or z32. Targets with a NAME, and those of --config.file, share a pair derived from it. DHTPROM_IDENTITY_SEED takes the seed itself. Default: new key pairs at each start.").
		PlaceHolder("FILE").SetValue(cli.Value("identity.seed-file", &f.seedFile, fileName))
	a.Flag("dht.bootstrap", "Bootstrap node of the DHT, as HOST:PORT, or a port alone for a node on this machine. Repeatable. Default: the invite's nodes, else the public ones.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.bootstrap", &f.config.node.Bootstrap, cli.Bootstrap))
	a.Flag("dht.nodes-file", "Cache file for known DHT nodes: the next start is faster and needs no bootstrap node. May be deleted. Default: none.").
		PlaceHolder("FILE").SetValue(cli.Value("dht.nodes-file", &f.config.node.NodesFile, fileName))
	a.Flag("dht.relay", "Public key of a blind relay for connections that find no direct path. With @HOST:PORT it is dialled there first. Repeatable. Default: the invite's.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &f.config.node.Relays, cli.Reference))
	a.Flag("dht.path", "Paths that connections may take: any; direct (never a relay); or relay (only a relay that either side names). KEY=RULE sets it for one scraper. Repeatable.").
		PlaceHolder("RULE").SetValue(cli.List("dht.path", &f.paths, domain.ParsePathRule))
	a.Flag("dht.port-mapping", cli.PortMappingHelp).Default("auto").SetValue(cli.Value("dht.port-mapping", &f.config.node.PortMapping, cli.PortMapping))
	a.Flag("dht.udp-offload", cli.OffloadHelp).Default("auto").SetValue(cli.Value("dht.udp-offload", &f.config.node.NoUDPOffload, cli.Offload))
	a.Flag("stun.server", "STUN server for finding the DHT node's public address, or none. Repeatable. Default: public ones on the public network, none on a private one.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("stun.server", &f.config.node.STUN, cli.STUNServer))
	f.turn.Add(a, "those of the invites")
	a.Flag("register.interval", "Interval of registrations. Should be well below the scraper's --alias.expiry.").
		Default("1h").SetValue(cli.Value("register.interval", &f.config.client.RegisterInterval, parseInterval))
	a.Flag("web.listen-address", "Address to serve this process's own metrics, health checks and status page on, such as 127.0.0.1:30001, or unix:PATH for a Unix socket (mode 660). Default: none.").
		PlaceHolder("HOST:PORT").SetValue(cli.Value("web.listen-address", &f.config.web.address, cli.WebAddr))
	a.Flag("web.allowed-host", cli.AllowedHostHelp).PlaceHolder("NAME").SetValue(cli.List("web.allowed-host", &f.config.web.hosts, hosts.Parse))
	a.Flag("web.enable-lifecycle", "Let every caller of the HTTP server reload the configuration, with POST /-/reload. Callers with passwords or certificates of --web.config.file may always.").
		BoolVar(&f.config.web.lifecycle)
	a.Flag("web.config.file", "Configuration file that enables TLS or authentication for the HTTP server, in the format of Prometheus's exporter-toolkit.").
		PlaceHolder("FILE").StringVar(&f.config.web.configFile)
	a.Example("", "dhtprom-client --invite-file=laptop.invite --target=laptop=http://localhost:9100/metrics")
	return f
}

// repeated is a flag that may be given several times. Its values may have commas in them, so only lines separate those
// of the environment.
type repeated struct {
	flag string
	add  func(string) error
}

func each[T any](name string, into *[]T, parse func(string) (T, error)) *repeated {
	return &repeated{flag: name, add: func(s string) error {
		v, err := parse(s)
		if err == nil {
			*into = append(*into, v)
		}
		return err
	}}
}

// Set adds a value. Errors name the flag but do not quote the value, which may be a secret.
func (r *repeated) Set(s string) error {
	if err := r.add(s); err != nil {
		return fmt.Errorf("--%s: %w", r.flag, err)
	}
	return nil
}

func (r *repeated) String() string     { return "" }
func (r *repeated) IsCumulative() bool { return true }

// fileName rejects text that is the content of such a file: it would end up in errors and logs.
func fileName(s string) (string, error) {
	_, err := domain.ParseSecret(s)
	switch {
	case s == "":
		return "", errors.New("want a file name")
	case err == nil, domain.LooksLikeInvite(s) && len(s) > len(domain.InvitePrefix)+32:
		return "", errors.New("want a file name, got what looks like the file's content")
	}
	return s, nil
}

func parseKey(s string) (domain.Reference, error) {
	r, err := domain.ParseReference(s)
	switch {
	case err != nil && domain.LooksLikeInvite(s):
		err = errors.New("is an invite: use --invite-file or --invite")
	case err == nil && r.Key.IsZero():
		err = errors.New("want the scraper's public key, got zeros")
	case err == nil:
		err = cli.CheckKey(r.Key)
	}
	return r, err
}

// schemes are the beginnings of a URL; anything before them is a name.
var schemes = []string{"http://", "https://", "unix://"}

func parseTarget(s string) (t namedTarget, err error) {
	text := s
	isURL := slices.ContainsFunc(schemes, func(scheme string) bool { return strings.HasPrefix(s, scheme) })
	if !isURL {
		// The name may have an = in it; so may the URL, but only after its beginning.
		at := -1
		for _, scheme := range schemes {
			if i := strings.Index(s, "="+scheme); i >= 0 && (at < 0 || i < at) {
				at = i
			}
		}
		if at >= 0 {
			if t.alias, err = domain.ParseAlias(s[:at]); err != nil {
				return t, err
			}
			text = s[at+1:]
		}
	}
	if otherTarget.MatchString(text) {
		return t, fmt.Errorf("want one target, got a list: repeat --target, put one per line into %s, or use --config.file; write a comma of the URL as %%2C", targetEnv)
	}
	t.target, err = exporter.ParseTarget(text)
	return t, err
}

// targetEnv is the environment variable of --target.
const targetEnv = "DHTPROM_TARGET"

// otherTarget matches the beginning of another target after a comma.
var otherTarget = regexp.MustCompile(`,\s*([^,/?=&]+=)?(https?|unix)://`)

func parseInterval(s string) (time.Duration, error) {
	d, err := cli.Duration(time.Second)(s)
	if err == nil && d > 24*time.Hour {
		err = fmt.Errorf("want at most 24h, got %s: aliases expire between longer intervals", s)
	}
	return d, err
}

// parse parses the arguments and checks all that needs no file.
func (f *flags) parse(args []string) error {
	_, err := f.app.Parse(args)
	if errors.Is(err, cli.ErrHelpShown) {
		return err
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return &cli.UsageError{Err: withoutInvites(err, args)}
	}
	f.inviteVisible = seesInvite(args)
	return nil
}

// seesInvite reports whether an invite is among the arguments, where the list of processes shows it.
func seesInvite(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "--invite" || strings.HasPrefix(a, "--invite=") })
}

// withoutInvites removes a misplaced invite from the error about it.
func withoutInvites(err error, args []string) error {
	text := err.Error()
	for _, a := range args {
		if domain.LooksLikeInvite(a) && strings.Contains(text, a) {
			return errors.New("unexpected invite: use --invite-file or --invite")
		}
	}
	return err
}

func (f *flags) check() error {
	if f.configFile != "" {
		return f.checkSTUN() // the rest may be in the file
	}
	return errors.Join(f.checkTargets(), f.checkScrapers(), f.checkSTUN())
}

func (f *flags) checkTargets() error {
	isNamed := func(t namedTarget) bool { return t.alias != "" }
	isNameless := func(t namedTarget) bool { return t.alias == "" }
	switch {
	case f.alias == "" && len(f.targets) == 0:
		return errors.New("no target: set --alias for this process's own metrics, --target=NAME=URL for an exporter, or --config.file")
	case f.alias != "" && slices.ContainsFunc(f.targets, isNamed):
		return errors.New("--alias cannot be combined with --target=NAME=URL")
	case f.alias != "" && len(f.targets) > 1:
		return errors.New("--alias names one target; set several with --target=NAME=URL")
	case f.alias == "" && slices.ContainsFunc(f.targets, isNameless):
		return errors.New("--target: missing alias: set --alias or --target=NAME=URL")
	}
	return nil
}

func (f *flags) checkSTUN() error {
	if err := stun.CheckServers(f.config.node.STUN); err != nil {
		return fmt.Errorf("--stun.server: %w", err)
	}
	return nil
}

// checkScrapers pairs keys with secrets.
func (f *flags) checkScrapers() error {
	switch keys, files := len(f.scrapers), len(f.secretFiles); {
	case keys == 0 && len(f.invites) == 0 && len(f.inviteFiles) == 0:
		return errors.New("no scraper: set --invite-file, or --scraper and --secret-file")
	case keys == 0 && files > 0:
		return errors.New("--secret-file needs a --scraper")
	case files == 0 && keys > 0 && secretFromEnv() == "":
		return errors.New("no secret for the scraper: set --secret-file or the environment variable " + secretEnv)
	case files > 0 && files != keys:
		return fmt.Errorf("--secret-file: want one for each --scraper, in the same order; got %d for %d", files, keys)
	}
	return nil
}
