package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestSilenceFromTheStartIsReportedAfterASecond(t *testing.T) {
	boot := netip.MustParseAddrPort("10.0.0.1:49737")
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}, Mode: Ephemeral})
	p := l.peerAt(boot, silent)
	l.net.Run(RequestTimeout - time.Millisecond)
	if l.Silent() {
		t.Fatal("silent before an answer was late")
	}
	l.net.Run(2 * time.Millisecond)
	if !l.Silent() || l.bootstrapped {
		t.Fatalf("silent %t, bootstrapped %t", l.Silent(), l.bootstrapped)
	}
	p.answer = empty
	l.net.Run(2 * time.Second)
	if l.Silent() {
		t.Error("silent, though the bootstrap node answers")
	}
}

// bare is a host without an address.
type bare struct{ *simnet.Host }

func (bare) Addrs() []netip.Addr { return nil }

func TestMachineWithoutAnAddressIsSilentAtOnce(t *testing.T) {
	for _, test := range []struct {
		boot string
		want bool
	}{{"10.0.0.1:49737", true}, {"127.0.0.1:49737", false}} {
		net := simnet.New(simnet.Config{Seed: 1})
		h := net.AddHost("machine", netip.MustParseAddr("10.0.0.2"))
		h.Do(func() {
			e, err := New(bare{h}, Config{Bootstrap: []Bootstrap{BootstrapAddr(netip.MustParseAddrPort(test.boot))}})
			if err != nil {
				t.Fatal(err)
			}
			h.Defer(func() {
				h.Post(func() {
					if e.Silent() != test.want {
						t.Errorf("%s: silent %t", test.boot, e.Silent())
					}
					e.Close()
				})
			})
		})
		net.Run(time.Second)
	}
}
