package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// watchNetwork reports when no DHT node answers, and when one does again.
func watchNetwork(node ports.Node, onEvent func(domain.Event)) (cancel func()) {
	return node.OnNetwork(func(n ports.Network) {
		if n.Answering {
			tell(onEvent, domain.NetworkFound{Nodes: n.Nodes})
			return
		}
		tell(onEvent, domain.NetworkLost{BootstrapNodes: n.BootstrapNodes, Own: n.Own, NoIPv4: n.NoIPv4, TURN: n.TURN})
	})
}
