// Command hyperdht uses HyperDHT from a shell: topics, records, and connections by public key.
//
//	hyperdht keygen     a file with a new seed, and its public key
//	hyperdht announce   announce a key under a topic
//	hyperdht lookup     the keys that are announced under a topic
//	hyperdht put        store a value in the DHT
//	hyperdht get        read a value from the DHT
//	hyperdht ping       check the way to a server, or to a DHT node
//	hyperdht pipe       connect the standard input and output with those of another machine
//	hyperdht tunnel     carry TCP connections to another machine
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

const name = "hyperdht"

func main() { cli.Main(start) }

// start runs the program until ctx ends and returns its exit code.
func start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return startWith(ctx, args, os.Stdin, stdout, stderr)
}

func startWith(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Exit(name, command(ctx, args, stdin, stdout, stderr), stderr)
}

// program has the input and the outputs of the commands.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	screen *cli.Screen
	log    *slog.Logger
}

func command(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := newFlags(stdout)
	chosen, err := f.parse(args)
	if err != nil {
		return err
	}
	p := program{stdin: stdin, stdout: stdout, screen: cli.NewScreen(stderr)}
	p.log = f.app.Logger(p.screen)
	switch chosen {
	case "announce":
		return p.announce(ctx, f.announce)
	case "lookup":
		return p.lookup(ctx, f.lookup)
	case "put":
		return p.put(ctx, f.put)
	case "get":
		return p.get(ctx, f.get)
	case "tunnel server":
		return p.tunnelServer(ctx, f.server)
	case "tunnel client":
		return p.tunnelClient(ctx, f.client)
	case "pipe":
		return p.pipe(ctx, f.pipe)
	case "ping":
		return p.ping(ctx, f.ping)
	default:
		return p.keygen(f.keygen)
	}
}

// keygen creates a file with a new seed, and prints its public key. It never replaces a file.
func (p program) keygen(path string) error {
	seed := keyfile.NewSeed()
	if err := keyfile.Write(path, "The seed of a HyperDHT key pair. Keep it secret.", seed.RevealText()); err != nil {
		return err
	}
	return p.println(domain.KeyPairFromSeed(seed).Public)
}

// println prints a line of the result.
func (p program) println(a ...any) error {
	_, err := fmt.Fprintln(p.stdout, a...)
	return err
}
