package hyperdht

import (
	"net/netip"
	"testing"
)

// Nothing can be sent to port 0, so a packet from there shows no path, whatever the state of an attempt.
func TestPacketsFromPortZeroShowNoPath(t *testing.T) {
	from := netip.MustParseAddrPort("100.128.0.2:0")
	if (&incoming{}).firewall(nil, from) {
		t.Error("the server's side takes it")
	}
	if (&connector{}).firewall(nil, from) {
		t.Error("the dialler takes it")
	}
}
