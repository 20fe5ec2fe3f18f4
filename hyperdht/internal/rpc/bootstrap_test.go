package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestParseBootstrap(t *testing.T) {
	ip := netip.MustParseAddr
	tests := []struct {
		text string
		want Bootstrap
	}{
		{"88.99.3.86@node1.hyperdht.org:49737", Bootstrap{ip("88.99.3.86"), "node1.hyperdht.org", 49737}},
		{"node1.hyperdht.org:49737", Bootstrap{Name: "node1.hyperdht.org", Port: 49737}},
		{"127.0.0.1:1", Bootstrap{Addr: ip("127.0.0.1"), Port: 1}},
		{"49737", Bootstrap{Addr: ip("127.0.0.1"), Port: 49737}},
		{"10.0.0.1@10.0.0.2:5", Bootstrap{ip("10.0.0.1"), "10.0.0.2", 5}},
	}
	for _, tt := range tests {
		got, err := ParseBootstrap(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
		if again, err := ParseBootstrap(got.String()); err != nil || again != got {
			t.Errorf("%s: printed as %v, which reads as %+v, %v", tt.text, got, again, err)
		}
	}
}

func TestParseBootstrapRefusesNonsense(t *testing.T) {
	for _, text := range []string{
		"", ":", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:1:2", "nonsense@host:1", "::1@host:1", "1.2.3.4@:x",
	} {
		if got, err := ParseBootstrap(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestBootstrapNodesAreTriedByAddressThenByName(t *testing.T) {
	const name = "node1.example"
	tests := []struct {
		name    string
		text    string
		live    bool // the suggested address answers
		resolve bool
		asked   [2]bool // the suggested address, the name's
	}{
		{"address alone", "10.0.0.1:49737", true, false, [2]bool{true, false}},
		{"name alone", name + ":49737", true, true, [2]bool{false, true}},
		{"unknown name", name + ":49737", true, false, [2]bool{}},
		{"suggested address answers", "10.0.0.1@" + name + ":49737", true, true, [2]bool{true, false}},
		{"suggested address is dead", "10.0.0.1@" + name + ":49737", false, true, [2]bool{false, true}},
		{"both are dead", "10.0.0.1@" + name + ":49737", false, false, [2]bool{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := ParseBootstrap(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			l := newLab(t, Config{Bootstrap: []Bootstrap{b}})
			suggested, named := l.peer(silent), l.peer(empty)
			if tt.live {
				suggested.answer = empty
			}
			if tt.resolve {
				l.net.SetName(name, named.addr.Addr())
			}
			l.net.Run(10 * time.Second)
			got := [2]bool{suggested.count(true, wire.CmdFindNode) > 0, named.count(true, wire.CmdFindNode) > 0}
			if got != tt.asked || !l.Bootstrapped() {
				t.Errorf("asked %v, want %v; bootstrapped %v", got, tt.asked, l.Bootstrapped())
			}
		})
	}
}

func TestDeadBootstrapNodeDoesNotHoldUpTheOthers(t *testing.T) {
	dead, err := ParseBootstrap("10.0.0.1@dead.example:49737")
	if err != nil {
		t.Fatal(err)
	}
	ready := time.Duration(0)
	l := newLab(t, Config{Bootstrap: []Bootstrap{dead, BootstrapAddr(netip.MustParseAddrPort("10.0.0.2:49737"))}})
	l.onEvent(EventReady, func(Event) { ready = l.net.Now() })
	l.peer(silent)
	l.peer(empty)
	l.net.Run(time.Minute)
	if ready == 0 || ready > 2*time.Second { // the first packets left before the peers were there
		t.Errorf("ready after %v", ready)
	}
}
