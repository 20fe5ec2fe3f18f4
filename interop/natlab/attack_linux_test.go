package natlab

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

var (
	attackFor    = flag.Duration("natlab.attack", 0, "how long each attack of docs/under-attack.md lasts; 0 plays one of them for a moment")
	attackUpdate = flag.Bool("update-attacks", false, "rewrite docs/under-attack.md; needs -natlab.attack")
)

// assault is a row of docs/under-attack.md.
type assault struct {
	name     string
	attack   attackArgs
	senders  int  // source addresses
	relayed  bool // datagrams go to the DHT nodes, which forward them to the scraper
	scraper  kind
	everyRun bool // briefly, wherever the laboratory runs
}

// assaults are the rows.
var assaults = []assault{
	{name: "none", scraper: openKind},
	{name: "600 handshakes/s from one address", attack: attackArgs{Kind: "handshakes", Rate: 600}, senders: 1, scraper: openKind},
	{name: "600 handshakes/s from 100 addresses", attack: attackArgs{Kind: "handshakes", Rate: 600}, senders: 100, scraper: openKind},
	{name: "600 handshakes/s as if forwarded for invented addresses", attack: attackArgs{Kind: "invented", Rate: 600}, senders: 1, scraper: openKind, everyRun: true},
	{name: "the same from 100 addresses", attack: attackArgs{Kind: "invented", Rate: 600}, senders: 100, scraper: openKind},
	{name: "600 handshakes/s to each DHT node, which forward them", attack: attackArgs{Kind: "handshakes", Rate: 600 * goNodes}, senders: 100, relayed: true, scraper: openKind},
	{name: "none, the scraper behind a NAT", scraper: masqueradeKind},
	{name: "600 handshakes/s to each DHT node, the scraper behind a NAT", attack: attackArgs{Kind: "handshakes", Rate: 600 * goNodes}, senders: 100, relayed: true, scraper: masqueradeKind},
	{name: "66,000 datagrams/s of garbage", attack: attackArgs{Kind: "garbage", Rate: 66_000}, senders: 1, scraper: openKind},
	{name: "128 connections, each with the beginning of a 16 MiB frame, 6 MB/s", attack: attackArgs{Kind: "frames", Rate: 6_000_000, Count: 128}, senders: 1, scraper: openKind},
	{name: "wrong secrets, 50/s", attack: attackArgs{Kind: "secrets", Rate: 50}, senders: 1, scraper: openKind},
	{name: "nonsense on 64 encrypted connections, 6,400/s", attack: attackArgs{Kind: "nonsense", Rate: 6400, Count: 64}, senders: 1, scraper: openKind},
}

// behaviour is the service of honest clients during an attack.
type behaviour struct {
	consistent, random registrations // of clients behind NATs of the two kinds
	scrapes, failures  int           // over connections that stood before the attack
	sent               int
	base, peak         int64 // memory of the scraper in bytes
	cpu                time.Duration
}

const attackedPort = 49780

// assail runs a row.
func assail(l *lab, a assault, lasts time.Duration) behaviour {
	l.t.Helper()
	n := l.neighbourhood()
	here := l.site(n+"-s", a.scraper)
	seed := jspeer.Seed("natlab scraper " + string(here.namespace))
	s := l.program(here.namespace, []string{"DHTPROM_SECRET=" + secret, "DHTPROM_IDENTITY_SEED=" + seed}, "dhtprom-scraper", "run",
		"--storage.path="+l.t.TempDir(), "--web.listen-address=127.0.0.1:30000", fmt.Sprintf("--dht.listen-address=%s:%d", here.addr, attackedPort))
	scraper := goScraper{http: here.client(), public: id.KeyPairFromSeed(seedOf(seed)).Public.Hex()}
	l.t.Cleanup(scraper.http.CloseIdleConnections)
	var err error
	if !every(25*time.Millisecond, startTimeout, func() bool { err = scraper.ready(); return err == nil }) {
		l.t.Fatalf("the scraper is not ready: %v", err)
	}

	held := []string{"held-consistent", "held-random"}
	homes := []kind{masqueradeKind, fullyRandomKind}
	var registrars []*process
	for i, k := range homes {
		l.program(l.site(fmt.Sprint(n, "-h", i), k).namespace, []string{"DHTPROM_SECRET=" + secret},
			"dhtprom-client", "--scraper="+scraper.public, "--alias="+held[i])
		if k.mapping == random && a.scraper.mapping != open {
			continue // a node punches one random NAT at a time, with 20 s between two, attacked or not
		}
		r := l.role(l.site(fmt.Sprint(n, "-r", i), k).namespace, "register", registerArgs{
			Scraper: scraper.public, Secret: secret, Alias: fmt.Sprint("registrar-", i), Bootstrap: l.bootstrapText(), Every: 250 * time.Millisecond,
		})
		r.await(l.t, ready)
		registrars = append(registrars, r)
	}
	for _, alias := range held {
		if !every(100*time.Millisecond, randomPatience, func() bool { err = scraper.scrapeOf(alias); return err == nil }) {
			l.t.Fatalf("%s is not scraped before the attack: %v", alias, err)
		}
	}
	var attacker *process
	if a.attack.Kind != "" {
		attacker = l.attacker(n, a, here, scraper.public, lasts)
	}

	b := behaviour{base: resident(l, s), cpu: -processorTime(l, s)}
	if attacker != nil {
		fmt.Fprintln(attacker.in, "begin")
	}
	for _, r := range registrars {
		fmt.Fprintln(r.in, "begin")
	}
	end := time.Now().Add(lasts)
	for ticks := time.NewTicker(200 * time.Millisecond); time.Now().Before(end); <-ticks.C {
		for _, alias := range held {
			b.scrapes++
			if err := scraper.scrapeOf(alias); err != nil {
				b.failures++
				l.t.Logf("%s: %v", alias, err)
			}
		}
		b.peak = max(b.peak, resident(l, s))
	}
	b.cpu += processorTime(l, s)
	for _, r := range registrars {
		fmt.Fprintln(r.in, "stop")
	}
	// Registrations in progress may end while the attack goes on.
	b.consistent = ended(l, registrars[0])
	if len(registrars) > 1 {
		b.random = ended(l, registrars[1])
	}
	if attacker != nil {
		b.sent = attacker.sent(l)
	}
	return b
}

// attacker starts an attacker in a site of its own, prepared but idle.
func (l *lab) attacker(n string, a assault, scraper host, key string, lasts time.Duration) *process {
	l.t.Helper()
	site := host{namespace: l.namespace(n + "-x"), addr: l.publicAddr()}
	cable := l.plugCore(site.namespace, site.addr)
	args := a.attack
	args.Scraper, args.Bootstrap = key, l.bootstrapText()
	args.Prepare = min(int(lasts.Seconds()+15)*args.Rate, 60_000)
	args.Senders = []netip.Addr{site.addr}
	commands, routes := "", ""
	for i := range a.senders - 1 { // in as many networks, like a botnet
		addr := netip.AddrFrom4([4]byte{90, site.addr.As4()[1], byte(i), site.addr.As4()[2]})
		args.Senders = append(args.Senders, addr)
		commands += fmt.Sprintf("addr add %s/32 dev wan\n", addr)
		routes += fmt.Sprintf("route add %s dev %s\n", addr, cable)
	}
	if a.senders > 1 {
		l.must(site.ip(commands))
		l.must(l.core.ip(routes))
	}
	for i := range goNodes {
		args.Nodes = append(args.Nodes, netip.AddrPortFrom(dhtAddr(i), dhtPort))
	}
	args.Target = []netip.AddrPort{netip.AddrPortFrom(scraper.addr, attackedPort)}
	if a.relayed {
		args.Target = args.Nodes
	}
	p := l.role(site.namespace, "attack", args)
	p.await(l.t, ready)
	return p
}

func (l *lab) bootstrapText() (all []string) {
	for _, b := range l.bootstrap {
		all = append(all, b.String())
	}
	return all
}

func (s goScraper) scrapeOf(alias string) error {
	_, err := s.get("/scrape/" + alias + "/metrics")
	return err
}

// latest returns the newest line of a process's output with a prefix, without it.
func (p *process) latest(prefix string) (string, bool) {
	lines := strings.Split(p.log(), "\n")
	for _, line := range slices.Backward(lines) {
		if _, text, ok := strings.Cut(line, " "); ok {
			if rest, ok := strings.CutPrefix(text, prefix); ok {
				return rest, true
			}
		}
	}
	return "", false
}

// ended waits until all registrations of a registrar have ended.
func ended(l *lab, p *process) (r registrations) {
	l.t.Helper()
	if !every(200*time.Millisecond, dialPatience+answerPatience+10*time.Second, func() bool {
		text, ok := p.latest("{")
		r = registrations{}
		return ok && json.Unmarshal([]byte("{"+text), &r) == nil && r.Begun == r.Done+r.Failed
	}) {
		l.t.Fatalf("registrations do not end: %+v", r)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		l.t.Logf("%d registrations failed: %s", r.Reasons[reason], reason)
	}
	return r
}

func (p *process) sent(l *lab) int {
	l.t.Helper()
	text, _ := p.latest("sent ")
	n, err := strconv.Atoi(text)
	if err != nil {
		l.t.Errorf("the attacker says it sent %q", text)
	}
	return n
}

// resident returns the resident memory of a process in bytes.
func resident(l *lab, p *process) int64 {
	l.t.Helper()
	fields := strings.Fields(procFile(l, p, "statm"))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	l.must(err)
	return pages * int64(os.Getpagesize())
}

// processorTime returns the processor time of a process, in user and kernel mode.
func processorTime(l *lab, p *process) time.Duration {
	l.t.Helper()
	text := procFile(l, p, "stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, kernel, tick = 11, 12, 10 * time.Millisecond // proc_pid_stat(5), after the name; USER_HZ is 100
	var sum time.Duration
	for _, i := range []int{user, kernel} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		l.must(err)
		sum += time.Duration(n) * tick
	}
	return sum
}

func procFile(l *lab, p *process, name string) string {
	l.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
	l.must(err)
	return string(b)
}

// Promises of docs/security.md that hold during each attack.
const (
	leastRegistered = 0.99 // of the registrations started
	mostMemory      = 64 << 20
	attackMoment    = 5 * time.Second // where nothing is measured
)

func TestHonestClientsAreServedDuringAttacks(t *testing.T) {
	need(t)
	lasts := max(*attackFor, attackMoment)
	if *attackFor == 0 {
		t.Parallel()
	}
	l := newLab(t)
	var table bytes.Buffer
	table.WriteString(attackHead)
	for _, a := range assaults {
		if *attackFor == 0 && !a.everyRun {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			b := assail(l.in(t), a, lasts)
			fmt.Fprintf(&table, attackRow, a.name, b.sent, b.consistent.Done, b.consistent.Begun, b.consistent.Slowest.Seconds(),
				b.random.Done, b.random.Begun, b.random.Slowest.Seconds(), b.scrapes-b.failures, b.scrapes,
				float64(b.peak-b.base)/1e6, 100*b.cpu.Seconds()/lasts.Seconds())
			for what, r := range map[string]registrations{"consistent": b.consistent, "random": b.random} {
				if float64(r.Done) < leastRegistered*float64(r.Begun) {
					t.Errorf("%d of %d registrations succeed behind %s NATs", r.Done, r.Begun, what)
				}
			}
			if b.failures > 0 && *attackFor > 0 { // a scrape has a second, which parallel tests may exceed
				t.Errorf("%d of %d scrapes over connections that stood before fail", b.failures, b.scrapes)
			}
			if b.peak-b.base > mostMemory {
				t.Errorf("the scraper grows by %d bytes, more than %d", b.peak-b.base, mostMemory)
			}
		})
	}
	t.Log("\n" + table.String())
	if *attackUpdate {
		if t.Failed() || *attackFor == 0 {
			t.Fatal("the page is written only where everything passed, with -natlab.attack")
		}
		page := fmt.Sprintf(attackPage, lasts, table.String())
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "under-attack.md"), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	attackHead = "| attack | sent | registrations, consistent NAT (slowest) | registrations, random NAT (slowest) | held scrapes | memory above base | processor |\n|---|---|---|---|---|---|---|\n"
	attackRow  = "| %s | %d | %d of %d (%.1f s) | %d of %d (%.1f s) | %d of %d | %.0f MB | %.0f %% |\n"
)

// attackPage is docs/under-attack.md.
const attackPage = `# Under attack

Honest clients during attacks by strangers without the secret. The tests in interop/natlab write this page:

<!-- not run: it takes seven minutes -->
` + "```sh" + `
go test ./interop/natlab -run TestHonestClientsAreServedDuringAttacks -natlab.attack 30s -update-attacks -timeout 1h
` + "```" + `

The real programs run behind NATs of the kernel, all on one machine with two processors; the attacker shares them. Each attack lasts
%v. Meanwhile two clients, behind a NAT with a consistent mapping and behind a fully random one, register four times per second, each time over a
new connection under a new key; and two clients that were connected before are scraped five times per second.
A registration fails when the client program would time out. Memory is the scraper's resident memory at its peak, less that before the attack.

Where the scraper is behind a NAT itself, no clients behind a random one register in these rows: a node punches one random NAT at a time, with
20 s between two, attacked or not.

%s
The bounds behind these figures: [Security](security.md).
`
