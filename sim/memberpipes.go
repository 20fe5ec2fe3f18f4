package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// memberPipes carry scrapes from one member of a group to another, as HTTP does, whole pages at a time.
type memberPipes struct {
	g    *scraperGroup
	from *scraper
}

// Source implements ports.Members.
func (p *memberPipes) Source(m domain.Member, a domain.Alias) ports.MetricsSource {
	return &memberPipe{p, strings.TrimPrefix(m.URL, "http://"), a}
}

type memberPipe struct {
	*memberPipes
	to    string
	alias domain.Alias
}

const (
	// pipeDelay is the delay of a request between members, and of its answer.
	pipeDelay = 2 * time.Millisecond
	// pipeConnect is the time after which a machine that does not answer counts as unreachable.
	pipeConnect = time.Second
	pipePage    = 1 << 20
)

// Scrape implements ports.MetricsSource.
func (p *memberPipe) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	w, host, boot := p.g.w, p.from.host, p.from.boots
	c := &piped{}
	var limit, connect interface{ Stop() bool }
	end := func(page scrape.Page, err error) {
		if c.over || p.from.boots != boot {
			return
		}
		c.over = true
		limit.Stop()
		connect.Stop()
		c.Scrape = scrape.Send(host, page, err, h)
	}
	back := func(page scrape.Page, err error) {
		w.net.AfterFunc(pipeDelay, func() {
			if p.from.boots == boot && !host.Down() {
				host.Do(func() { end(page, err) })
			}
		})
	}
	limit = host.AfterFunc(r.Within, func() {
		end(scrape.Page{}, &domain.TimeoutError{Waiting: "the other member", After: r.Within})
	})
	connect = host.AfterFunc(min(pipeConnect, r.Within/4), func() {
		if !c.arrived {
			end(scrape.Page{}, fmt.Errorf("%w: %s", domain.ErrNoAnswer, p.to))
		}
	})
	w.net.AfterFunc(pipeDelay, func() {
		switch m := p.member(); {
		case m == nil || m.host.Down():
		case m.app == nil || m.node == nil: // the machine refuses the connection
			c.arrived = true
			back(scrape.Page{}, fmt.Errorf("%w: %s refuses", domain.ErrNoAnswer, p.to))
		default:
			c.arrived = true
			r.PassedOn = true
			m.host.Do(func() {
				scrape.Collect(requested{m, p.alias}, r, pipePage, func(page scrape.Page, err error) {
					back(page, passon.Across(err))
				})
			})
		}
	})
	return c
}

func (p *memberPipe) member() *scraper {
	for _, m := range p.g.members {
		if m.name == p.to {
			return m
		}
	}
	return nil
}

// requested is a member as a source of an alias.
type requested struct {
	m     *scraper
	alias domain.Alias
}

// Scrape implements ports.MetricsSource.
func (r requested) Scrape(what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return r.m.app.Request(r.alias, what, h)
}

// piped is a scrape under way.
type piped struct {
	ports.Scrape
	arrived, over bool
}

// Cancel implements ports.Scrape.
func (p *piped) Cancel() {
	p.over = true
	if p.Scrape != nil {
		p.Scrape.Cancel()
	}
}

// Consumed implements ports.Scrape.
func (p *piped) Consumed(n int) {
	if p.Scrape != nil {
		p.Scrape.Consumed(n)
	}
}
