package rpc

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// clique adds hosts with nodes of an attacker.
func (s *swarm) clique(hosts, ports int) forge.Clique {
	s.t.Helper()
	var all forge.Clique
	for i := range hosts {
		h := s.net.AddHost(fmt.Sprintf("attacker%d", i), netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}))
		for port := range ports {
			at := netip.AddrPortFrom(h.Addr(), uint16(1000+port))
			sock, err := h.OpenSocket(at)
			if err != nil {
				s.t.Fatal(err)
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

// All nodes that were kept from an earlier run are an attacker's. The bootstrap nodes lead to the others all the same, soon
// after the start, whatever those that are known answer.
func TestKnownNodesOfAnAttackerDoNotEclipse(t *testing.T) {
	for _, bootstrap := range []string{"10.0.0.0:49737", "entry.example:49737", "10.0.0.0@entry.example:49737"} {
		t.Run(bootstrap, func(t *testing.T) {
			s := newSwarm(t, simnet.Config{Seed: 51, Link: link})
			s.grow(39)
			s.net.SetName("entry.example", addrOf(0))
			evil := s.clique(4, 10)
			b, err := ParseBootstrap(bootstrap)
			if err != nil {
				t.Fatal(err)
			}
			joined := 0
			m := s.add(Config{Mode: Ephemeral, Nodes: evil[:MaxKnown], Bootstrap: []Bootstrap{b}})
			m.onEvent(EventJoined, func(Event) { joined++ })
			if !s.net.RunUntil(m.Bootstrapped, time.Minute) {
				t.Fatal("not bootstrapped")
			}
			first := s.find(m, target)
			s.net.Run(10 * time.Second)
			for i := range 10 {
				target := id.Target(id.Hash([]byte{byte(i)}))
				got := s.find(m, target)
				for _, want := range s.nearest(target, 3) {
					if !slices.Contains(got, want) {
						t.Errorf("target %d: %v is not found ten seconds after the start", i, want)
					}
				}
			}
			honest := func(a netip.AddrPort) bool { return !slices.Contains(evil, a) }
			if !slices.ContainsFunc(first, honest) && joined == 0 {
				t.Error("the first lookup met the attacker only, and no event reports that there are other nodes")
			}
		})
	}
}
