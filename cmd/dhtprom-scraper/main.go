// Command dhtprom-scraper scrapes services behind NATs for Prometheus.
//
//	dhtprom-scraper [run]       accept registrations and serve every alias's metrics over HTTP
//	dhtprom-scraper invite      one string with all that a client needs to register
//	dhtprom-scraper identity    list, add and revoke groups of clients with a secret of their own
//	dhtprom-scraper alias       list, forget and pin the aliases of a running scraper
//	dhtprom-scraper bootstrap   DHT nodes for a private network
//	dhtprom-scraper relay       a blind relay for connections that find no direct path
//	dhtprom-scraper doctor      check the network, and why a connection fails
//	dhtprom-scraper keygen      a seed, its public key and a secret
//	dhtprom-scraper demo        a private DHT, a scraper and a client in one process
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

const name = "dhtprom-scraper"

func main() { cli.Main(start) }

// start runs the program until ctx ends and returns its exit code.
func start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Exit(name, command(ctx, args, stdout, stderr), stderr)
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags(stdout)
	chosen, err := f.parse(args)
	if err != nil {
		return err
	}
	screen := cli.NewScreen(stderr)
	log := f.app.Logger(screen)
	switch chosen {
	case "bootstrap":
		return bootstrap(ctx, f.bootstrap, stdout, screen, log)
	case "relay":
		return relay(ctx, f.relay, stdout, screen, log)
	case "alias list", "alias forget", "alias pin", "alias unpin":
		return aliases(ctx, chosen, f.alias, stdout)
	case "identity list", "identity add", "identity revoke":
		return identities(ctx, chosen, f.identity, stdout, log)
	case "invite":
		return invite(f.invite, stdout, log)
	case "doctor":
		return diagnose(ctx, f.doctor, stdout, screen, log)
	case "keygen":
		return keygen(stdout)
	case "demo":
		return demo(ctx, f.run, stdout, screen, log)
	default:
		return run(ctx, f.run, stdout, screen, log)
	}
}

// keygen prints a seed, its public key and a secret. It is the only command that prints secrets.
func keygen(stdout io.Writer) error {
	seed := keyfile.NewSeed()
	_, err := fmt.Fprintf(stdout, "seed:       %s\npublic key: %s\nsecret:     %s\n",
		seed.RevealText(), domain.KeyPairFromSeed(seed).Public, keyfile.NewSecret().RevealText())
	return err
}
