package web

import (
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

func TestDetoursAreExplained(t *testing.T) {
	const found = "No direct path was found: "
	for name, c := range map[string]struct {
		is   domain.Detour
		own  string
		want string
	}{
		"no relay":   {own: "random"},
		"a rule":     {is: domain.Detour{Reason: domain.DetourRule}, want: "A path rule of this scraper allows nothing but a relay (--dht.path)."},
		"a takeover": {is: domain.Detour{Reason: domain.DetourTakeover}, want: "The direct path stopped answering, lost many packets or became slow, and the relay in reserve took over. The connection returns when the direct path works again."},
		"searching": {
			is: domain.Detour{Reason: domain.DetourSearching, Local: "unknown", Remote: "unknown"}, own: "consistent",
			want: "Direct paths are still being tried. The client is behind a NAT or firewall of unknown kind; this scraper is behind a NAT with consistent ports.",
		},
		"a known cause": {
			is: domain.Detour{Reason: domain.DetourNotFound, Local: "consistent", Remote: "random", Cause: domain.CausePunchFailed}, own: "open",
			want: found + "no packet got through to the client. The client is behind a NAT with random ports; this scraper is behind a NAT with consistent ports.",
		},
		"the client knows": {
			is: domain.Detour{Reason: domain.DetourNotFound, Local: "open", Remote: "consistent"},
			want: "No direct path was found. The client opened this connection, so its side has the reason: dhtprom-client doctor shows it." +
				" The client is behind a NAT with consistent ports; this scraper is at an open address.",
		},
		"two random NATs": {is: domain.Detour{Reason: domain.DetourNotFound, Remote: "random"}, own: "random", want: found + "both NATs give every connection another port."},
	} {
		if got := detourWords(c.is, c.own); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
