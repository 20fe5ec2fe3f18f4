package natlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// report is what this run has measured.
type report struct {
	mu    sync.Mutex
	cells map[string][]outcome // by the names of cells and recoveries
}

var results = report{cells: map[string][]outcome{}}

func (r *report) add(name string, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cells[name] = append(r.cells[name], o)
}

// median returns the middle outcome: a failure counts as later than all others.
func median(all []outcome) outcome {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b outcome) int {
		switch {
		case (a.err != nil) != (b.err != nil):
			if a.err != nil {
				return 1
			}
			return -1
		case a.seconds < b.seconds:
			return -1
		case a.seconds > b.seconds:
			return 1
		}
		return 0
	})
	return all[len(all)/2]
}

func (o outcome) String() string {
	if o.err != nil {
		return "never"
	}
	return fmt.Sprintf("%.1f s, %s", o.seconds, o.path)
}

// matrix is the table of who can be scraped from where.
func (r *report) matrix() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString("| client | scraper |")
	for _, p := range pairs {
		fmt.Fprintf(&b, " %v |", p)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(pairs)) + "\n")
	for _, place := range places() {
		row, any := "", false
		for _, p := range pairs {
			text := ""
			if all := r.cells[cell{place, p}.name()]; len(all) > 0 {
				text, any = median(all).String(), true
			}
			row += " " + text + " |"
		}
		if any {
			fmt.Fprintf(&b, "| %s | %s |%s\n", place.client, place.scraper, row)
		}
	}
	return b.String()
}

// recoveries is the table of how soon it works again.
func (r *report) recoveries() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString("| client | scraper | what happens |")
	columns := pairs[:slices.IndexFunc(pairs, func(p pair) bool { return p.relay })]
	for _, p := range columns {
		fmt.Fprintf(&b, " %v |", p)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	row, any := "", false
	for i, what := range recoveries() {
		text := ""
		if all := r.cells[what.name()]; len(all) > 0 {
			text, any = "never", true
			if o := median(all); o.err == nil {
				text = fmt.Sprintf("%.1f s", o.seconds)
			}
		}
		row += " " + text + " |"
		if i%len(columns) < len(columns)-1 {
			continue
		}
		if any {
			fmt.Fprintf(&b, "| %s | %s | %s |%s\n", what.client.name, what.scraper.name, what.mishap.name, row)
		}
		row, any = "", false
	}
	return b.String()
}

// finish removes the programs, and writes the tables where that was asked for.
func finish(passed bool) error {
	if dir, ok := built.Load().(string); ok {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if !*update {
		return nil
	}
	if !passed {
		return errors.New("-update: the tables were not written, because not everything passed")
	}
	text := fmt.Sprintf(document, *rounds, patience.Seconds(), hopeless.Seconds(), randomPatience.Seconds(), results.matrix(), results.recoveries(), healedSometime.Minutes())
	return os.WriteFile(filepath.Join("..", "..", "docs", "nat-matrix.md"), []byte(text), 0o644)
}

// document is docs/nat-matrix.md.
const document = `# Scraping across NATs

The tests in interop/natlab generate this page with their flag to update it, which takes half an hour.

Measured on the NATs of a Linux kernel: every peer in a separate network namespace, behind routers with nftables, on a DHT
of eight nodes of this implementation and four of the JavaScript package. Links have no delay, so add a few round trips.
"Go" is ` + "`dhtprom-client`" + ` or ` + "`dhtprom-scraper`" + `, "JavaScript" are the published packages (hyperdht 6.34.0,
dht-prom-client 1.1.1, dht-prom-alias-rpc 1.0.3). A column names the client first.

Each cell has the seconds from the start of the client to the first successful scrape, and the path that the scraper's
session took: *direct* where one side is publicly reachable, *punched* through the NATs of both, *lan*, or *relayed*
by a blind relay. For JavaScript scrapers, which do not report it, it is derived from addresses. Medians of %d; "never"
means no scrape within %.0f s, or %.0f s where none is expected, or %.0f s where a NAT is random.

- *firewall*: a router that lets in answers only; the host has a public address.
- *masquerade*: a home router; the port is preserved, so every remote sees the same one.
- *double NAT*: a home router in a carrier's network, both masquerading.
- *random*, *fully random*: masquerading with nftables' flag of that name: every remote sees another port.
- *NAT in a random one*: a home router in the network of a carrier that is fully random.
- The last three rows have both peers behind one router.

Where the JavaScript programs fail and this implementation does not:

- Two peers with random NATs, two guests of a LAN that isolates them, and two customers of one carrier (whose NAT does not
  connect inside hosts to each other) can connect over a relay only. That also works with a JavaScript peer: it is enough
  that the Go side has a relay in ` + "`--dht.relay`" + `.
- A newly started client on an open address and a scraper behind a random NAT: the JavaScript client detects during the
  attempt that it is open, names no address then, and the attempt fails in every other start.

%s
## Recovery

Seconds from the fault to the next successful scrape, measured once. A NAT that reboots loses its connections, as does one
whose address changes, without notifying any peer. Peers are killed without a chance to say goodbye.

%s
"Never" means not within %.0f minutes. Where a random NAT has to be punched again,
the JavaScript programs wait 20 s between two punches, and the Go programs only after a failed one.

The minutes of JavaScript scrapers are the ten that they wait after a few failed attempts, some of which fail because
20 s have not passed; those of JavaScript clients are the time until they announce themselves again.
`
