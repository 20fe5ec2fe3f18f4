package natlab

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/netns"
	interop "github.com/dhtprom/dhtprom/interop/process"
)

var (
	distanceRounds = flag.Int("natlab.distance", 0, "how often each row of docs/distance.md is measured; 0 measures the quick ones once")
	distanceUpdate = flag.Bool("update-distance", false, "rewrite docs/distance.md; needs -natlab.distance")
)

// farAway is the link between a site and the core: the round trip between two sites takes 40 ms, and that to the DHT 20 ms.
var farAway = netns.Link{Delay: 10 * time.Millisecond}

// distance is a row of docs/distance.md.
type distance struct {
	name string
	goal time.Duration // for the median
	slow bool          // takes minutes
	// measure runs it, and returns the time to the first scrape.
	measure func(l *lab, name string) outcome
}

var distances = []distance{
	{name: "start, consistent NATs", goal: 500 * time.Millisecond, measure: startFar(twoHomes)},
	{name: "start, one LAN, both with a bridge for containers", goal: 500 * time.Millisecond, measure: startFar(func(l *lab, name string) (client, scraper host) {
		client, scraper = l.lan(name)
		for _, h := range []host{client, scraper} {
			l.must(h.ip("link add docker0 type bridge\naddr add 172.17.0.1/16 dev docker0\nlink set docker0 up"))
		}
		return client, scraper
	})},
	{name: "start, one carrier, a relay", goal: 2 * time.Second, measure: startFarRelayed((*lab).oneCarrier)},
	{name: "start, one carrier, a relay, a bystander at the client's private address", goal: 2 * time.Second, measure: startFarRelayed(withBystander)},
	{name: "start, the client's network lets out UDP to port 443 only", goal: 3 * time.Second, measure: startsOnePort},
	{name: "the client restarts there", goal: 3 * time.Second, slow: true, measure: clientRestartsOnePort},
	{name: "the scraper restarts there", goal: 10 * time.Second, slow: true, measure: scraperRestartsOnePort},
	{name: "start, no UDP, TLS to port 443 only", goal: 4 * time.Second, measure: startsWithoutUDP(golang)},
	{name: "start there, the TURN server is always used", goal: 3 * time.Second, measure: startsWithoutUDP(golang, "--turn=always")},
	{name: "a page of 1 MB over it", goal: 2 * time.Second, measure: pageWithoutUDP},
	{name: "start there, a JavaScript scraper", goal: 4 * time.Second, measure: startsWithoutUDP(javaScript)},
	{name: "start, nothing but the HTTP proxy squid", goal: 3 * time.Second, measure: startsThroughProxy("squid")},
	{name: "start, nothing but the HTTP proxy tinyproxy", goal: 3 * time.Second, slow: true, measure: startsThroughProxy("tinyproxy")},
	{name: "the TURN server returns after 30 seconds", goal: 10 * time.Second, slow: true, measure: turnServerReturns},
	{name: "UDP is let out, and the TURN server is killed", goal: time.Second, slow: true, measure: udpIsLetOut},
	{name: "start, a JavaScript client", goal: 2 * time.Second, measure: startsAt(farAway, pair{javaScript, golang, false})},
	{name: "start, a JavaScript scraper", goal: 2 * time.Second, measure: startsAt(farAway, pair{golang, javaScript, false})},
	{name: "start, rough lines", goal: 2 * time.Second, measure: startsAt(rough, pair{golang, golang, false})},
	{name: "start, rough lines, a JavaScript client", goal: 4 * time.Second, slow: true, measure: startsAt(rough, pair{javaScript, golang, false})},
	{name: "start, rough lines, a JavaScript scraper", goal: 4 * time.Second, slow: true, measure: startsAt(rough, pair{golang, javaScript, false})},
	{name: "start, 200 ms", goal: 5 * time.Second, measure: startsAt(veryFar, pair{golang, golang, false})},
	{name: "the client restarts, 200 ms", goal: 2 * time.Second, slow: true, measure: clientRestartsAt(veryFar)},
	{name: "the scraper restarts, 200 ms", goal: 2 * time.Second, slow: true, measure: scraperRestartsAt(veryFar, true)},
	{name: "the scraper loses its table", goal: 30 * time.Second, slow: true, measure: scraperRestartsAt(farAway, false)},
	{name: "the client's NAT reboots", goal: 5 * time.Second, measure: mishapFar(func(l *lab, s *scene) func() {
		l.must(s.clientHost.edge.flush())
		return nil
	})},
	{name: "the scraper's NAT reboots", goal: 5 * time.Second, measure: mishapFar(func(l *lab, s *scene) func() {
		l.must(s.scraperHost.edge.flush())
		return nil
	})},
	{name: "the client's address changes", goal: 10 * time.Second, measure: mishapFar(func(l *lab, s *scene) func() {
		l.must(s.clientHost.edge.move())
		return nil
	})},
	{name: "the client's route goes over to another interface", goal: 10 * time.Second, measure: mishapFar(func(l *lab, s *scene) func() {
		other := l.router(l.neighbourhood()+"-other", masquerade, nil, carrierLAN)
		l.plugSecond(other, s.clientHost.namespace)
		l.pass(3 * time.Second) // the interface alone is a change, and this is the second one
		l.must(s.scraper.scrape())
		l.must(s.clientHost.ip(fmt.Sprintf("route replace default via %s", inLAN(carrierLAN, 1))))
		return nil
	})},
	{name: "the path MTU shrinks to 1,280 without an ICMP message", goal: 5 * time.Second, measure: mishapFar(func(l *lab, s *scene) func() {
		l.wire(s.clientHost.edge).Set(netns.Link{Delay: farAway.Delay, MTU: 1280})
		return nil
	})},
	{name: "the direct path is dead, beside a relay", goal: 5 * time.Second, measure: diesBesideRelay},
	{name: "the client's line is dead for a minute", goal: 10 * time.Second, slow: true, measure: mishapFar(func(l *lab, s *scene) func() {
		return l.deadLine(s.clientHost.edge)
	})},
	{name: "the scraper's line is dead for a minute", goal: 10 * time.Second, slow: true, measure: mishapFar(func(l *lab, s *scene) func() {
		return l.deadLine(s.scraperHost.edge)
	})},
	{name: "the client sleeps for two minutes", goal: 5 * time.Second, slow: true, measure: mishapFar(func(l *lab, s *scene) func() {
		p := s.client.(goClient).cmd.Process
		l.must(p.Signal(syscall.SIGSTOP))
		l.pass(2 * time.Minute)
		return func() { l.must(p.Signal(syscall.SIGCONT)) }
	})},
}

// startFar measures from the client's start to the first scrape.
func startFar(build func(l *lab, name string) (client, scraper host), extra ...string) func(*lab, string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		clientHost, scraperHost := build(l, name)
		s := l.scraper(golang, scraperHost, extra...)
		_, begun := l.client(pair{golang, golang, len(extra) > 0}, clientHost, s.key(), "", extra...)
		return l.firstScrape(s, begun, clientHost, scraperHost)
	}
}

// startFarRelayed is startFar with a relay.
func startFarRelayed(build func(l *lab, name string) (client, scraper host)) func(*lab, string) outcome {
	return func(l *lab, name string) outcome { return startFar(build, "--dht.relay="+l.relayKey)(l, name) }
}

// withBystander is oneCarrier, with another client in the scraper's home that has the client's private address.
func withBystander(l *lab, name string) (client, scraper host) {
	l.t.Helper()
	carrier := l.router(name+"-c", masquerade, nil, carrierLAN)
	left, right := l.router(name+"-ra", masquerade, carrier, homeLAN), l.router(name+"-rb", masquerade, carrier, homeLAN)
	client, bystander := l.host(name+"-a", left), l.host(name+"-x", right)
	scraper = l.host(name+"-b", right)
	if client.addr != bystander.addr {
		l.t.Fatalf("%v and %v should be the same", client.addr, bystander.addr)
	}
	l.program(bystander.namespace, []string{"DHTPROM_SECRET=" + secret}, "dhtprom-client", "--scraper="+strings.Repeat("1", 64), "--alias=nobody")
	client.edge, scraper.edge = carrier, carrier
	return client, scraper
}

// mishapFar connects two, calls happen, and measures from the end of the mishap to the first scrape. The returned end ends
// it; nil if it has ended.
func mishapFar(happen func(l *lab, s *scene) (end func())) func(*lab, string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		s := new(scene)
		s.clientHost, s.scraperHost = twoHomes(l, name)
		s.scraper = l.scraper(golang, s.scraperHost)
		var begun time.Time
		// Pages of dozens of packets, so that the path's packet size is found.
		l.start(s.clientHost.namespace, exec.Command("prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100"))
		s.client, begun = l.client(pair{golang, golang, false}, s.clientHost, s.scraper.key(), "", "--target=http://127.0.0.1:9100/metrics")
		if o := l.firstScrape(s.scraper, begun, s.clientHost, s.scraperHost); o.err != nil {
			l.t.Fatalf("not connected in the first place: %v", o.err)
		}
		l.pass(10*time.Second + time.Duration(time.Now().UnixNano()%int64(5*time.Second))) // anywhere between two keep-alives
		for range 5 {
			l.must(s.scraper.scrape())
		}
		if end := happen(l, s); end != nil {
			end()
		}
		return l.firstScrape(s.scraper, time.Now(), s.clientHost, s.scraperHost)
	}
}

// diesBesideRelay cuts the path between two sites with a relay in reserve. It returns the time of the slowest scrape from
// then on, of those that Prometheus would make; none may fail.
func diesBesideRelay(l *lab, name string) outcome {
	l.t.Helper()
	relay := "--dht.relay=" + l.relayKey
	clientHost, scraperHost := twoHomes(l, name)
	s := l.scraper(golang, scraperHost, relay).(goScraper)
	l.start(clientHost.namespace, exec.Command("prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100"))
	_, begun := l.client(pair{golang, golang, true}, clientHost, s.key(), "", "--target=http://127.0.0.1:9100/metrics", relay)
	if o := l.firstScrape(s, begun, clientHost, scraperHost); o.err != nil {
		l.t.Fatalf("not connected in the first place: %v", o.err)
	}
	inReserve := func() bool {
		page, err := s.get("/metrics")
		return err == nil && strings.Contains(string(page), "\ndhtprom_relays_in_reserve 1\n") && s.path(clientHost, scraperHost) == "punched"
	}
	if !every(100*time.Millisecond, farPatience, inReserve) {
		l.t.Fatal("the path is not direct, or no relay is in reserve")
	}
	l.must(clientHost.edge.run(fmt.Sprintf(`
table ip dead {
	chain forward {
		type filter hook forward priority filter - 1;
		ip daddr %s drop; ip saddr %[1]s drop;
	}
}`, scraperHost.edge.public), "nft", "-f", "-"))
	s.within = 10 * time.Second
	var slowest time.Duration
	for range 5 {
		began := time.Now()
		if err := s.scrape(); err != nil {
			return outcome{err: fmt.Errorf("a scrape fails: %w", err)}
		}
		slowest = max(slowest, time.Since(began))
		l.pass(time.Second)
	}
	return outcome{seconds: slowest.Seconds(), path: s.path(clientHost, scraperHost)}
}

// farPatience bounds the wait for a first scrape.
const farPatience = 90 * time.Second

// firstScrape scrapes until it succeeds. A scrape over a dead path does not delay the others.
func (l *lab) firstScrape(s scraper, begun time.Time, client, scraper host) outcome {
	l.t.Helper()
	worked := make(chan struct{}, 1)
	errs := make(chan error, 1)
	tries := time.NewTicker(200 * time.Millisecond)
	defer tries.Stop()
	end := time.After(farPatience)
	var err error
	for {
		go func() {
			if err := s.scrape(); err != nil {
				select {
				case errs <- err:
				default:
				}
				return
			}
			select {
			case worked <- struct{}{}:
			default:
			}
		}()
		select {
		case <-worked:
			return outcome{seconds: time.Since(begun).Seconds(), path: s.path(client, scraper)}
		case err = <-errs:
			<-tries.C
		case <-tries.C:
		case <-end:
			return outcome{err: fmt.Errorf("no scrape for %v: %w", farPatience, err)}
		}
	}
}

// wire returns the line between a router and the core.
func (l *lab) wire(r *router) *netns.Wire {
	w, _ := l.wires.Load(r.namespace)
	return w.(*netns.Wire)
}

// deadLine cuts a router's line for a minute.
func (l *lab) deadLine(r *router) (end func()) {
	l.wire(r).Set(netns.Link{Loss: 1})
	l.pass(time.Minute)
	return func() { l.wire(r).Set(farAway) }
}

// pass lets real time pass, which is what is measured.
func (l *lab) pass(d time.Duration) { <-time.After(d) }

// Not parallel to the others: the frames of delayed lines go through this process.
func TestHowSoonAtADistance(t *testing.T) {
	need(t)
	interop.Need(t, "prometheus-node-exporter", "turnserver", "squid", "tinyproxy")
	l := newLabWith(t, farAway)
	rounds := max(*distanceRounds, 1)
	measured := make([][]outcome, len(distances))
	type run struct{ row, round int }
	var runs []run
	for i, d := range distances {
		if !d.slow || *distanceRounds > 0 {
			for r := range rounds {
				runs = append(runs, run{i, r})
			}
		}
	}
	at := *parallel / 2
	if *distanceRounds > 0 {
		at = 2 // they are measured to the tenth of a second
	}
	results := make(chan struct {
		row int
		outcome
	}, len(runs))
	inParallel(runs, max(at, 1), func(r run) {
		t.Run(fmt.Sprintf("%s/%d", distances[r.row].name, r.round), func(t *testing.T) {
			l := l.in(t)
			got := distances[r.row].measure(l, l.neighbourhood())
			t.Log(got)
			if got.err != nil {
				t.Error(got.err)
			}
			results <- struct {
				row int
				outcome
			}{r.row, got}
		})
	})
	close(results)
	for r := range results {
		measured[r.row] = append(measured[r.row], r.outcome)
	}
	table := distanceTable(measured)
	t.Log("\n" + table)
	if *distanceUpdate && !t.Failed() {
		page := fmt.Sprintf(distancePage, rounds, table)
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "distance.md"), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func distanceTable(measured [][]outcome) string {
	var b strings.Builder
	b.WriteString("| what happens | goal | median | slowest | path |\n|---|---|---|---|---|\n")
	for i, d := range distances {
		if len(measured[i]) == 0 {
			continue
		}
		m := median(measured[i])
		slowest := slices.MaxFunc(measured[i], func(a, b outcome) int { return int(1000 * (a.seconds - b.seconds)) })
		fmt.Fprintf(&b, "| %s | %.1f s | %.2f s | %.2f s | %s |\n", d.name, d.goal.Seconds(), m.seconds, slowest.seconds, m.path)
	}
	return b.String()
}

const distancePage = `# At a distance

How soon there are metrics, from the start of a client or the end of a disturbance, where scraper and client are 40 ms from each other, and
20 ms from the DHT. The tests in interop/natlab write this page:

<!-- not run: it takes some minutes -->
` + "```sh" + `
go test ./interop/natlab -run TestHowSoonAtADistance -natlab.distance 5 -update-distance -timeout 1h
` + "```" + `

The real programs run in network namespaces, behind NATs of the kernel unless stated otherwise; the lines between sites and the core
carry packets with a delay of 10 ms, of 50 ms where the row says 200 ms; rough lines have 10 to 30 ms, lose 2 packets of a hundred, and have
2 of a hundred overtaken. Processes start within these times, too. Medians of %d runs, on a machine with two processors.

The path is the one that the scraper sees: it meets the address of a TURN server as it meets any other. The server is coturn.

%s`
