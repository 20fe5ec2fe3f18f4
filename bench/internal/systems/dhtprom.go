package systems

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// Dhtprom is a running scraper.
type Dhtprom struct {
	Scraper *load.Child
	Invite  string
	Address string // of its HTTP server

	running *Running
}

// Dhtprom builds the programs, and starts a scraper on a DHT.
func (r *Running) Dhtprom(ctx context.Context, bootstrap string) (*Dhtprom, error) {
	d, err := r.dhtprom(ctx, "--dht.bootstrap="+bootstrap)
	if err != nil {
		return nil, fmt.Errorf("dhtprom: %w", err)
	}
	return d, nil
}

func (r *Running) dhtprom(ctx context.Context, bootstrap string) (*Dhtprom, error) {
	build := exec.CommandContext(ctx, "go", "build", "-o", r.Dir+string(filepath.Separator),
		"github.com/dhtprom/dhtprom/cmd/dhtprom-scraper", "github.com/dhtprom/dhtprom/cmd/dhtprom-client")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d := &Dhtprom{Address: address, running: r}
	scraper := filepath.Join(r.Dir, "dhtprom-scraper")
	d.Scraper, err = r.Run("scraper", scraper, "--web.listen-address="+address, bootstrap, "--log.level=warn")
	if err != nil {
		return nil, err
	}
	if err := awaitAnswer(ctx, "http://"+address+"/-/healthy"); err != nil {
		return nil, err
	}
	invite := exec.CommandContext(ctx, scraper, "invite", bootstrap)
	invite.Dir = r.Dir
	text, err := invite.Output()
	if err != nil {
		return nil, fmt.Errorf("dhtprom-scraper invite: %w", err)
	}
	d.Invite = strings.TrimSpace(string(text))
	return d, os.WriteFile(filepath.Join(r.Dir, "invite"), text, 0o600)
}

// Way returns the way to scrape through the scraper, whose aliases have a prefix.
func (d *Dhtprom) Way(name, prefix string, clients []*load.Child) *load.Way {
	return &load.Way{
		Name: name, HTTP: load.NewClient(nil), Programs: append([]*load.Child{d.Scraper}, clients...),
		URL: func(target int) string {
			return fmt.Sprintf("http://%s/scrape/%s%s/metrics", d.Address, prefix, Alias(target))
		},
	}
}

// Exporting starts a client for each exporter at a port, and returns the way to scrape them.
func (d *Dhtprom) Exporting(targets, port int) (*load.Way, error) {
	var clients []*load.Child
	for i := range targets {
		c, err := d.running.Run(Alias(i), filepath.Join(d.running.Dir, "dhtprom-client"), "--invite-file=invite", "--alias="+Alias(i), "--log.level=warn",
			"--target="+ExporterURL(port)(i))
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return d.Way("dhtprom", "", clients), nil
}
