package interop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// cell is a combination of the implementations of client, scraper and DHT.
type cell struct {
	client, scraper, nodes string
	clients                peers
	scrapers               peers
	net                    testnet
}

func (c cell) String() string {
	return fmt.Sprintf("%s client, %s scraper, %s nodes", c.client, c.scraper, c.nodes)
}

// pureJavaScript cells are left to the authors of the packages.
func (c cell) pureJavaScript() bool {
	return c.client == "JavaScript" && c.scraper == "JavaScript" && c.nodes == "JavaScript"
}

// cells starts a private DHT of either kind and lists all combinations of client, scraper and DHT.
func cells(t *testing.T) (all []cell, strangers map[string]*jspeer.Node) {
	t.Helper()
	p := jspeer.Start(t)
	nets := map[string]testnet{"JavaScript": javaScriptTestnet(t, p), "Go": bootstrapTestnet(t)}
	strangers = map[string]*jspeer.Node{}
	implementations := map[string]peers{"JavaScript": javaScript{}, "Go": ours{}}
	names := []string{"JavaScript", "Go"}
	for _, nodes := range names {
		strangers[nodes] = jspeer.StartNode(p, nets[nodes].dht(nil))
		for _, client := range names {
			for _, scraper := range names {
				c := cell{
					client: client, scraper: scraper, nodes: nodes, net: nets[nodes],
					clients: implementations[client], scrapers: implementations[scraper],
				}
				if !c.pureJavaScript() {
					all = append(all, c)
				}
			}
		}
	}
	return all, strangers
}

const (
	// scrapesInARow is the number of scrapes of a client without a pause.
	scrapesInARow = 100
	// often is the interval of registrations where several are needed.
	often = 3 * time.Second
)

func TestEveryScraperScrapesEveryClient(t *testing.T) {
	t.Parallel()
	all, strangers := cells(t)
	for _, c := range all {
		for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
			t.Run(fmt.Sprint(c, " on ", host), func(t *testing.T) {
				t.Parallel()
				c := c
				if host == "127.0.0.1" {
					// Of a JavaScript testnet, users mostly have a port only.
					c.net = c.net.portsOnly()
				}
				scrapeWell(t, c, host, strangers[c.nodes])
			})
		}
	}
}

// portsOnly returns the network with its bootstrap nodes as ports on this machine, for Go programs.
func (tn testnet) portsOnly() testnet {
	short := testnet{bootstrap: tn.bootstrap}
	for _, b := range tn.bootstrap {
		short.ports = append(short.ports, b[strings.LastIndex(b, ":")+1:])
	}
	return short
}

func scrapeWell(t *testing.T, c cell, host string, stranger *jspeer.Node) {
	const secret, alias = "secret", "us"
	scraper := c.scrapers.scraper(t, c.net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host})
	started := time.Now()
	client := c.clients.client(t, c.net, clientConfig{scraper: scraper.key(), secret: secret, host: host, alias: alias, every: often})
	client.serve(t, "up 1\n", "")
	if !client.registered(t) {
		t.Error("the first registration changed nothing")
	}
	if got, updated := scraper.registered(t); got != alias || !updated {
		t.Errorf("the scraper registered %s, updated %v", got, updated)
	}
	scrapes := func(what, body string, times int) {
		t.Helper()
		for i, r := range scraper.scrape(t, alias, times) {
			if r.reason != "" || r.body != body {
				t.Fatalf("%s, scrape %d: %d bytes, want %d: %s", what, i, len(r.body), len(body), r.reason)
			}
		}
	}
	scrapes("first", "up 1\n", 1)
	t.Logf("from the client's start to its first scrape: %v", time.Since(started).Round(time.Millisecond))
	if got := scraper.aliases(t)[alias]; got != client.key() {
		t.Errorf("the alias leads to %s, want %s", got, client.key())
	}

	// A stranger waits for its timeout while the rest goes on.
	met := stranger.Go("stranger", jspeer.Args{"on": stranger.On, "key": client.key()})

	eight := metrics(8 << 10)
	client.serve(t, eight, "")
	scrapes("in a row", eight, scrapesInARow)
	client.serve(t, "", "")
	scrapes("empty", "", 1)
	large := metrics(5 << 20)
	client.serve(t, large, "")
	scrapes("large", large, 1)

	const reason = "the reason stays here"
	client.serve(t, "", reason)
	for _, r := range scraper.scrape(t, alias, 1) {
		if c.client == "Go" && c.scraper == "Go" {
			if r.reason != "500 "+reason { // as the exporter answers
				t.Errorf("an exporter that fails: %+v", r)
			}
		} else if !strings.Contains(r.reason, "Failed to obtain metrics (uid ") || strings.Contains(r.reason, reason) {
			t.Errorf("a source that throws: %+v", r)
		}
	}
	client.serve(t, "up 1\n", "")
	scrapes("after the failure", "up 1\n", 1)

	if client.registered(t) {
		t.Error("a registration of the same key changed something")
	}
	if got, updated := scraper.registered(t); got != alias || updated {
		t.Errorf("the scraper registered %s again, updated %v", got, updated)
	}
	scrapes("after another registration", "up 1\n", 1)

	impostor := c.clients.client(t, c.net, clientConfig{scraper: scraper.key(), secret: "a guess", host: host, alias: alias})
	if why := impostor.refused(t); !strings.Contains(why, "Unauthorised") {
		t.Errorf("a wrong secret: %s", why)
	}
	scraper.refused(t)
	if got := scraper.aliases(t)[alias]; got != client.key() {
		t.Errorf("a client without the secret has the alias: %s", got)
	}
	scrapes("after the impostor", "up 1\n", 1)

	var how struct {
		Admitted bool
		Code     string
	}
	if err := met(&how); err != nil || how.Admitted || how.Code != "PEER_CONNECTION_FAILED" {
		t.Errorf("a stranger: %+v, %v", how, err)
	}
	client.blocked(t)
}

// metrics returns a page of at least so many bytes.
func metrics(size int) string {
	var page strings.Builder
	for i := 0; page.Len() < size; i++ {
		fmt.Fprintf(&page, "some_metric{line=%q} %d\n", fmt.Sprint(i), i)
	}
	return page.String()
}
