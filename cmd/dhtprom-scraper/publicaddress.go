package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
)

const (
	// publicAddressFile, in the storage path, has the address at which clients reach the scraper without the DHT, for invites.
	publicAddressFile = "public-address"
	// publicAddressEvery is the interval at which a running scraper checks it.
	publicAddressEvery = 10 * time.Second
	// maxPublicAddress bounds the size of the file.
	maxPublicAddress = 1 << 10
)

// confirmed returns the public address of a node, if it is an address of this machine's own interfaces at which others reach it. Behind a
// router it is the operator who knows whether it stays.
func confirmed(public netip.AddrPort, own []netip.AddrPort, firewalled bool) (domain.Address, bool) {
	ip := public.Addr()
	mine := slices.ContainsFunc(own, func(a netip.AddrPort) bool { return a.Addr() == ip })
	if firewalled || !mine || !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return domain.Address{}, false
	}
	return domain.Address{Host: ip.String(), Port: public.Port()}, true
}

// keepPublicAddress keeps the file while the scraper runs. A scraper without an address has no file.
func (p *program) keepPublicAddress(ctx context.Context) {
	if p.cfg.storage == "" {
		return // a demonstration
	}
	path := filepath.Join(p.cfg.storage, publicAddressFile)
	check := time.NewTicker(publicAddressEvery)
	defer check.Stop()
	for last := "?"; ; {
		s, err := p.node.Status(ctx)
		if err != nil {
			return // it is closed
		}
		text := ""
		if a := p.cfg.node.PublicAddress; !a.IsZero() {
			text = a.String()
		} else if a, ok := confirmed(s.PublicAddr, s.Addrs, s.Firewalled); ok && p.cfg.node.Paths.Default != domain.RelayOnly {
			text = a.String()
		}
		if text != last {
			last = text
			if err := savePublicAddress(path, text); err != nil {
				p.log.Warn("The public address of this scraper could not be kept for invites", "err", err)
			}
		}
		select {
		case <-check.C:
		case <-ctx.Done():
			return
		}
	}
}

// savePublicAddress writes the file, or removes it if the address is empty. It leaves a file of another kind.
func savePublicAddress(path, text string) error {
	if text != "" {
		return privatefile.Replace(path, privatefile.Content{Text: text + "\n", Limit: maxPublicAddress}, func(old []byte) bool {
			_, err := cli.PublicAddress(strings.TrimSpace(string(old)))
			return err == nil
		})
	}
	_, err := readPublicAddress(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return os.Remove(path)
}

func readPublicAddress(path string) (domain.Address, error) {
	text, err := privatefile.Read(path, maxPublicAddress)
	if err != nil {
		return domain.Address{}, err
	}
	a, err := cli.PublicAddress(strings.TrimSpace(string(text)))
	if err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// invitedAddresses returns the addresses of an invite: those of the flags, or that of the scraper which runs, or ran, with the storage path.
func (c *inviteConfig) invitedAddresses(log *slog.Logger) ([]domain.Address, error) {
	if len(c.addrs) > 0 {
		return c.addrs, nil
	}
	a, err := readPublicAddress(filepath.Join(c.storage, publicAddressFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	log.Info("Clients of this invite dial the scraper at its public address first; --dht.public-address names another one", "address", a.String())
	return []domain.Address{a}, nil
}
