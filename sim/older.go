package sim

import (
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/ports"
)

// withoutSets makes a scraper one that does not know sets, as those of older versions.
func withoutSets(c *app.ScraperConfig) { c.Transport = setless{c.Transport} }

type setless struct{ ports.ScraperTransport }

func (s setless) ListenAliases(l ports.AliasListen, ready func(error)) (ports.Listener, error) {
	onOpen := l.OnOpen
	l.OnOpen = func(c ports.Conn) ports.AliasHandlers {
		h := onOpen(c)
		h.OnSet = nil
		return h
	}
	return s.ScraperTransport.ListenAliases(l, ready)
}

func (s setless) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	d.OnSet = nil
	return s.ScraperTransport.DialMetrics(d)
}
