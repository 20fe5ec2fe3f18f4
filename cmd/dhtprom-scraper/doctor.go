package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/examine"
	"github.com/dhtprom/dhtprom/doctor"
	"github.com/dhtprom/dhtprom/domain"
)

// doctorConfig has the values of the flags of doctor.
type doctorConfig struct {
	run     runConfig // the scraper's identity and network
	clients []domain.PublicKey
	options examine.Options
}

func (f *flags) addDoctor() {
	f.doctor.run.legacy = f.run.legacy
	c, cfg := f.app.Command("doctor", "Check this machine's network and whether the scraper and its clients can be reached, and report causes."), &f.doctor
	c.Flag("storage.path", "Folder with the scraper's seed and secret where none are set.").Default("dhtprom-data").StringVar(&cfg.run.storage)
	cli.DHTFlags(c, &cfg.run.node)
	c.Flag("dht.relay", "Public key of a blind relay, as for run. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &cfg.run.node.Relays, cli.Reference))
	c.Flag("dht.path", "Paths that connections may take, as for run. Repeatable.").
		PlaceHolder("RULE").SetValue(cli.List("dht.path", &cfg.run.paths, domain.ParsePathRule))
	cfg.run.turn.Add(c, "none")
	c.Flag("identity.seed-file", "File with the scraper's seed. DHTPROM_IDENTITY_SEED takes the seed itself. Default: identity.seed in the storage path.").
		PlaceHolder("FILE").StringVar(&cfg.run.seedFile)
	c.Flag("secret-file", "File with the secret that clients register with. Repeatable. DHTPROM_SECRET takes the secret itself. Default: secret in the storage path.").
		PlaceHolder("FILE").SetValue(cli.List("secret-file", &cfg.run.secretFiles, cli.Text))
	c.Flag("client", "Public key of a client to connect to, as the scraper does. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("client", &cfg.clients, cli.Key))
	cfg.options.AddFlags(c)
}

// diagnose checks whether clients can reach this scraper, and it them. It announces nothing and creates no files, so it may run
// beside the scraper.
func diagnose(ctx context.Context, cfg doctorConfig, stdout io.Writer, screen *cli.Screen, log *slog.Logger) error {
	files := inviteConfig{storage: cfg.run.storage, seedFile: cfg.run.seedFile, secretFiles: cfg.run.secretFiles, legacy: cfg.run.legacy}
	if err := files.checkStorage(log); err != nil {
		return err
	}
	var err error
	if cfg.run.node.TURN, err = cfg.run.turn.Config(nil, ""); err != nil {
		return err
	}
	id, err := loadIdentity(cfg.run, log)
	if err != nil {
		return err
	}
	if err := cfg.run.loadTURN(); err != nil {
		return err
	}
	exam := doctor.Config{
		Node:    newNodeConfig(cfg.run, id, log),
		Targets: []doctor.Target{{Name: "this scraper", Key: id.keys.Public, Secret: id.secret(), Own: true}},
	}
	if a := cfg.run.node.PublicAddress; !a.IsZero() {
		exam.Targets[0].Addrs = []domain.Address{a}
	}
	exam.Node.Listen = netip.AddrPortFrom(cfg.run.node.Listen.Addr(), 0) // the port is the scraper's
	for i, key := range cfg.clients {
		t := doctor.Target{Name: "the client", Key: key, Keys: id.keys}
		if len(cfg.clients) > 1 {
			t.Name = fmt.Sprintf("client %d", i+1)
		}
		exam.Targets = append(exam.Targets, t)
	}
	return cfg.options.Run(ctx, exam, stdout, screen, log)
}
