package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
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
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// defaultAddress is the loopback interface on purpose: whoever opens it wider should know. The port is that of the
// bridge's examples.
const defaultAddress = "127.0.0.1:30000"

// runConfig has what the flags of run say: what they mean for the parts of the program stands in the configurations of those.
type runConfig struct {
	storage string
	node    dhtprom.NodeConfig
	scraper scraper.Config
	page    web.Config
	web     *toolkit.FlagConfig

	paths       []domain.PathRuleFor
	seedFile    string
	secretFiles []string
	// fixedSecrets means that the secrets are in no file.
	fixedSecrets bool

	hosts      []string // more names of the HTTP server
	openHealth bool     // health needs no password
	legacy     *legacy
}

// relayConfig has what the flags of relay say.
type relayConfig struct {
	storage  string
	node     dhtprom.NodeConfig
	relay    node.RelayConfig
	seedFile string
	allow    []domain.PublicKey // empty: everybody
}

// aliasConfig is what the flags of the alias commands say.
type aliasConfig struct {
	url    *url.URL
	client string // file
	format string
	alias  string
	key    string
}

// bootstrapConfig is what the flags of bootstrap say.
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
	doctor    doctorConfig
}

func newFlags(out io.Writer) *flags {
	f := &flags{run: runConfig{legacy: legacyFromEnv(os.Getenv)}, app: cli.New(name, "Lets Prometheus scrape services behind NATs, over HyperDHT.", out)}
	run := f.app.Command("run", "Accept registrations and serve every alias's metrics over HTTP.").Default()
	run.Flag("storage.path", "Folder for the alias table and, where none are given, the seed and the secret. Made if missing.").
		Default("dhtprom-data").StringVar(&f.run.storage)
	f.run.web = webFlags(run)
	f.run.addWeb(run)
	dhtFlags(run, &f.run.node)
	run.Flag("dht.relay", "Public key of a blind relay for connections that find no direct path; dhtprom-scraper relay runs one. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &f.run.node.Relays, cli.Key))
	run.Flag("dht.path", "Which paths connections may take: any; direct, without a relay; or relay, over nothing but a relay that either side names. KEY=RULE is for one client, by the key of its alias. Repeatable.").
		PlaceHolder("RULE").SetValue(cli.List("dht.path", &f.run.paths, domain.ParsePathRule))
	run.Flag("identity.seed-file", "File with the 32-byte seed of the scraper's key pair, as hex or z32. DHTPROM_IDENTITY_SEED takes the seed itself. Default: identity.seed in the storage path, made once.").
		PlaceHolder("FILE").StringVar(&f.run.seedFile)
	run.Flag("secret-file", "File with the 32-byte secret that clients register with, as hex or z32; one a line where several are valid. Repeatable; read again on SIGHUP. DHTPROM_SECRET takes the secret itself. Default: secret in the storage path, made once.").
		PlaceHolder("FILE").SetValue(cli.List("secret-file", &f.run.secretFiles, cli.Text))
	run.Flag("alias.expiry", "How long an alias lives without being registered again.").
		Default("3h").SetValue(cli.Value("alias.expiry", &f.run.scraper.Expiry, cli.Duration(time.Second)))
	run.Flag("alias.check-interval", "How often expired aliases are dropped.").
		Default("1h").SetValue(cli.Value("alias.check-interval", &f.run.scraper.CheckInterval, cli.Duration(100*time.Millisecond)))
	run.Flag("alias.pin", "Refuse a live alias to all keys but the one that has it, instead of giving it to the last one that registers.").
		BoolVar(&f.run.scraper.PinAliases)
	run.Flag("alias.require-proof", "Refuse registrations that do not prove that the client holds the key it registers. JavaScript clients cannot.").
		BoolVar(&f.run.scraper.RequireProof)
	run.Flag("targets.file", "File for Prometheus's file service discovery, kept up to date with the aliases. Default: none.").
		PlaceHolder("FILE").StringVar(&f.run.scraper.TargetsFile)

	boot := f.app.Command("bootstrap", "Run persistent DHT nodes for a private network.")
	boot.Flag("host", "IPv4 address under which others reach this machine.").Required().
		PlaceHolder("ADDR").SetValue(cli.Value("host", &f.bootstrap.host, cli.IPv4))
	boot.Flag("port", "UDP port of the first node, which is the one to give to --dht.bootstrap. The others take the ports after it.").Required().
		PlaceHolder("N").SetValue(cli.Value("port", &f.bootstrap.port, cli.Int(1, 65535)))
	boot.Flag("nodes", "How many nodes to run.").Default("4").SetValue(cli.Value("nodes", &f.bootstrap.nodes, cli.Int(1, 1000)))
	boot.Flag("stun", "Answer STUN requests on the DHT ports, so that scrapers and clients of a small network learn their public address with --stun.server=ADDR:PORT.").
		BoolVar(&f.bootstrap.stun)
	f.addRelay()
	f.addAlias()
	f.addInvite()
	f.addDoctor()
	f.run.legacy.setDefaults(run)
	if level := f.run.legacy.logLevel(); level != "" {
		f.app.GetFlag("log.level").Default(level)
	}

	f.app.Command("keygen", "Print a new seed, its public key and a new secret.")

	demo := f.app.Command("demo", "Run a private DHT, a scraper and a client in this process, to look at.")
	f.demo.web = webFlags(demo)
	return f
}

func dhtFlags(c *kingpin.CmdClause, cfg *dhtprom.NodeConfig) {
	c.Flag("dht.bootstrap", "DHT node to start from, as HOST:PORT, or a port alone for a node on this machine. Repeatable. Default: the public nodes.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.bootstrap", &cfg.Bootstrap, cli.Bootstrap))
	c.Flag("dht.listen-address", "IPv4 address and UDP port of the DHT node. A port is that port or an error. Port 0 takes 49637 or another one that is free, never one of a bootstrap node.").
		Default("0.0.0.0:0").SetValue(cli.Value("dht.listen-address", &cfg.Listen, cli.ListenAddr))
	c.Flag("stun.server", "STUN server that tells the DHT node its public address, or none. Repeatable. Default: public ones on the public network, none on a private one.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("stun.server", &cfg.STUN, cli.STUNServer))
}

func (c *runConfig) addWeb(cmd *kingpin.CmdClause) {
	cmd.Flag("web.external-url", "URL under which others reach the HTTP server, for example through a proxy. Its path is in front of all links.").
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
	cmd.Flag("web.enable-lifecycle", "Let everybody who reaches the HTTP server reload the secrets by /-/reload, and forget and pin aliases. With passwords or client certificates in --web.config.file, those who have one may do so without this.").
		BoolVar(&c.page.Lifecycle)
	cmd.Flag("web.open-health", "Answer /-/healthy and /-/ready without a password where others are protected by one.").Default("true").BoolVar(&c.openHealth)
}

func (f *flags) addRelay() {
	c := f.app.Command("relay", "Run a blind relay: it carries connections that find no direct path, and cannot read them.")
	c.Flag("storage.path", "Folder for the relay's seed where none is given. Made if missing.").Default("dhtprom-data").StringVar(&f.relay.storage)
	dhtFlags(c, &f.relay.node)
	c.Flag("identity.seed-file", "File with the 32-byte seed of the relay's key pair. DHTPROM_IDENTITY_SEED takes the seed itself. Default: relay.seed in the storage path, made once.").
		PlaceHolder("FILE").StringVar(&f.relay.seedFile)
	c.Flag("relay.max-pairs", "Most connections that are relayed at a time.").Default("1024").
		SetValue(cli.Value("relay.max-pairs", &f.relay.relay.MaxPairs, cli.Int(1, 1<<20)))
	c.Flag("relay.max-pairs-per-key", "Most connections that are relayed at a time for one key. Each counts for the side that has fewer, which is the client.").Default("64").
		SetValue(cli.Value("relay.max-pairs-per-key", &f.relay.relay.MaxPairsPerKey, cli.Int(1, 1<<20)))
	c.Flag("relay.allow", "Public key that may use the relay. Repeatable. Default: all.").
		PlaceHolder("KEY").SetValue(cli.List("relay.allow", &f.relay.allow, cli.Key))
}

func (f *flags) addAlias() {
	c := f.app.Command("alias", "List, forget and pin the aliases of a scraper that runs.")
	c.Flag("url", "Where the scraper's HTTP server is.").Default("http://" + defaultAddress).SetValue(cli.Value("url", &f.alias.url, cli.HTTPURL))
	c.Flag("http.config.file", "File with the password, certificates and TLS settings to use, in the form that promtool takes.").
		PlaceHolder("FILE").StringVar(&f.alias.client)
	list := c.Command("list", "List the aliases and pins.")
	list.Flag("format", "One of: text, json.").Default("text").SetValue(cli.Value("format", &f.alias.format, func(s string) (string, error) {
		if s != "text" && s != "json" {
			return "", fmt.Errorf("want text or json, got %q", s)
		}
		return s, nil
	}))
	alias := func(c *kingpin.CmdClause) {
		c.Arg("alias", "The alias.").Required().SetValue(cli.Value("alias", &f.alias.alias, func(s string) (string, error) {
			_, err := domain.ParseAlias(s)
			return s, err
		}))
	}
	alias(c.Command("forget", "Drop an alias. A client that still runs brings it back when it registers again."))
	pin := c.Command("pin", "Tie an alias to a key, so that no other gets it, now or later.")
	alias(pin)
	pin.Arg("key", "The public key. Default: the one that has the alias.").SetValue(cli.Value("key", &f.alias.key, func(s string) (string, error) {
		k, err := cli.Key(s)
		return k.String(), err
	}))
	alias(c.Command("unpin", "Take a pin out."))
}

func webFlags(c *kingpin.CmdClause) *toolkit.FlagConfig {
	return kingpinflag.AddFlags(c, defaultAddress)
}

// parse reads the arguments and checks what kingpin did not.
func (f *flags) parse(args []string) (command string, err error) {
	command, err = f.app.Parse(args)
	if errors.Is(err, cli.ErrLeft) {
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
	if err == nil && len(f.run.node.STUN)+len(f.relay.node.STUN) > 1 {
		err = stun.CheckServers(append(f.run.node.STUN, f.relay.node.STUN...))
		if err != nil {
			err = fmt.Errorf("--stun.server: %w", err)
		}
	}
	if err == nil && command == "bootstrap" && f.bootstrap.port+f.bootstrap.nodes-1 > 65535 {
		err = errors.New("--nodes: there are not that many ports after --port")
	}
	if err != nil {
		return "", &cli.UsageError{Err: err}
	}
	return command, nil
}

// checkPaths refuses what the web server would refuse later.
func (c *runConfig) checkPaths() error {
	if err := web.CheckTelemetryPath(c.page.TelemetryPath); err != nil {
		return errors.New("--web.telemetry-path: " + err.Error())
	}
	return c.legacy.err
}

func (f *flags) checkWeb() error {
	for _, a := range *f.run.web.WebListenAddresses {
		if _, err := cli.TCPAddr(a); err != nil {
			return errors.New("--web.listen-address: " + err.Error())
		}
	}
	if err := toolkit.Validate(*f.run.web.WebConfigFile); err != nil {
		return errors.New("--web.config.file: " + err.Error())
	}
	return nil
}
