package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// valueSize is the size of the largest value that fits a datagram with its signature on every path, in bytes.
const valueSize = 1000

// put stores a value, and prints where it is found.
func (p program) put(ctx context.Context, cfg putConfig) (err error) {
	value, err := cfg.read(p.stdin)
	if err != nil {
		return err
	}
	seed := noSeed
	if cfg.mutable {
		if seed, err = cfg.ownSeed(p); err != nil {
			return err
		}
	}
	n, err := p.enter(ctx, cfg.node, seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if !cfg.mutable {
		hash, err := n.ImmutablePut(ctx, value)
		if err != nil {
			return err
		}
		return p.println(id.FormatKey32(hash))
	}
	return p.putMutable(ctx, n, seed, cfg.seq, value)
}

func (p program) putMutable(ctx context.Context, n *network, seed domain.Seed, seq *uint64, value []byte) error {
	keys := keysOf(seed)
	if seq == nil {
		stored, err := n.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{})
		next := stored.Seq + 1
		switch {
		case errors.Is(err, hyperdht.ErrNotFound):
			next = 0
		case err != nil:
			return err
		}
		seq = &next
	}
	if _, err := n.MutablePut(ctx, keys, *seq, value); err != nil {
		return fmt.Errorf("%w (sequence number %d)", err, *seq)
	}
	return p.println(keys.Public, *seq)
}

// read returns the value of the argument or of the standard input.
func (c putConfig) read(stdin io.Reader) (value []byte, err error) {
	if c.value != nil {
		value = []byte(*c.value)
	} else if value, err = io.ReadAll(io.LimitReader(stdin, valueSize+1)); err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if len(value) > valueSize {
		return nil, fmt.Errorf("the value is too large: want at most %d bytes", valueSize)
	}
	return value, nil
}

// get prints a value as it is; on a terminal, with the end of the line.
func (p program) get(ctx context.Context, cfg getConfig) (err error) {
	n, err := p.enter(ctx, cfg.node, noSeed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	var value []byte
	if cfg.mutable {
		v, err := n.MutableGet(ctx, cfg.key, hyperdht.MutableGetOptions{})
		if err != nil {
			return err
		}
		p.log.Info("Found", "seq", v.Seq)
		value = v.Value
	} else if value, err = n.ImmutableGet(ctx, cfg.key); err != nil {
		return err
	}
	if cli.IsTerminal(p.stdout) {
		value = append(value, '\n')
	}
	_, err = p.stdout.Write(value)
	return err
}
