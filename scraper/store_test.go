package scraper_test

import (
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/scraper"
)

func TestScraperKeepsItsAliasesInAStoreOfOnesOwn(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	defer closeAll()
	disk, opened := portstest.NewDisk(), 0
	cfg := scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OpenStore: func(loop host.Host) (ports.AliasStore, error) {
			opened++
			return portstest.NewStore(loop, disk), nil
		},
	}
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := scraper.Start(ctx, n, cfg)
	if err != nil {
		t.Fatal(err)
	}
	invite, err := s.Invite(network.Bootstrap...)
	if err != nil {
		t.Fatal(err)
	}
	exampleClient(ctx, invite, "shop-7", "x 1\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = scraper.Start(ctx, n, cfg); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Aliases(ctx); err != nil || len(all) != 1 || all[0].Alias != "shop-7" || opened != 2 {
		t.Errorf("%+v, %v, opened %d times", all, err, opened)
	}
}

func TestStoreThatCannotBeOpenedIsAnErrorOfItsOwn(t *testing.T) {
	_, network, closeAll := exampleNetwork()
	defer closeAll()
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	broken := errors.New("the store is broken")
	_, err = scraper.New(n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OpenStore: func(host.Host) (ports.AliasStore, error) { return nil, broken },
	})
	if _, ok := errors.AsType[*scraper.StoreError](err); !ok || !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
