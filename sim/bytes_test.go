package sim

import (
	"context"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	real "github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/bench/page"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

const (
	// leastSaving is the factor by which compression reduces the bytes of scrapes of node_exporter.
	leastSaving = 3.5
	// headerBytes are the headers of IPv4 and UDP.
	headerBytes = 20 + 8
	// steadyScrapes are measured, after a few others.
	steadyScrapes = 40
)

// nodeExporter is a source whose pages are those of node_exporter, as a client's source compresses them.
type nodeExporter struct {
	loop          host.Loop
	plain, zipped scrape.Page
}

// newNodeExporter collects the pages from a real source.
func newNodeExporter(t *testing.T) *nodeExporter {
	t.Helper()
	h := udp.New(udp.Options{})
	t.Cleanup(h.Close)
	from := real.Func(h, func(context.Context) (string, error) { return page.NodeExporter(), nil })
	collect := func(r domain.ScrapeRequest) scrape.Page {
		r.Within = time.Minute
		done := make(chan scrape.Page, 1)
		h.Post(func() {
			scrape.Collect(from, r, domain.MaxBody, func(p scrape.Page, err error) {
				if err != nil {
					t.Error(err)
				}
				done <- p
			})
		})
		return <-done
	}
	return &nodeExporter{plain: collect(domain.ScrapeRequest{}), zipped: collect(domain.ScrapeRequest{Compress: true})}
}

// Scrape implements ports.MetricsSource.
func (n *nodeExporter) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	if r.Compress {
		return scrape.Send(n.loop, n.zipped, nil, h)
	}
	return scrape.Send(n.loop, n.plain, nil, h)
}

// through is a scraper's alias as a source.
type through struct {
	from  *app.Scraper
	alias domain.Alias
}

// Scrape implements ports.MetricsSource.
func (th through) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return th.from.Request(th.alias, r, h)
}

// countBytes counts the bytes between a client and its scraper until count is called, headers included.
func (w *World) countBytes(c *client) (count func() int) {
	n := 0
	w.net.SetFilter(func(d simnet.Datagram) bool {
		up := d.From.Addr() == c.host.Addr() && d.To.Addr() == c.scraper.host.Addr()
		if down := d.From.Addr() == c.scraper.host.Addr() && d.To.Addr() == c.router.Addr(); up || down {
			n += len(d.Payload) + headerBytes
		}
		return true
	})
	return func() int {
		w.net.SetFilter(nil)
		return n
	}
}

// scrapeSteadily scrapes each 15 s and returns the bytes of a scrape on the line: packets in both directions, with acknowledgements and
// all that keeps the connection open.
func (w *World) scrapeSteadily(c *client, compress bool, want *scrape.Page) int {
	var count func() int
	for i := range 5 + steadyScrapes {
		if i == 5 {
			count = w.countBytes(c)
		}
		done := false
		c.scraper.host.Do(func() {
			scrape.Collect(through{c.scraper.app, c.alias}, domain.ScrapeRequest{Within: scrapeWithin, Compress: compress}, domain.MaxBody, func(p scrape.Page, err error) {
				done = true
				w.expect(err == nil && len(p.Body) == len(want.Body) && p.Coding == want.Coding, "a page of %d bytes in the coding %q, %v", len(p.Body), p.Coding, err)
			})
		})
		w.run(15 * time.Second)
		w.expect(done, "a scrape takes longer than 15 s")
	}
	return count() / steadyScrapes
}

// TestCompressionSavesBytesOnTheLine counts all bytes between a client behind a NAT and its scraper.
func TestCompressionSavesBytesOnTheLine(t *testing.T) {
	from := newNodeExporter(t)
	withScenario(t, &Scenario{
		Name: "bytes", Nodes: 16, For: time.Minute,
		Play: func(w *World) {
			w.bootNodes(w.opts.Nodes)
			s := w.addScraper("scraper", scraperSetup{})
			c := w.addClient(s, clientSetup{at: behind(simnet.PortRestricted()), change: func(cfg *app.ClientConfig) {
				from.loop = cfg.Host
				cfg.Source = from
			}})
			w.until("the client is connected", startWithin, func() bool { return s.app.Sessions()[domain.SessionOpen] == 1 })
			plain, zipped := w.scrapeSteadily(c, false, &from.plain), w.scrapeSteadily(c, true, &from.zipped)
			saving := float64(plain) / float64(zipped)
			w.result.row("bytes of a scrape", "%d of %d on the line, compressed %d of %d: %.2f times fewer",
				plain, len(from.plain.Body), zipped, len(from.zipped.Body), saving)
			w.expect(saving >= leastSaving, "compression saves a factor of %.2f: %d bytes on the line in place of %d", saving, zipped, plain)
		},
	})
	play(t, Options{Scenario: "bytes", Seed: 1})
}
