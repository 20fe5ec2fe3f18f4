package sim

import (
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// scrapeTables returns the files of the tables of one scrape in docs/architecture.md, in their order: the scraper's and the client's.
func scrapeTables(t *testing.T) (scraper, client []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## One scrape, file by file\n")
	section, _, _ = strings.Cut(section, "\n## ")
	atScraper, atClient, _ := strings.Cut(section, "| at the client |")
	link := regexp.MustCompile(`\]\(\.\./([^)]+\.go)\)`)
	files := func(table string) (files []string) {
		for line := range strings.SplitSeq(table, "\n") {
			if cells := strings.Split(line, "|"); len(cells) > 2 {
				for _, found := range link.FindAllStringSubmatch(cells[1], -1) {
					files = append(files, found[1])
				}
			}
		}
		return files
	}
	return files(atScraper), files(atClient)
}

// callers returns the files of this module that are on the stack, from the outermost call.
func callers() (files []string) {
	pcs := make([]uintptr, 200)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if pkg, ok := strings.CutPrefix(f.Function, "github.com/dhtprom/dhtprom/"); ok {
			dir, name := path.Split(pkg)
			name, _, _ = strings.Cut(name, ".")
			files = append([]string{dir + name + "/" + path.Base(f.File)}, files...)
		}
		if !more {
			return files
		}
	}
}

// firstMissing returns the first of the files that the stack does not pass after those before it; empty means none.
func firstMissing(files, stack []string) string {
	for _, file := range files {
		i := slices.Index(stack, file)
		if i < 0 {
			return file
		}
		stack = stack[i:]
	}
	return ""
}

// observed is a source that calls at for each request.
type observed struct {
	ports.MetricsSource
	at func()
}

// Scrape implements ports.MetricsSource.
func (o observed) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	o.at()
	return o.MetricsSource.Scrape(r, h)
}

// TestScrapePassesTheFilesOfItsTable compares the tables of docs/architecture.md with the stacks of one scrape: from the datagram to the
// client's source, and from the scraper's stream, which sends at the end of a turn, to its socket. The files of adapters/udp and
// adapters/source have other ones in their place here.
func TestScrapePassesTheFilesOfItsTable(t *testing.T) {
	scraperFiles, clientFiles := scrapeTables(t)
	elsewhere := func(file string) bool {
		return strings.HasPrefix(file, "adapters/udp/") || strings.HasPrefix(file, "adapters/source/")
	}
	last := slices.Index(scraperFiles, "hyperdht/internal/stream/stream.go")
	received := slices.DeleteFunc(clientFiles, elsewhere)
	if last < 0 || len(received) < 9 {
		t.Fatalf("%q, %q", scraperFiles, received)
	}
	sent := slices.DeleteFunc(scraperFiles[last:], elsewhere)
	var sends, collections [][]string
	from := newNodeExporter(t)
	withScenario(t, &Scenario{
		Name: "way", Nodes: 16, For: time.Minute,
		Play: func(w *World) {
			w.bootNodes(w.opts.Nodes)
			s := w.addScraper("scraper", scraperSetup{})
			c := w.addClient(s, clientSetup{at: behind(simnet.PortRestricted()), change: func(cfg *app.ClientConfig) {
				from.loop = cfg.Host
				cfg.Source = observed{from, func() { collections = append(collections, callers()) }}
			}})
			w.until("the client is connected", startWithin, func() bool { return s.app.Sessions()[domain.SessionOpen] == 1 })
			w.net.SetFilter(func(d simnet.Datagram) bool {
				if len(collections) == 0 && d.From.Addr() == s.host.Addr() && d.To.Addr() == c.router.Addr() {
					sends = append(sends, callers())
				}
				return true
			})
			done := false
			s.host.Do(func() {
				scrape.Collect(through{s.app, c.alias}, domain.ScrapeRequest{Within: scrapeWithin}, domain.MaxBody, func(_ scrape.Page, err error) {
					done = err == nil
				})
			})
			w.until("the scrape has ended", scrapeWithin, func() bool { return done })
			w.net.SetFilter(nil)
		},
	})
	play(t, Options{Scenario: "way", Seed: 1})
	if !slices.ContainsFunc(sends, func(stack []string) bool { return firstMissing(sent, stack) == "" }) {
		t.Errorf("no datagram was sent through %q, in this order: %q", sent, sends)
	}
	if len(collections) == 0 {
		t.Error("the source was not asked")
	}
	for _, stack := range collections {
		if missing := firstMissing(received, stack); missing != "" {
			t.Errorf("the request does not pass %s after those before it in %q: %q", missing, received, stack)
		}
	}
}
