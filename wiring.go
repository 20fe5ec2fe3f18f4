package dhtprom

import (
	"context"

	"github.com/google/wire"
)

// Provider sets for services that are wired with github.com/google/wire. Each needs its config: NodeConfig, ClientConfig
// or ScraperConfig; the latter two need a context.Context and the node, too.
var (
	NodeSet    = wire.NewSet(ProvideNode)
	ClientSet  = wire.NewSet(ProvideClient)
	ScraperSet = wire.NewSet(ProvideScraper)
)

// ProvideNode is NewNode for wire.
func ProvideNode(cfg NodeConfig) (*Node, func(), error) {
	n, err := NewNode(cfg)
	if err != nil {
		return nil, nil, err
	}
	return n, func() { _ = n.Close() }, nil
}

// ProvideClient is Node.StartClient for wire.
func ProvideClient(ctx context.Context, n *Node, cfg ClientConfig) (*Client, func(), error) {
	c, err := n.StartClient(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return c, func() { _ = c.Close() }, nil
}

// ProvideScraper is Node.StartScraper for wire.
func ProvideScraper(ctx context.Context, n *Node, cfg ScraperConfig) (*Scraper, func(), error) {
	s, err := n.StartScraper(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.Close() }, nil
}
