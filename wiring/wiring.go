// Package wiring has provider sets for services that use github.com/google/wire, as the programs do.
//
// Injectors name the sets in files that only wire reads; the generated code calls the providers of the packages dhtprom, client
// and scraper themselves. So neither this package nor wire is linked into a program.
package wiring

import (
	"github.com/google/wire"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/scraper"
)

// Each set needs a configuration: Node a dhtprom.NodeConfig, Client a client.Config, Scraper a scraper.Config; the latter two
// also need the node of the first. They provide values that are not started yet, with a cleanup that closes them.
var (
	Node    = wire.NewSet(dhtprom.ProvideNode)
	Client  = wire.NewSet(client.Provide)
	Scraper = wire.NewSet(scraper.Provide)
)
