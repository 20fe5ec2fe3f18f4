package dht

import (
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
)

func TestState(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  hyperdht.Status
		closing bool
		want    string
	}{
		{"no node has answered yet", hyperdht.Status{Online: true}, false, "starting"},
		{"nodes have answered before all of the entry is done", hyperdht.Status{Online: true, Nodes: 2}, false, "online"},
		{"ready", hyperdht.Status{Ready: true, Online: true, Nodes: 2}, false, "online"},
		{"nodes answer badly", hyperdht.Status{Ready: true, Online: true, Degraded: true, Nodes: 2}, false, "degraded"},
		{"no node is left", hyperdht.Status{Ready: true, Online: true}, false, "offline"},
		{"no node answers", hyperdht.Status{Ready: true, Online: true, Silent: true, Nodes: 2}, false, "offline"},
		{"closing", hyperdht.Status{Ready: true, Online: true, Nodes: 2}, true, "closed"},
	} {
		if got := stateOf(c.status, c.closing); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
