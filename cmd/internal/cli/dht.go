package cli

import (
	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom"
)

// DHTFlags adds the flags of a DHT node to a command.
func DHTFlags(c *kingpin.CmdClause, cfg *dhtprom.NodeConfig) {
	c.Flag("dht.bootstrap", "Bootstrap node of the DHT, as HOST:PORT, or a port alone for a node on this machine. Repeatable. Default: the public nodes.").
		PlaceHolder("HOST:PORT").SetValue(List("dht.bootstrap", &cfg.Bootstrap, Bootstrap))
	c.Flag("dht.listen-address", "IPv4 address and UDP port of the DHT node. Fails if the port is in use. Port 0 takes 49637 or another free one, never one of a bootstrap node.").
		Default("0.0.0.0:0").SetValue(Value("dht.listen-address", &cfg.Listen, ListenAddr))
	c.Flag("dht.public-address", PublicAddressHelp).PlaceHolder("HOST:PORT").
		SetValue(Value("dht.public-address", &cfg.PublicAddress, PublicAddress))
	c.Flag("dht.port-mapping", PortMappingHelp).Default("auto").SetValue(Value("dht.port-mapping", &cfg.PortMapping, PortMapping))
	c.Flag("dht.udp-offload", OffloadHelp).Default("auto").SetValue(Value("dht.udp-offload", &cfg.NoUDPOffload, Offload))
	c.Flag("stun.server", "STUN server for finding the DHT node's public address, or none. Repeatable. Default: public ones on the public network, none on a private one.").
		PlaceHolder("HOST:PORT").SetValue(List("stun.server", &cfg.STUN, STUNServer))
}
