package natlab

import (
	"fmt"
	"time"
)

// webPort is the only UDP port that networks of onePort let out.
const webPort = 443

// onePort are a site whose router lets out UDP to webPort only, and a scraper on that port of a public address.
func onePort(l *lab, name string) (client host, s goScraper) {
	l.t.Helper()
	client = l.site(name+"-a", masqueradeKind)
	l.must(client.edge.run(fmt.Sprintf(`
table ip onlyport {
	chain forward {
		type filter hook forward priority filter - 1;
		iifname "lan" udp dport != %d drop;
	}
}`, webPort), "nft", "-f", "-"))
	at := l.site(name+"-b", openKind)
	flags := []string{fmt.Sprintf("--dht.listen-address=0.0.0.0:%d", webPort), fmt.Sprintf("--dht.public-address=%s:%d", at.addr, webPort)}
	return client, l.scraper(golang, at, flags...).(goScraper)
}

// startOnePort starts a client that knows the scraper's address, and no other one that it reaches.
func (l *lab) startOnePort(h host, s goScraper) (goClient, time.Time) {
	l.t.Helper()
	c, begun := l.client(pair{golang, golang, false}, h, fmt.Sprintf("%s@%s:%d", s.key(), s.host.addr, webPort), "")
	return c.(goClient), begun
}

func startsOnePort(l *lab, name string) outcome {
	l.t.Helper()
	h, s := onePort(l, name)
	_, begun := l.startOnePort(h, s)
	return l.firstScrape(s, begun, h, s.host)
}

func clientRestartsOnePort(l *lab, name string) outcome {
	l.t.Helper()
	h, s := onePort(l, name)
	c, begun := l.startOnePort(h, s)
	if o := l.firstScrape(s, begun, h, s.host); o.err != nil {
		l.t.Fatalf("not connected in the first place: %v", o.err)
	}
	l.pass(10 * time.Second)
	c.stop(l)
	_, begun = l.startOnePort(h, s)
	return l.firstScrape(s, begun, h, s.host)
}

func scraperRestartsOnePort(l *lab, name string) outcome {
	l.t.Helper()
	h, s := onePort(l, name)
	_, begun := l.startOnePort(h, s)
	if o := l.firstScrape(s, begun, h, s.host); o.err != nil {
		l.t.Fatalf("not connected in the first place: %v", o.err)
	}
	l.pass(10 * time.Second)
	s.stop(l)
	begun = time.Now()
	return l.firstScrape(l.startScraper(s), begun, h, s.host)
}
