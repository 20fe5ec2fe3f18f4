package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tlsfiles"
	"github.com/dhtprom/dhtprom/scraper"
	"github.com/dhtprom/dhtprom/scraper/etcdgroup"
)

// groupConfig has the values of the flags of a group.
type groupConfig struct {
	etcd       etcdgroup.Config
	advertised *url.URL
	name       string
	caFile     string
	certFile   string // of the HTTP client
	keyFile    string
	tls        *tls.Config
}

func (g *groupConfig) add(run *kingpin.CmdClause) {
	run.Flag("group.etcd", "URL of a member of the etcd cluster that keeps the table of a group of scrapers, https://HOST:2379. Repeatable. With it this scraper joins the group, and the alias table in the storage path is not used. All members need the same seed and secrets. Default: no group.").
		PlaceHolder("URL").SetValue(cli.List("group.etcd", &g.etcd.Endpoints, cli.Text))
	run.Flag("group.prefix", "Prefix of the group's keys in etcd. Each group has its own.").
		Default(etcdgroup.DefaultPrefix).SetValue(cli.Value("group.prefix", &g.etcd.Prefix, cli.Text))
	run.Flag("group.advertise-url", "URL of this scraper's HTTP server for the other members, with --web.route-prefix. It should lead here directly, without a proxy.").
		PlaceHolder("URL").SetValue(cli.Value("group.advertise-url", &g.advertised, cli.HTTPURL))
	run.Flag("group.name", "Name of this scraper among the members. Default: this machine's.").
		PlaceHolder("NAME").StringVar(&g.name)
	run.Flag("group.lease", "Time after which a member that vanished is missed. All members should have the same.").
		Default(etcdgroup.DefaultLease.String()).SetValue(cli.Value("group.lease", &g.etcd.Lease, parseLease))
	run.Flag("group.ca-file", "File with the CA certificates, in PEM, of the HTTP servers of members with an https URL. Default: those of the system.").
		PlaceHolder("FILE").StringVar(&g.caFile)
	run.Flag("group.cert-file", "File with this scraper's certificate, in PEM, for the HTTP servers of members that require one. Read for each connection.").
		PlaceHolder("FILE").StringVar(&g.certFile)
	run.Flag("group.key-file", "File with the key of the certificate for members, in PEM.").
		PlaceHolder("FILE").StringVar(&g.keyFile)
	run.Flag("group.etcd-ca-file", "File with the CA certificates, in PEM, of etcd. Default: those of the system.").
		PlaceHolder("FILE").StringVar(&g.etcd.CAFile)
	run.Flag("group.etcd-cert-file", "File with this scraper's certificate for etcd, in PEM. Read for each connection.").
		PlaceHolder("FILE").StringVar(&g.etcd.CertFile)
	run.Flag("group.etcd-key-file", "File with the key of the certificate for etcd, in PEM.").
		PlaceHolder("FILE").StringVar(&g.etcd.KeyFile)
	run.Flag("group.etcd-user", "User at an etcd with authentication.").
		PlaceHolder("NAME").StringVar(&g.etcd.User)
	run.Flag("group.etcd-password-file", "File with the password of the user at etcd.").
		PlaceHolder("FILE").StringVar(&g.etcd.PasswordFile)
}

// stray returns a flag that is set and needs --group.etcd; empty for none.
func (g *groupConfig) stray() string {
	if g.advertised != nil {
		return "group.advertise-url"
	}
	for _, f := range []struct{ name, value string }{
		{"group.name", g.name}, {"group.ca-file", g.caFile}, {"group.cert-file", g.certFile}, {"group.key-file", g.keyFile},
		{"group.etcd-ca-file", g.etcd.CAFile}, {"group.etcd-cert-file", g.etcd.CertFile},
		{"group.etcd-key-file", g.etcd.KeyFile}, {"group.etcd-user", g.etcd.User}, {"group.etcd-password-file", g.etcd.PasswordFile},
	} {
		if f.value != "" {
			return f.name
		}
	}
	return ""
}

func parseLease(s string) (time.Duration, error) {
	d, err := cli.Duration(etcdgroup.MinLease)(s)
	if err == nil && d > etcdgroup.MaxLease {
		err = fmt.Errorf("want at most %s, got %s", etcdgroup.MaxLease, s)
	}
	return d, err
}

// configured reports whether the scraper is in a group.
func (g *groupConfig) configured() bool { return len(g.etcd.Endpoints) > 0 }

// check checks the flags together, and the files that they name.
func (g *groupConfig) check() error {
	switch {
	case !g.configured() && g.stray() != "":
		return fmt.Errorf("--%s: set --group.etcd, too, or remove it: without that there is no group", g.stray())
	case !g.configured():
		return nil
	case g.advertised == nil:
		return errors.New("--group.advertise-url: want the URL at which the other members reach this scraper's HTTP server, such as http://HOST:30000")
	}
	if err := g.etcd.Check(); err != nil {
		return fmt.Errorf("--group.etcd: %w", err)
	}
	return g.readTLS()
}

// readTLS reads the files for HTTPS between members.
func (g *groupConfig) readTLS() (err error) {
	if (g.certFile == "") != (g.keyFile == "") {
		return errors.New("--group.cert-file and --group.key-file: want both, or none")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if g.caFile != "" {
		if cfg.RootCAs, err = tlsfiles.Roots(g.caFile); err != nil {
			return fmt.Errorf("--group.ca-file: %w", err)
		}
	}
	if g.certFile != "" {
		if cfg.GetClientCertificate, err = tlsfiles.Certificate(g.certFile, g.keyFile); err != nil {
			return fmt.Errorf("--group.cert-file: %w", err)
		}
	}
	g.tls = cfg
	return nil
}

// member returns the configuration of a member; nil without a group.
func (g *groupConfig) member() *scraper.GroupConfig {
	if !g.configured() {
		return nil
	}
	host, _ := os.Hostname()
	return &scraper.GroupConfig{
		Open: g.etcd.Open, TLS: g.tls,
		Member: domain.Member{Name: cmp.Or(g.name, host, g.advertised.Host), URL: g.advertised.String(), Version: cli.Version()},
	}
}
