package main

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/alecthomas/kingpin/v2"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// defaultAddress is the loopback interface on purpose: whoever opens it wider should know. The port is that of the
// bridge's examples.
const defaultAddress = "127.0.0.1:30000"

// runConfig is what the flags of run say.
type runConfig struct {
	storage     string
	web         *toolkit.FlagConfig
	bootstrap   []string // nil: the public network
	listen      netip.AddrPort
	seedFile    string
	secretFile  string
	expiry      time.Duration
	check       time.Duration
	targetsFile string
}

// bootstrapConfig is what the flags of bootstrap say.
type bootstrapConfig struct {
	host  netip.Addr
	port  int
	nodes int
}

type flags struct {
	app       *cli.App
	run       runConfig
	demo      runConfig
	bootstrap bootstrapConfig
}

func newFlags(out io.Writer) *flags {
	f := &flags{app: cli.New(name, "Lets Prometheus scrape services behind NATs, over HyperDHT.", out)}
	run := f.app.Command("run", "Accept registrations and serve every alias's metrics over HTTP.").Default()
	run.Flag("storage.path", "Folder for the alias table and, where none are given, the seed and the secret. Made if missing.").
		Default("dhtprom-data").StringVar(&f.run.storage)
	f.run.web = webFlags(run)
	run.Flag("dht.bootstrap", "DHT node to start from, as HOST:PORT, or a port alone for a node on this machine. Repeatable. Default: the public nodes.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.bootstrap", &f.run.bootstrap, cli.Bootstrap))
	run.Flag("dht.listen-address", "IPv4 address and UDP port of the DHT node. Port 0 takes 49737 or another one that is free.").
		Default("0.0.0.0:0").SetValue(cli.Value("dht.listen-address", &f.run.listen, cli.ListenAddr))
	run.Flag("identity.seed-file", "File with the 32-byte seed of the scraper's key pair, as hex or z32. DHTPROM_IDENTITY_SEED takes the seed itself. Default: identity.seed in the storage path, made once.").
		PlaceHolder("FILE").StringVar(&f.run.seedFile)
	run.Flag("secret-file", "File with the 32-byte secret that clients register with, as hex or z32; one a line where several are valid. DHTPROM_SECRET takes the secret itself. Default: secret in the storage path, made once.").
		PlaceHolder("FILE").StringVar(&f.run.secretFile)
	run.Flag("alias.expiry", "How long an alias lives without being registered again.").
		Default("3h").SetValue(cli.Value("alias.expiry", &f.run.expiry, cli.Duration(time.Second)))
	run.Flag("alias.check-interval", "How often expired aliases are dropped.").
		Default("1h").SetValue(cli.Value("alias.check-interval", &f.run.check, cli.Duration(100*time.Millisecond)))
	run.Flag("targets.file", "File for Prometheus's file service discovery, kept up to date with the aliases. Default: none.").
		PlaceHolder("FILE").StringVar(&f.run.targetsFile)

	boot := f.app.Command("bootstrap", "Run persistent DHT nodes for a private network.")
	boot.Flag("host", "IPv4 address under which others reach this machine.").Required().
		PlaceHolder("ADDR").SetValue(cli.Value("host", &f.bootstrap.host, cli.IPv4))
	boot.Flag("port", "UDP port of the first node, which is the one to give to --dht.bootstrap. The others take the ports after it.").Required().
		PlaceHolder("N").SetValue(cli.Value("port", &f.bootstrap.port, cli.Int(1, 65535)))
	boot.Flag("nodes", "How many nodes to run.").Default("4").SetValue(cli.Value("nodes", &f.bootstrap.nodes, cli.Int(1, 1000)))

	f.app.Command("keygen", "Print a new seed, its public key and a new secret.")

	demo := f.app.Command("demo", "Run a private DHT, a scraper and a client in this process, to look at.")
	f.demo.web = webFlags(demo)
	return f
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
		f.run.expiry, f.run.check = domain.DefaultExpiry, domain.DefaultExpiryCheckInterval
	}
	if err == nil && (command == "run" || command == "demo") {
		err = f.checkWeb()
	}
	if err == nil && command == "bootstrap" && f.bootstrap.port+f.bootstrap.nodes-1 > 65535 {
		err = errors.New("--nodes: there are not that many ports after --port")
	}
	if err != nil {
		return "", &cli.UsageError{Err: err}
	}
	return command, nil
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
