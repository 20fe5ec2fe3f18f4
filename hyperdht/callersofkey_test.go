package hyperdht_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// manyServers is a node with servers under keys of their own, which know all callers, and others that dial them under one key.
type manyServers struct {
	*world
	host    *simnet.Host
	node    *hyperdht.Node
	hosts   []*simnet.Host
	callers []*hyperdht.Node
	opened  int
}

func newManyServers(t *testing.T, servers, callers int, opts hyperdht.ListenOptions) *manyServers {
	m := &manyServers{world: newWorld(t, 8, simnet.Config{Seed: 74})}
	router := m.net.AddRouter("servers' router", simnet.PortRestricted(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
	m.host = router.AddHost("servers", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
	m.node = m.world.node(m.host, hyperdht.Config{})
	m.until("the servers' node is ready", time.Minute, m.node.Ready)
	for i := range callers {
		h, n := m.join(fmt.Sprintf("caller-%d", i))
		m.hosts, m.callers = append(m.hosts, h), append(m.callers, n)
	}
	opts.Known = func(id.PublicKey) bool { return true }
	for i := range servers {
		opts.Keys = serverKeys(i)
		m.listen(m.host, m.node, opts)
	}
	m.net.Run(time.Second)
	return m
}

func serverKeys(i int) id.KeyPair { return id.KeyPairFromSeed(id.Seed{3, byte(i)}) }

// dial has each caller dial some servers at once, all under the same key.
func (m *manyServers) dial(servers int) {
	keys := keyPair(9)
	for i, n := range m.callers {
		m.hosts[i].Do(func() {
			for j := range servers {
				n.Connect(serverKeys(j).Public, hyperdht.ConnectOptions{Keys: &keys}).OnOpen(func() { m.opened++ })
			}
		})
	}
}

// A scraper dials all clients of one node at once, under its one key: none of them is dropped for the others.
func TestOneCallerDialsManyServersOfANodeAtOnce(t *testing.T) {
	const servers = 40
	m := newManyServers(t, servers, 1, hyperdht.ListenOptions{})
	m.dial(servers)
	m.net.Run(3 * time.Second)
	if refused := m.node.Status().Peering.Refused; m.opened != servers || refused != (hyperdht.Refused{}) {
		t.Errorf("%d of %d dials opened, refused: %+v", m.opened, servers, refused)
	}
}

// A key takes no more than its part of a server, nor of all servers together.
func TestCallersOfAKeyAreBounded(t *testing.T) {
	const perServer, inAll = 8, 128
	for _, tc := range []struct{ servers, callers, want int }{{1, perServer + 3, perServer}, {20, perServer, inAll}} {
		m := newManyServers(t, tc.servers, tc.callers, hyperdht.ListenOptions{AdmitLater: func(*hyperdht.Admission) {}}) // never decides
		m.dial(tc.servers)
		m.net.Run(900 * time.Millisecond)
		dropped := tc.servers*tc.callers - tc.want // some come again through another node, and count as strangers
		if held, refused := size(m.node, "callers"), m.node.Status().Peering.Refused; held < tc.want || int(refused.Share) != dropped {
			t.Errorf("%d servers: %d callers, want %d; %d dropped, want %d", tc.servers, held, tc.want, refused.Share, dropped)
		}
	}
}
