package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/turnflags"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// defaultAddress is on the loopback interface: exposing the server is a decision. The port is that of the bridge's examples.
const defaultAddress = "127.0.0.1:30000"

// runConfig has the values of the flags of run that are not in the configurations of the program's parts.
type runConfig struct {
	storage string
	node    dhtprom.NodeConfig
	scraper scraper.Config
	page    web.Config
	web     *toolkit.FlagConfig

	paths       []domain.PathRuleFor
	seedFile    string
	secretFiles []string
	// fixedSecrets means that no secret comes from a file.
	fixedSecrets bool
	// valid has the secrets and identities that a reload replaces; nil at the start.
	valid *identity

	hosts      []string // additional names of the HTTP server
	openHealth bool     // health needs no password
	group      groupConfig
	turn       turnflags.Flags
	legacy     *legacy
}

// relayConfig has the values of the flags of relay.
type relayConfig struct {
	storage  string
	node     dhtprom.NodeConfig
	relay    node.RelayConfig
	turn     turnServerConfig
	web      string // address of the metrics; "" for none
	webFile  string
	seedFile string
	allow    []domain.PublicKey // empty: all
}

// bootstrapConfig has the values of the flags of bootstrap.
type bootstrapConfig struct {
	host  netip.Addr
	port  int
	nodes int
	stun  bool
}

type flags struct {
	app       *cli.App
	run       runConfig
	demo      runConfig
	bootstrap bootstrapConfig
	relay     relayConfig
	alias     aliasConfig
	invite    inviteConfig
	identity  identityConfig
	doctor    doctorConfig
}

func newFlags(out io.Writer) *flags {
	f := &flags{run: runConfig{legacy: legacyFromEnv(os.Getenv)}, app: cli.New(name, "Scrape services behind NATs for Prometheus, over HyperDHT.", out)}
	run := f.app.Command("run", "Accept registrations and serve every alias's metrics over HTTP.").Default()
	run.Flag("storage.path", "Folder for the alias table and, where none are set, the seed and the secret. Created if missing.").
		Default("dhtprom-data").StringVar(&f.run.storage)
	f.run.web = webFlags(run)
	f.run.addWeb(run)
	cli.DHTFlags(run, &f.run.node)
	run.Flag("dht.relay", "Public key of a blind relay for connections that find no direct path; dhtprom-scraper relay runs one. With @HOST:PORT it is dialled there first. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &f.run.node.Relays, cli.Reference))
	run.Flag("dht.path", "Paths that connections may take: any; direct (never a relay); or relay (only a relay that either side names). KEY=RULE sets it for one client, by the key of its alias. Repeatable.").
		PlaceHolder("RULE").SetValue(cli.List("dht.path", &f.run.paths, domain.ParsePathRule))
	run.Flag("identity.seed-file", "File with the 32-byte seed of the scraper's key pair, as hex or z32. DHTPROM_IDENTITY_SEED takes the seed itself. Default: identity.seed in the storage path, created at the first start.").
		PlaceHolder("FILE").StringVar(&f.run.seedFile)
	run.Flag("secret-file", "File with the 32-byte secret that clients register with, as hex or z32; one per line where several are valid. Repeatable; read again on SIGHUP. DHTPROM_SECRET takes the secret itself. Default: secret in the storage path, created at the first start.").
		PlaceHolder("FILE").SetValue(cli.List("secret-file", &f.run.secretFiles, cli.Text))
	run.Flag("alias.expiry", "Lifetime of an alias without a new registration.").
		Default("3h").SetValue(cli.Value("alias.expiry", &f.run.scraper.Expiry, cli.Duration(time.Second)))
	run.Flag("alias.check-interval", "Interval of removing expired aliases.").
		Default("1h").SetValue(cli.Value("alias.check-interval", &f.run.scraper.CheckInterval, cli.Duration(100*time.Millisecond)))
	run.Flag("alias.pin", "Reject registrations of a live alias from any key other than its current one. Default: the last registration wins.").
		BoolVar(&f.run.scraper.PinAliases)
	run.Flag("alias.require-proof", "Reject registrations without a proof that the client holds the key it registers. JavaScript clients cannot send one.").
		BoolVar(&f.run.scraper.RequireProof)
	f.run.turn.Add(run, "none")
	f.run.group.add(run)
	run.Flag("targets.file", "File to write the aliases to, for Prometheus's file service discovery. Default: none.").
		PlaceHolder("FILE").StringVar(&f.run.scraper.TargetsFile)

	boot := f.app.Command("bootstrap", "Run persistent DHT nodes for a private network.")
	boot.Flag("host", "IPv4 address at which other machines reach this one.").Required().
		PlaceHolder("ADDR").SetValue(cli.Value("host", &f.bootstrap.host, cli.IPv4))
	boot.Flag("port", "UDP port of the first node, the one for --dht.bootstrap. The other nodes use the ports after it.").Required().
		PlaceHolder("N").SetValue(cli.Value("port", &f.bootstrap.port, cli.Int(1, 65535)))
	boot.Flag("nodes", "Number of nodes.").Default("4").SetValue(cli.Value("nodes", &f.bootstrap.nodes, cli.Int(1, 1000)))
	boot.Flag("stun", "Answer STUN requests on the DHT ports, so that scrapers and clients of a small network can find their public address with --stun.server=ADDR:PORT.").
		BoolVar(&f.bootstrap.stun)
	f.addRelay()
	f.addAlias()
	f.addInvite()
	f.addIdentity()
	f.addDoctor()
	f.run.legacy.setDefaults(run)
	if level := f.run.legacy.logLevel(); level != "" {
		f.app.GetFlag("log.level").Default(level)
	}

	f.app.Command("keygen", "Print a new seed, its public key and a new secret.")

	demo := f.app.Command("demo", "Run a private DHT, a scraper and a client in this process, for a first look.")
	f.demo.web = webFlags(demo)
	for command, example := range examples {
		f.app.Example(command, example)
	}
	return f
}

// examples are those in the help of each command.
var examples = map[string]string{
	"run":             "dhtprom-scraper run --storage.path=/var/lib/dhtprom --web.listen-address=127.0.0.1:30000",
	"bootstrap":       "dhtprom-scraper bootstrap --host=192.0.2.10 --port=49737",
	"relay":           "dhtprom-scraper relay --storage.path=/var/lib/dhtprom-relay",
	"alias":           "dhtprom-scraper alias list",
	"alias list":      "dhtprom-scraper alias list --format=json",
	"alias forget":    "dhtprom-scraper alias forget old-laptop",
	"alias pin":       "dhtprom-scraper alias pin laptop",
	"alias unpin":     "dhtprom-scraper alias unpin laptop",
	"identity":        "dhtprom-scraper identity list",
	"identity list":   "dhtprom-scraper identity list --storage.path=/var/lib/dhtprom",
	"identity add":    "dhtprom-scraper identity add site7 --alias='site7/*' --label=site=7",
	"identity revoke": "dhtprom-scraper identity revoke site7",
	"invite":          "dhtprom-scraper invite --storage.path=/var/lib/dhtprom --output=laptop.invite",
	"doctor":          "dhtprom-scraper doctor --storage.path=/var/lib/dhtprom",
	"keygen":          "dhtprom-scraper keygen",
	"demo":            "dhtprom-scraper demo",
}

func (c *runConfig) addWeb(cmd *kingpin.CmdClause) {
	cmd.Flag("web.external-url", "URL under which the HTTP server is reachable, for example through a proxy. Its path prefixes all links.").
		PlaceHolder("URL").SetValue(cli.Value("web.external-url", &c.page.ExternalURL, cli.HTTPURL))
	cmd.Flag("web.route-prefix", "Path below which requests arrive. Default: the path of --web.external-url.").
		PlaceHolder("PATH").SetValue(cli.Value("web.route-prefix", &c.page.RoutePrefix, func(s string) (*string, error) {
		if !strings.HasPrefix(s, "/") {
			return nil, fmt.Errorf("want a path like /dhtprom, got %q", s)
		}
		return &s, nil
	}))
	cmd.Flag("web.allowed-host", cli.AllowedHostHelp).
		PlaceHolder("NAME").SetValue(cli.List("web.allowed-host", &c.hosts, hosts.Parse))
	cmd.Flag("web.telemetry-path", "Path of the scraper's own metrics.").Default("/metrics").StringVar(&c.page.TelemetryPath)
	cmd.Flag("web.enable-lifecycle", "Enable reload and alias changes over HTTP without authentication. With passwords or client certificates in --web.config.file, authenticated requests may do both anyway.").
		BoolVar(&c.page.Lifecycle)
	cmd.Flag("web.open-health", "Serve /-/healthy and /-/ready without authentication where other paths require it.").Default("true").BoolVar(&c.openHealth)
}

func (f *flags) addRelay() {
	c := f.app.Command("relay", "Run a blind relay, which carries connections without a direct path and cannot read them.")
	c.Flag("storage.path", "Folder for the relay's seed where none is set. Created if missing.").Default("dhtprom-data").StringVar(&f.relay.storage)
	cli.DHTFlags(c, &f.relay.node)
	c.Flag("identity.seed-file", "File with the 32-byte seed of the relay's key pair. DHTPROM_IDENTITY_SEED takes the seed itself. Default: relay.seed in the storage path, created at the first start.").
		PlaceHolder("FILE").StringVar(&f.relay.seedFile)
	c.Flag("relay.max-pairs", "Maximum number of relayed connections.").Default("1024").
		SetValue(cli.Value("relay.max-pairs", &f.relay.relay.MaxPairs, cli.Int(1, 1<<20)))
	c.Flag("relay.max-pairs-per-key", "Maximum number of relayed connections per key. Each counts for the side with fewer, usually the client.").Default("64").
		SetValue(cli.Value("relay.max-pairs-per-key", &f.relay.relay.MaxPairsPerKey, cli.Int(1, 1<<20)))
	c.Flag("relay.allow", "Public key allowed to use the relay. Repeatable. Default: all.").
		PlaceHolder("KEY").SetValue(cli.List("relay.allow", &f.relay.allow, cli.Key))
	f.relay.turn.add(c)
	c.Flag("metrics.listen-address", "Address to serve the metrics of the relay on. Default: none.").
		PlaceHolder("HOST:PORT").SetValue(cli.Value("metrics.listen-address", &f.relay.web, cli.TCPAddr))
	c.Flag("metrics.config.file", "Configuration file that enables TLS or authentication for the HTTP server, in the format of Prometheus's exporter-toolkit.").
		PlaceHolder("FILE").StringVar(&f.relay.webFile)
}

func webFlags(c *kingpin.CmdClause) *toolkit.FlagConfig {
	config := kingpinflag.AddFlags(c, defaultAddress)
	c.GetFlag("web.listen-address").Help("Addresses on which to expose metrics and web interface. Repeatable for multiple addresses. Examples: `:30000` or `[::1]:30000` for http, `unix:/run/dhtprom/web.sock` for a Unix socket (mode 660), `vsock://:30000` for vsock")
	return config
}

// parse parses the arguments and checks what kingpin does not.
func (f *flags) parse(args []string) (command string, err error) {
	command, err = f.app.Parse(args)
	if errors.Is(err, cli.ErrHelpShown) {
		return "", err
	}
	if err == nil && command == "demo" {
		f.run = f.demo
		f.run.scraper.Expiry, f.run.scraper.CheckInterval, f.run.openHealth = domain.DefaultExpiry, domain.DefaultExpiryCheckInterval, true
	}
	if err == nil && (command == "run" || command == "demo") {
		err = f.checkWeb()
	}
	if err == nil && command == "run" {
		err = f.run.checkPaths()
	}
	if err == nil && command == "run" {
		err = f.run.group.check()
	}
	if err == nil && command == "relay" {
		err = f.relay.turn.check()
	}
	if err == nil && len(f.run.node.STUN)+len(f.relay.node.STUN) > 1 {
		err = stun.CheckServers(append(f.run.node.STUN, f.relay.node.STUN...))
		if err != nil {
			err = fmt.Errorf("--stun.server: %w", err)
		}
	}
	if err == nil && command == "bootstrap" && f.bootstrap.port+f.bootstrap.nodes-1 > 65535 {
		err = errors.New("--nodes: too few ports after --port")
	}
	if err != nil {
		return "", &cli.UsageError{Err: err}
	}
	return command, nil
}

// checkPaths rejects early what the web server would reject later.
func (c *runConfig) checkPaths() error {
	if err := web.CheckTelemetryPath(c.page.TelemetryPath); err != nil {
		return errors.New("--web.telemetry-path: " + err.Error())
	}
	return c.legacy.err
}

func (f *flags) checkWeb() error {
	for _, a := range *f.run.web.WebListenAddresses {
		if _, err := cli.WebAddr(a); err != nil {
			return errors.New("--web.listen-address: " + err.Error())
		}
	}
	if err := toolkit.Validate(*f.run.web.WebConfigFile); err != nil {
		return errors.New("--web.config.file: " + err.Error())
	}
	return nil
}
