package interop_test

import (
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// The packages know nothing of the channel for scrapes, which dhtprom opens first on each connection for metrics.

func TestJavaScriptScraperRejectsTheScrapeChannel(t *testing.T) {
	t.Parallel()
	const host, secret, alias = "127.0.0.1", "secret", earlierAlias
	net := javaScriptTestnet(t, jspeer.Start(t))
	scraper := javaScript{}.scraper(t, net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host}).(*jsScraper)
	client := ours{}.client(t, net, clientConfig{scraper: scraper.key(), secret: secret, host: host, alias: alias, every: often}).(*goClient)
	client.serve(t, "up 1\n", "")
	client.registered(t)
	scraped(t, scraper, alias, "up 1\n")
	first := scraper.s.Channels(alias)
	if slices.Contains(first.Protocols, muxscrape.Protocol) || !slices.Contains(first.Protocols, "prometheus-metrics") ||
		first.Known != len(first.Protocols) || first.Rejected > 1 {
		t.Errorf("after the first scrape: %+v", first)
	}

	for i, r := range scraper.scrape(t, alias, 3*scrapesInARow) {
		if r.body != "up 1\n" {
			t.Fatalf("scrape %d: %+v", i, r)
		}
	}
	client.serve(t, "", "out of ink")
	if r := scraper.scrape(t, alias, 1)[0]; r.reason == "" {
		t.Errorf("an exporter that fails: %+v", r)
	}
	client.serve(t, "up 2\n", "")
	client.registered(t)
	scraped(t, scraper, alias, "up 2\n")
	if last := scraper.s.Channels(alias); !reflect.DeepEqual(last, first) {
		t.Errorf("the connection holds %+v, after the first scrape %+v", last, first)
	}
	if all := scraper.s.Aliases(); len(all) != 1 || all[0].Opens != 1 {
		t.Errorf("the scraper connected more than once: %+v", all)
	}
}

func TestJavaScriptClientIsScrapedByTheMethod(t *testing.T) {
	t.Parallel()
	const host, secret, alias = "127.0.0.1", "secret", earlierAlias
	net := javaScriptTestnet(t, jspeer.Start(t))
	scraper := ours{}.scraper(t, net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host}).(*goScraper)
	client := javaScript{}.client(t, net, clientConfig{scraper: scraper.key(), secret: secret, host: host, alias: alias}).(*jsClient)
	collections := 0
	// serve changes what the client serves, and checks that each scrape so far was one collection.
	serve := func(source jspeer.Args) {
		t.Helper()
		var since struct{ Asked int }
		source["on"] = client.c.On
		client.c.Call("source", source, &since)
		if since.Asked != collections {
			t.Errorf("%d collections for %d scrapes", since.Asked, collections)
		}
	}
	collected := func(what, body string) {
		t.Helper()
		collections++
		scraper.wants(t, what, textType, body)
	}
	serve(jspeer.Args{"text": "up 1\n"})
	client.registered(t)

	// Requests that are sent before it is known that the client has no channel for them are sent once more, by the method.
	const together = 8
	var first sync.WaitGroup
	for range together {
		first.Go(func() { scraper.wants(t, "first scrapes", textType, "up 1\n") })
	}
	first.Wait()
	collections = together
	serve(jspeer.Args{"text": "up 2\n"})
	for range scrapesInARow {
		collected("in a row", "up 2\n")
	}

	serve(jspeer.Args{"text": "up 3\n", "delayMs": 1500})
	started := time.Now()
	collected("a slow exporter", "up 3\n")
	t.Logf("a scrape of an exporter that takes 1.5 s took %v", time.Since(started).Round(time.Millisecond))
	serve(jspeer.Args{"hang": true})
	collections++
	scraper.answers(t, "an exporter that hangs", "", "1", http.StatusGatewayTimeout, "timed out")
	serve(jspeer.Args{"fail": "out of ink"})
	collections++
	scraper.answers(t, "an exporter that fails", "", "60", http.StatusBadGateway, "Failed to obtain metrics (uid ")
	serve(jspeer.Args{"text": "up 4\n# EOF\n"})
	scraper.answers(t, "a query", "?collect[]=x", "60", http.StatusBadRequest, "it is of an older version, or of another implementation")
	scraper.wants(t, "after the failures", openType, "up 4\n# EOF\n")
	collections++
	serve(jspeer.Args{})
	if n := client.c.Count("connection-open"); n != 1 {
		t.Errorf("the client was connected %d times", n)
	}
}
