package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

const (
	// announceEach is the interval of announcements: DHT nodes drop them after twenty minutes. One that fails is repeated sooner.
	announceEach   = 10 * time.Minute
	announceFailed = 10 * time.Second
	// goodbyeTime bounds the removal of an announcement at the end.
	goodbyeTime = 3 * time.Second
)

// announce announces a key under a topic until ctx ends.
func (p program) announce(ctx context.Context, cfg topicConfig) (err error) {
	seed, err := cfg.ownSeed(p)
	if err != nil {
		return err
	}
	keys := keysOf(seed)
	n, err := p.stay(ctx, cfg.node, seed)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	for said := false; ; {
		wait := announceEach
		switch err := n.Announce(ctx, cfg.topic.target, keys, hyperdht.AnnounceOptions{}); {
		case ctx.Err() != nil:
		case err != nil:
			wait = announceFailed
			p.log.Warn("The announcement failed", "err", err, "retry", wait)
		case !said:
			said = true
			if err := p.println(keys.Public); err != nil {
				return err
			}
			p.log.Info("Announced", "topic", cfg.topic.String(), "public_key", keys.Public.String())
		}
		select {
		case <-time.After(wait):
			continue
		case <-ctx.Done():
		}
		break
	}
	p.log.Info("Stopping")
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
	defer stop()
	if err := n.Unannounce(end, cfg.topic.target, keys); err != nil {
		p.log.Warn("The announcement was not removed", "err", err)
	}
	return nil
}

// stopped returns the error of a command, or nil if it ended because ctx has.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lookup prints the keys under a topic, one on each line.
func (p program) lookup(ctx context.Context, cfg topicConfig) (err error) {
	n, err := p.enter(ctx, cfg.node, noSeed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	peers, err := n.Lookup(ctx, cfg.topic.target)
	if err != nil {
		return err
	}
	if len(peers) == 0 {
		return fmt.Errorf("no key is announced under the topic %s", cfg.topic)
	}
	for _, peer := range peers {
		line := append([]string{peer.PublicKey.String()}, texts(peer.RelayAddrs)...)
		if err := p.println(strings.Join(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func texts(addrs []netip.AddrPort) (all []string) {
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}
