// Package machine gives a program the real world: this machine as a host, its wall clock, and the DHT.
package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Clock is the machine's wall clock.
type Clock struct{}

// Now is the time.
func (Clock) Now() time.Time { return time.Now() }

// Node says how a program takes part in the DHT.
type Node struct {
	Bootstrap []string       // nodes to start from; nil for the public network's
	Listen    netip.AddrPort // where the UDP socket is bound
	Keys      domain.KeyPair // what it dials as unless told otherwise; zero for a pair of its own
	// STUN are the values of --stun.server: servers that tell the node its public address, "none", or nothing for the
	// default ones on the public network and none on a private one.
	STUN []string
	// NodesFile is where the DHT nodes known last are kept; "" keeps none. Log is told when that fails.
	NodesFile string
	Log       *slog.Logger
	// Relays are blind relays for connections that find no direct path.
	Relays []domain.PublicKey
	// Paths limits the paths of connections.
	Paths domain.PathRules
}

// Connect makes the network side of a program. It runs on the host's loop.
type Connect func(h host.Host, n Node) (ports.Transport, error)

// Host starts this machine's loop. cleanup ends it.
func Host() (h *udp.Host, cleanup func()) {
	h = udp.New(udp.Options{})
	return h, h.Close
}

var errHostClosed = errors.New("the host is closed")

// On runs f on the loop and returns what it returns.
func On[T any](h *udp.Host, f func() (T, error)) (result T, err error) {
	if !h.Do(func() { result, err = f() }) {
		err = errHostClosed
	}
	return result, err
}

// End runs end on the loop and waits until it is done. On a closed host there is nothing to end.
func End(h *udp.Host, what string, within time.Duration, end func(done func())) error {
	ctx, stop := context.WithTimeout(context.Background(), within)
	defer stop()
	if err := bridge.Wait(ctx, h, end); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not stop within %s", what, within)
	}
	return nil
}
