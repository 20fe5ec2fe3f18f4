package natlab

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/interop/netns"
)

// Other lines between sites and the core than farAway. The round trip between two sites at veryFar lines takes 200 ms. A
// rough line is as long as farAway, and disturbs packets like a loaded radio link.
var (
	veryFar = netns.Link{Delay: 50 * time.Millisecond}
	rough   = netns.Link{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Reorder: 0.02, Loss: 0.02}
)

// twoHomes are two sites, each behind a router that masquerades.
func twoHomes(l *lab, name string) (client, scraper host) {
	l.t.Helper()
	return l.site(name+"-a", masqueradeKind), l.site(name+"-b", masqueradeKind)
}

// at puts two homes at the end of other lines.
func at(line netns.Link) func(l *lab, name string) (client, scraper host) {
	return func(l *lab, name string) (client, scraper host) {
		l.t.Helper()
		client, scraper = twoHomes(l, name)
		for _, h := range []host{client, scraper} {
			l.wire(h.edge).Set(line)
		}
		return client, scraper
	}
}

// startsAt measures from the client's start to the first scrape, for a pair of languages.
func startsAt(line netns.Link, p pair) func(l *lab, name string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		clientHost, scraperHost := at(line)(l, name)
		s := l.scraper(p.scraper, scraperHost)
		_, begun := l.client(p, clientHost, s.key(), "")
		return l.firstScrape(s, begun, clientHost, scraperHost)
	}
}

// clientRestartsAt stops a client as a service manager does, and measures from its next start to the first scrape. The
// client has DHT nodes on its disk.
func clientRestartsAt(line netns.Link) func(l *lab, name string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		ours := pair{golang, golang, false}
		nodes := "--dht.nodes-file=" + filepath.Join(l.t.TempDir(), "nodes")
		clientHost, scraperHost := at(line)(l, name)
		s := l.scraper(golang, scraperHost)
		c, begun := l.client(ours, clientHost, s.key(), "", nodes)
		if o := l.firstScrape(s, begun, clientHost, scraperHost); o.err != nil {
			l.t.Fatalf("not connected in the first place: %v", o.err)
		}
		l.pass(10 * time.Second)
		c.(goClient).stop(l)
		_, begun = l.client(ours, clientHost, s.key(), "", nodes)
		return l.firstScrape(s, begun, clientHost, scraperHost)
	}
}

// scraperRestartsAt is clientRestartsAt for a scraper, which keeps its table, or loses it.
func scraperRestartsAt(line netns.Link, keepsTable bool) func(l *lab, name string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		clientHost, scraperHost := at(line)(l, name)
		s := l.scraper(golang, scraperHost).(goScraper)
		_, begun := l.client(pair{golang, golang, false}, clientHost, s.key(), "")
		if o := l.firstScrape(s, begun, clientHost, scraperHost); o.err != nil {
			l.t.Fatalf("not connected in the first place: %v", o.err)
		}
		l.pass(10 * time.Second)
		s.stop(l)
		if !keepsTable {
			s.storage = l.t.TempDir()
		}
		begun = time.Now()
		return l.firstScrape(l.startScraper(s), begun, clientHost, scraperHost)
	}
}

// stop stops a program as a service manager does, and waits until it has exited.
func (p *process) stop(l *lab) {
	l.t.Helper()
	l.must(p.cmd.Process.Signal(unix.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		l.t.Fatalf("%s does not stop:\n%s", filepath.Base(p.cmd.Path), p.log())
	}
}
