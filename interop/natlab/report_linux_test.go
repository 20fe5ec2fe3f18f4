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

// report holds the results of this run.
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

// matrix returns the table of places that can be scraped from each other.
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

// recoveries returns the table of recovery times.
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

// finish removes the programs, and writes the tables if the flags request it.
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
const document = `# NAT matrix

Which clients can be scraped from where. The tests in interop/natlab write this page if run with ` + "`-update`" + `, which takes half an hour.

Measured on the NATs of a Linux kernel: every peer in a network namespace of its own, behind routers with nftables, on
a DHT of eight Go nodes and four of the JavaScript package's. Links have no delay, so add a few of your own round trips.
"Go" is ` + "`dhtprom-client`" + ` or ` + "`dhtprom-scraper`" + `, "JavaScript" are the published packages (hyperdht 6.34.0,
dht-prom-client 1.1.1, dht-prom-alias-rpc 1.0.3). A column names the client first.

Each cell has the seconds from the start of the client to the first successful scrape, and the path that the scraper's
session took: *direct* where one side is reachable from everywhere, *punched* through the NATs of both, *lan*, or *relayed*
by a blind relay. For JavaScript scrapers, which do not report it, it is concluded from addresses. Medians of %d; "never"
means no scrape within %.0f s, or %.0f s where nothing is expected, or %.0f s where a NAT is random.

- *firewall*: a router that only lets answers in; the host has a public address.
- *masquerade*: a home router; the port is kept, so every remote end sees the same one.
- *double NAT*: a home router in a carrier's network, both masquerading.
- *random*, *fully random*: masquerading with nftables' flag of that name: every remote end sees another port.
- *NAT in a random one*: a home router in the network of a carrier that is fully random.
- The last three rows have both peers behind one router.

Where JavaScript pairs fail and Go pairs do not:

- Two peers with random NATs, two guests of a LAN that keeps them apart, and two customers of one carrier (whose NAT does
  not send inside hosts to each other) connect only over a relay. It also helps where JavaScript is on the other side: it is
  enough that the Go side names one with ` + "`--dht.relay`" + `.
- A client that has just started on an open address and a scraper behind a random NAT: the JavaScript client finds
  out during the attempt that it is open, names no address then, and fails in every other start.

%s
## How soon it heals

Seconds from the mishap to the next successful scrape, measured once. A NAT that reboots forgets its connections; one
whose address changes forgets them too, without notice. Peers are killed without deregistering.

%s
"Never" means not within %.0f minutes. Where a random NAT has to be punched again,
20 s pass between two punches of the JavaScript programs; the Go programs wait only after a failed one.

The minutes of JavaScript scrapers are the ten that they wait after a few failed attempts, some of which fail because
20 s have not passed; those of JavaScript clients are the time until they announce themselves again.
`
