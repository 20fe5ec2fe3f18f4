package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// addLiars adds nodes that see each peer at another port, and are those that an actor has heard from last.
func (l *lab) addLiars(n int, of *actor) {
	for i := range byte(n) {
		h := l.net.AddHost(fmt.Sprintf("liar-%d", i), netip.AddrFrom4([4]byte{100, 128, 4, i + 1}))
		self := netip.AddrPortFrom(h.Addr(), mainPort)
		liar := &forge.Liar{Self: self, Random: rand.NewChaCha8([32]byte{i})}
		h.Do(func() {
			sock, err := h.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), mainPort))
			if err != nil {
				l.t.Fatal(err)
			}
			sock.OnReceive(func(from netip.AddrPort, request []byte) {
				for _, d := range liar.Receive(from, request) {
					sock.Send(d.To, 0, d.Payload)
				}
			})
			for n, node := range l.dht {
				sock.Send(node.addr(), 0, liar.Greeting(node.addr(), uint16(n)))
			}
		})
	}
	l.net.Run(time.Second)
	of.host.Do(func() { of.node.Lookup(id.PublicKey{}.Target(), func(hyperdht.Found) {}, func(error) {}) })
	l.net.Run(time.Second)
}

// Two of the four nodes that a socket is asked about may lie about ports, which looks like a random NAT to the reference implementation.
func TestTwoLiarsOfFourLeaveAConsistentNATConsistent(t *testing.T) {
	l := newLab(t, 5, cone(), public())
	l.addLiars(2, l.dialler)
	var report hyperdht.NATReport
	l.dialler.host.Do(func() {
		if err := l.dialler.node.ClassifyNAT(func(r hyperdht.NATReport) { report = r }); err != nil {
			t.Fatal(err)
		}
	})
	l.run(5 * time.Second)
	lies := 0
	for _, s := range report.Samples[:min(4, len(report.Samples))] {
		if s.Seen != netip.AddrPortFrom(l.dialler.router.Addr(), report.Local.Port()) {
			lies++
		}
	}
	if lies != 2 {
		t.Fatalf("%d of the first four lie: %v", lies, report.Samples)
	}
	if report.Kind != hyperdht.NATConsistent {
		t.Errorf("%v of %v", report.Kind, report.Samples)
	}
}
