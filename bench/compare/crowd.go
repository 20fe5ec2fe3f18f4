package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/bench/internal/systems"
	"github.com/dhtprom/dhtprom/bench/page"
	"github.com/dhtprom/dhtprom/node"
)

const (
	// firstScrapes are registered one by one, and scraped at once.
	firstScrapes = 20
	// settled is the time after which memory is read.
	settled = 2 * time.Second
	// scrapeOnce is the number of scrapes at a time where each alias is scraped once.
	scrapeOnce = 4
	crowdPage  = 8000 // bytes
)

// registering are the numbers of registrations at a time.
var registering = []int{1, 8, 32}

// crowd is a scraper, and one process with many clients.
type crowd struct {
	*systems.Running
	scraper, clients *load.Child
	way              *load.Way
	number           int // of aliases so far
	// single starts a client in a process of its own.
	single func(ctx context.Context) (*load.Child, error)
}

// crowdFigures are the values of the rounds, by row.
type crowdFigures map[string][]float64

func (f crowdFigures) add(row string, value float64) { f[row] = append(f[row], value) }

// newCrowd starts a private DHT, and a folder with a page.
func newCrowd() (c *crowd, bootstrap string, err error) {
	r, err := systems.New()
	if err != nil {
		return nil, "", err
	}
	c = &crowd{Running: r}
	err = os.WriteFile(pageFile(r), []byte(page.New(crowdPage)), 0o600)
	if err == nil {
		var dht *node.DHT
		if dht, err = node.NewDHT(node.DHTConfig{}); err == nil {
			r.OnClose(func() { dht.Close() })
			return c, dht.Bootstrap()[0], nil
		}
	}
	r.Close()
	return nil, "", err
}

// startDhtprom starts a scraper and the crowd.
func startDhtprom(ctx context.Context, o options, c *crowd, bootstrap string) error {
	d, err := c.Dhtprom(ctx, bootstrap)
	if err != nil {
		return err
	}
	e, err := systems.NewExporters(1)
	if err != nil {
		return err
	}
	c.OnClose(e.Close)
	c.scraper = d.Scraper
	c.way = d.Way("dhtprom", "crowd-", nil)
	c.single = func(ctx context.Context) (*load.Child, error) {
		way, err := d.Exporting(1, e.Port)
		if err != nil {
			return nil, err
		}
		return way.Programs[1], way.Await(ctx, 1, 1000)
	}
	c.clients, err = c.Role("crowd", o.self, "role", "crowd", d.Invite, pageFile(c.Running))
	return err
}

// startJavaScript starts the bridge and the crowd.
func startJavaScript(_ context.Context, o options, c *crowd, bootstrap string) error {
	b, err := startBridge(c.Running, o, bootstrap)
	if err != nil {
		return err
	}
	c.scraper, c.way = b.child, b.way("crowd-", nil)
	c.single = func(ctx context.Context) (*load.Child, error) {
		single, err := c.Role("single", "node", o.script, "client", bootstrap, b.key, b.secret, systems.Alias(0), pageFile(c.Running))
		if err == nil {
			err = single.Read(&done{})
		}
		if err != nil {
			return nil, err
		}
		return single, b.way("", nil).Await(ctx, 1, crowdPage)
	}
	c.clients, err = c.Role("crowd", "node", o.script, "crowd", bootstrap, b.key, b.secret, pageFile(c.Running))
	return err
}

// measure adds the figures of one round.
func (c *crowd) measure(ctx context.Context, o options, f crowdFigures, sizes []int) error {
	if err := c.idle(o, f, 0); err != nil {
		return err
	}
	base, private, err := c.scraper.Resident()
	if err != nil {
		return err
	}
	f.add(scraperRow, base/1e6)
	f.add(scraperRow+privateRow, private/1e6)
	if err := c.oneClient(ctx, f); err != nil {
		return err
	}
	if err := c.firstScrapes(ctx, f); err != nil {
		return err
	}
	for i, size := range sizes {
		if i == 0 {
			// All numbers at a time, in equal parts of the first size.
			from := c.number
			for part, parallel := range registering {
				if err := c.register(f, from+(size-from)*(part+1)/len(registering), parallel); err != nil {
					return err
				}
			}
		} else if err := c.register(crowdFigures{}, size, registering[len(registering)-1]); err != nil {
			return err
		}
		if err := c.memory(ctx, f, base); err != nil {
			return err
		}
		if err := c.idle(o, f, size); err != nil {
			return err
		}
	}
	return nil
}

// oneClient measures the memory of a client in a process of its own.
func (c *crowd) oneClient(ctx context.Context, f crowdFigures) error {
	ctx, stop := context.WithTimeout(ctx, systems.Patience)
	defer stop()
	single, err := c.single(ctx)
	if err != nil {
		return err
	}
	time.Sleep(settled)
	resident, private, err := single.Resident()
	f.add(clientRow, resident/1e6)
	f.add(clientRow+privateRow, private/1e6)
	return err
}

// idle measures the processor time of a scraper that does nothing.
func (c *crowd) idle(o options, f crowdFigures, aliases int) error {
	time.Sleep(settled)
	before, err := c.scraper.ProcessorTime()
	if err != nil {
		return err
	}
	time.Sleep(o.idle)
	after, err := c.scraper.ProcessorTime()
	f.add(idleRow(aliases), 100*float64(after-before)/float64(o.idle))
	return err
}

// firstScrapes measures the time from the start of a client to its first page.
func (c *crowd) firstScrapes(ctx context.Context, f crowdFigures) error {
	var took []time.Duration
	for range firstScrapes {
		began := time.Now()
		if err := c.clients.Ask(&timed{}, "%d %d %d", c.number, 1, 1); err != nil {
			return err
		}
		for {
			_, err := c.way.Scrape(ctx, c.number, crowdPage)
			if err == nil {
				break
			}
			if time.Since(began) > systems.Patience {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(began))
		c.number++
	}
	f.add(firstRow, load.Quantile(took, .5))
	return nil
}

// register registers aliases up to a number, several at a time.
func (c *crowd) register(f crowdFigures, until, parallel int) error {
	n := until - c.number
	if n <= 0 {
		return nil
	}
	fmt.Fprintf(os.Stderr, "registering %d aliases, %d at a time\n", n, parallel)
	before, err := c.scraper.ProcessorTime()
	if err != nil {
		return err
	}
	var t timed
	if err := c.clients.Ask(&t, "%d %d %d", c.number, n, parallel); err != nil {
		return err
	}
	after, err := c.scraper.ProcessorTime()
	c.number = until
	f.add(registerRow(parallel), float64(n)/t.Seconds)
	f.add(registerCPURow(parallel), (after-before).Seconds()*1e3/float64(n))
	return err
}

// memory measures the resident memory for each alias, before and after each was scraped once.
func (c *crowd) memory(ctx context.Context, f crowdFigures, base float64) error {
	for _, after := range []string{"", ", after a scrape of each"} {
		if after != "" {
			if err := c.scrapeAll(ctx); err != nil {
				return err
			}
		}
		time.Sleep(settled)
		now, _, err := c.scraper.Resident()
		if err != nil {
			return err
		}
		f.add(memoryRow(c.number)+after, (now-base)/1e3/float64(c.number))
	}
	return nil
}

func (c *crowd) scrapeAll(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, systems.Patience)
	defer stop()
	errs := make(chan error)
	for worker := range scrapeOnce {
		go func() {
			var err error
			for i := worker; i < c.number && err == nil; i += scrapeOnce {
				err = c.way.AwaitTarget(ctx, i, crowdPage) // the bridge may still be connecting
			}
			errs <- err
		}()
	}
	var err error
	for range scrapeOnce {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return err
}
