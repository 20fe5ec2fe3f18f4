package main

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/keyfile"
)

const passphraseEnv = "DHTPROM_PASSPHRASE"

// pipeConfig has the values of the flags of pipe.
type pipeConfig struct {
	nodeConfig
	seed   domain.Seed // of the passphrase; zero for none
	listen bool
}

// passphrases is the encoding of hyperbeam: the seed of a key pair, which both sides have.
var passphrases = base32.StdEncoding.WithPadding(base32.NoPadding)

// formatPassphrase returns the passphrase of a seed.
func formatPassphrase(seed domain.Seed) string {
	b := seed.Reveal()
	return strings.ToLower(passphrases.EncodeToString(b[:]))
}

// parsePassphrase parses a passphrase. Its errors do not quote it.
func parsePassphrase(s string) (domain.Seed, error) {
	b, err := passphrases.DecodeString(strings.ToUpper(s))
	if err != nil || len(b) != domain.KeySize || len(s) != passphrases.EncodedLen(domain.KeySize) {
		return domain.Seed{}, errors.New("want the 52 letters and digits that the other side of the pipe printed; without a passphrase, this side draws one")
	}
	return domain.SeedFrom([domain.KeySize]byte(b)), nil
}

// pipe connects the standard input and output with those of the other side.
func (p program) pipe(ctx context.Context, cfg pipeConfig) (err error) {
	if text := os.Getenv(passphraseEnv); cfg.seed.IsZero() && text != "" {
		if cfg.seed, err = parsePassphrase(text); err != nil {
			return fmt.Errorf("%s: %w", passphraseEnv, err)
		}
	}
	if cfg.seed.IsZero() {
		cfg.seed, cfg.listen = keyfile.NewSeed(), true
	}
	n, err := p.enter(ctx, cfg.node, cfg.seed)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	open := n.open
	if cfg.listen {
		open = n.awaitOther(p, formatPassphrase(cfg.seed))
	}
	c, err := open(ctx, cfg)
	if err != nil {
		return stopped(ctx, err)
	}
	p.log.Info("Connected", "path", c.Path().String())
	return stopped(ctx, p.passOn(ctx, c))
}

// open dials the side of a pipe that listens. Both have the same key.
func (n *network) open(ctx context.Context, cfg pipeConfig) (*dhtnet.Conn, error) {
	c, err := n.Dial(ctx, keysOf(cfg.seed).Public, cfg.dialOptions())
	if errors.Is(err, hyperdht.ErrPeerNotFound) {
		err = fmt.Errorf("no side of the pipe listens; start one with --listen: %w", err)
	}
	return c, err
}

// awaitOther returns a function that listens, prints the passphrase, and accepts the first connection.
func (n *network) awaitOther(p program, passphrase string) func(context.Context, pipeConfig) (*dhtnet.Conn, error) {
	return func(ctx context.Context, cfg pipeConfig) (*dhtnet.Conn, error) {
		keys := keysOf(cfg.seed)
		l, err := n.Listen(ctx, hyperdht.ListenOptions{Keys: keys, Admit: only(keys.Public), RelayThrough: cfg.relays()})
		if err != nil {
			return nil, err
		}
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		if _, err := fmt.Fprintf(p.screen, "On the other machine: hyperdht pipe %s\n", passphrase); err != nil {
			return nil, err
		}
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		go l.Close() // one caller is all; it takes seconds, and the end of the node ends it, too
		return c.(*dhtnet.Conn), nil
	}
}

// passOn sends the standard input, and writes what arrives to the standard output, until both directions have ended and all bytes are
// acknowledged. If the other side has ended, a terminal is not waited for.
func (p program) passOn(ctx context.Context, c *dhtnet.Conn) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			if _, err := c.ReceiveUnordered(ctx); err != nil {
				return // the end of the connection
			}
		}
	}()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, p.stdin)
		if err == nil {
			err = c.CloseWrite()
		}
		if err != nil {
			_ = c.Close()
		}
		sent <- err
	}()
	if _, err := io.Copy(p.stdout, c); err != nil {
		return errors.Join(err, c.Close())
	}
	if f, ok := p.stdin.(*os.File); ok && cli.IsTerminal(f) {
		if err := c.CloseWrite(); err != nil {
			return err
		}
	} else {
		select {
		case err := <-sent:
			if err != nil {
				return err
			}
		case <-over:
		}
	}
	<-over
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
