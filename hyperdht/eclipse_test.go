package hyperdht_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
)

// clique adds hosts with nodes of an attacker.
func (w *world) clique(hosts, ports int) forge.Clique {
	w.t.Helper()
	var all forge.Clique
	for i := range hosts {
		h := w.net.AddHost(fmt.Sprintf("attacker%d", i), netip.AddrFrom4([4]byte{101, 7, 0, byte(i)}))
		for port := range ports {
			at := netip.AddrPortFrom(h.Addr(), uint16(1000+port))
			sock, err := h.OpenSocket(at)
			if err != nil {
				w.t.Fatal(err)
			}
			sock.OnReceive(func(from netip.AddrPort, b []byte) {
				if answer := all.Answer(at, from, b); answer != nil {
					sock.Send(from, 0, answer)
				}
			})
			all = append(all, at)
		}
	}
	return all
}

// A server whose node starts with nodes of an earlier run that are all an attacker's is found soon all the same.
func TestServersAreAnnouncedBesideAnAttackersNodes(t *testing.T) {
	w := newWorld(t, 60, simnet.Config{Seed: 73})
	first, err := netip.ParseAddrPort(w.bootstrap[0])
	if err != nil {
		t.Fatal(err)
	}
	w.net.SetName("entry.example", first.Addr())
	sh, seeker := w.join("seeker")
	evil := w.clique(3, 8)
	h := w.host("server")
	n := w.node(h, hyperdht.Config{Bootstrap: []string{"entry.example:49737"}, Nodes: evil[:16]})
	w.until("the server's node is ready", time.Minute, n.Ready)
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	found := false
	w.net.Run(15 * time.Second)
	done := false
	sh.Do(func() {
		seeker.FindPeer(keyPair(1).Public, func(hyperdht.Found) { found = true }, func(error) { done = true })
	})
	w.until("looked up", time.Minute, func() bool { return done })
	if !found {
		t.Error("the server is announced to the attacker alone 15 s after its start")
	}
}
