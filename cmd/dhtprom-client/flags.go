package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// defaultService is not empty because the JavaScript bridge's example configuration loses targets without one.
const defaultService = "dhtprom"

// config is what the flags say.
type config struct {
	scraper    domain.PublicKey
	secretFile string
	seedFile   string
	alias      domain.Alias
	service    string
	hostname   string
	target     *url.URL // nil: this process's own metrics
	bootstrap  []string // nil: the public network
	interval   time.Duration
}

type flags struct {
	app *cli.App
	cfg config
}

func newFlags(out io.Writer) *flags {
	f := &flags{app: cli.New(name, "Lets a dhtprom scraper scrape what runs here, through NATs, over HyperDHT.", out)}
	a := f.app
	a.Flag("scraper", "Public key of the scraper, as hex or z32.").Required().PlaceHolder("KEY").
		SetValue(cli.Value("scraper", &f.cfg.scraper, parseKey))
	a.Flag("secret-file", "File with the 32-byte secret that the scraper expects, as hex or z32. DHTPROM_SECRET takes the secret itself. One of them is required.").
		PlaceHolder("FILE").StringVar(&f.cfg.secretFile)
	a.Flag("alias", "Name of this client at the scraper. It should be unique there: the last one who registers it has it.").Required().PlaceHolder("NAME").
		SetValue(cli.Value("alias", &f.cfg.alias, domain.ParseAlias))
	a.Flag("service", "What kind of service this is an instance of.").Default(defaultService).
		SetValue(cli.Value("service", &f.cfg.service, cli.Checked(domain.CheckService)))
	a.Flag("hostname", "Where the service runs. Default: this machine's name.").PlaceHolder("NAME").
		SetValue(cli.Value("hostname", &f.cfg.hostname, cli.Checked(domain.CheckHostname)))
	a.Flag("target", "URL of an exporter to pass on. Default: the metrics of this process itself.").PlaceHolder("http://localhost:9100/metrics").
		SetValue(cli.Value("target", &f.cfg.target, source.ParseTarget))
	a.Flag("identity.seed-file", "File with the 32-byte seed of the client's key pair, as hex or z32. DHTPROM_IDENTITY_SEED takes the seed itself. Default: a key pair that lasts as long as the process.").
		PlaceHolder("FILE").StringVar(&f.cfg.seedFile)
	a.Flag("dht.bootstrap", "DHT node to start from, as HOST:PORT, or a port alone for a node on this machine. Repeatable. Default: the public nodes.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.bootstrap", &f.cfg.bootstrap, cli.Bootstrap))
	a.Flag("register.interval", "How often the alias is registered again. It should be well below the scraper's --alias.expiry.").
		Default("1h").SetValue(cli.Value("register.interval", &f.cfg.interval, parseInterval))
	return f
}

func parseKey(s string) (domain.PublicKey, error) {
	k, err := domain.ParsePublicKey(s)
	if err == nil && k.IsZero() {
		err = errors.New("want the scraper's public key, got zeros")
	}
	return k, err
}

func parseInterval(s string) (time.Duration, error) {
	d, err := cli.Duration(time.Second)(s)
	if err == nil && d > 24*time.Hour {
		err = fmt.Errorf("want at most 24h, got %s: aliases would expire in between", s)
	}
	return d, err
}

func (f *flags) parse(args []string) error {
	_, err := f.app.Parse(args)
	switch {
	case errors.Is(err, cli.ErrLeft):
		return err
	case err == nil && f.cfg.secretFile == "" && os.Getenv(secretEnv) == "":
		err = errors.New("want the scraper's secret: --secret-file or the environment variable " + secretEnv)
	}
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	if f.cfg.hostname == "" {
		if f.cfg.hostname, err = os.Hostname(); err != nil {
			f.cfg.hostname = "unknown"
		}
	}
	return nil
}
