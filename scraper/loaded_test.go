package scraper_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/scraper"
)

// slowStore answers Load when the test does.
type slowStore struct {
	*portstest.Store
	asked chan func()
}

func (s slowStore) Load(done func([]domain.Entry, []error, error)) {
	s.asked <- func() { s.Store.Load(done) }
}

func TestScraperIsLoadedWithTheStoreAndWithoutADHT(t *testing.T) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	asked := make(chan func(), 1)
	s, err := scraper.New(n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OpenStore: func(loop host.Host) (ports.AliasStore, error) {
			return slowStore{portstest.NewStore(loop, portstest.NewDisk()), asked}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Start(context.Background()) }() // it waits for the DHT
	load := <-asked
	at, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	if err := s.Loaded(at); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("loaded before the store answers: %v", err)
	}
	if err := n.Do(t.Context(), func() error { load(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Loaded(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestScraperThatClosesBeforeItIsLoadedIsClosed(t *testing.T) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := scraper.New(n, scraper.Config{Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Loaded(t.Context()); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
}
