package dhtnet_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// flushWaits returns the number of calls that a swarm holds for flushes.
func flushWaits(t *testing.T, s *dhtnet.Swarm) (n int) {
	t.Helper()
	if err := s.Do(testContext(t), func(s *swarm.Swarm) {
		s.Sizes(func(what string, held, _ int) {
			if strings.HasPrefix(what, "flushes of") || strings.HasPrefix(what, "calls that wait for refreshes") {
				n += held
			}
		})
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Without a network no flush ends, until its context does; the swarm holds nothing of it then.
func TestFlushEndsWithItsContext(t *testing.T) {
	h := udp.New(udp.Options{})
	defer h.Close()
	var n *hyperdht.Node
	var err error
	h.Do(func() {
		n, err = hyperdht.New(h, hyperdht.Config{Bootstrap: []string{"127.0.0.1:1"}, Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	})
	if err != nil {
		t.Fatal(err)
	}
	s := startSwarm(t, dhtnet.New(h, n), swarm.Config{})
	topic := must(s.Join(testContext(t), id.Target{9}, swarm.JoinOptions{Mode: swarm.ServerOnly}))(t)
	for name, flush := range map[string]func(context.Context) error{"swarm": s.Flush, "topic": topic.Flush} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- flush(ctx) }()
		for flushWaits(t, s) == 0 {
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if waits := flushWaits(t, s); waits != 0 {
			t.Errorf("%s: %d calls wait", name, waits)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, flush := range map[string]func(context.Context) error{"swarm": s.Flush, "topic": topic.Flush} {
		if err := flush(testContext(t)); !errors.Is(err, swarm.ErrClosed) {
			t.Errorf("%s, closed: %v", name, err)
		}
	}
}
