// Package wiring has provider sets for services that are put together by github.com/google/wire, as the programs are.
//
// Injectors name the sets in files that only wire reads; what it generates calls the providers of the packages dhtprom,
// client and scraper themselves. So nothing of this package, nor of wire, gets into a program.
package wiring

import (
	"github.com/google/wire"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/scraper"
)

// Each set needs a configuration: Node a dhtprom.NodeConfig, Client a client.Config, Scraper a scraper.Config; the latter
// two need the node of the first, too. They give what is not started yet, with a cleanup that closes it.
var (
	Node    = wire.NewSet(dhtprom.ProvideNode)
	Client  = wire.NewSet(client.Provide)
	Scraper = wire.NewSet(scraper.Provide)
)
