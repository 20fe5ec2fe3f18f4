package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

const patience = 30 * time.Second

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newInvite is an invite to a scraper, as text and in parts.
func newInvite(t *testing.T, bootstrap ...string) (text string, v domain.Invite) {
	t.Helper()
	v = domain.Invite{Scraper: domain.KeyPairFromSeed(keyfile.NewSeed()).Public, Secret: keyfile.NewSecret(), Bootstrap: bootstrap}
	text, err := v.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text, v
}

func TestNonsenseGetsOneLineAndTheRightCode(t *testing.T) {
	key := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	good := secretFile(t, keyfile.NewSecret().RevealText())
	malformed := secretFile(t, "hunter2")
	other := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	invite, _ := newInvite(t)
	with := func(more ...string) []string {
		return append([]string{"--scraper=" + key, "--secret-file=" + good, "--alias=a"}, more...)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Usage, "--invite-file, or --scraper and --secret-file"},
		{nil, cli.Usage, "no target: set --alias"},
		{[]string{"--scraper=" + key, "--alias=a"}, cli.Usage, "--secret-file"},
		{[]string{"--scraper=" + key, "--secret-file=" + good}, cli.Usage, "--alias"},
		{[]string{"--scraper=nonsense", "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + strings.Repeat("0", 64), "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper"},
		// One letter of a key is wrong.
		{[]string{"--scraper=ccj4un8drhanuz3w5n9uywc8r57zkkphgwfdanw9y3xuhsmr4hpo", "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper: has the length of a public key"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--alias="}, cli.Usage, "--alias"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--alias=a\nb"}, cli.Usage, "--alias"},
		{with("--target=c=http://localhost/"), cli.Usage, "--alias cannot be combined with --target=NAME=URL"},
		{with("--target=http://localhost/", "--target=http://localhost/2"), cli.Usage, "--target=NAME=URL"},
		{with("--scraper=" + other), cli.Usage, "got 1 for 2"},
		{with("--secret-file=" + good), cli.Usage, "got 2 for 1"},
		{with("--scraper="+key, "--secret-file="+good), cli.Failed, "duplicate scraper"},
		{[]string{"--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper"},
		{[]string{"--secret-file=" + good, "--alias=a", "--invite=" + invite}, cli.Usage, "--secret-file needs a --scraper"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target=http://localhost/"}, cli.Usage, "missing alias"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target=a=http://localhost/", "--target=a=http://localhost/2"}, cli.Usage, "duplicate alias"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target=a\tb=http://localhost/"}, cli.Usage, "--target: alias"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target==http://localhost/"}, cli.Usage, "--target: alias is empty"},
		{[]string{"--invite=" + invite[:90], "--alias=a"}, cli.Usage, "--invite: is truncated: it has 90 of 120"},
		{[]string{"--invite=" + invite[:90] + "l" + invite[91:], "--alias=a"}, cli.Usage, "position 91"},
		{[]string{"--invite=dhtprom2" + invite[8:], "--alias=a"}, cli.Usage, "version 2"},
		{[]string{"--invite=", "--alias=a"}, cli.Usage, "--invite: is empty"},
		{[]string{"--invite=" + invite, "--invite=" + invite, "--alias=a"}, cli.Failed, "duplicate scraper"},
		{[]string{"--scraper=" + invite, "--alias=a"}, cli.Usage, "--scraper: is an invite"},
		{[]string{"--invite-file=" + invite, "--alias=a"}, cli.Usage, "looks like the file's content"},
		{[]string{"--alias=a", invite}, cli.Usage, "unexpected invite: use --invite-file"},
		{[]string{"--invite-file=" + secretFile(t, "# hunter2\n"+invite[:100]), "--alias=a"}, cli.Failed, "is truncated"},
		{[]string{"--invite-file=/nowhere/invite", "--alias=a"}, cli.Failed, "/nowhere/invite"},
		{[]string{"--invite-file=-", "--alias=a"}, cli.Failed, "invite in standard input is empty"},
		{[]string{"--scraper=" + key, "--secret-file=" + strings.Repeat("0", 64), "--alias=a"}, cli.Usage, "looks like the file's content"},
		{with("--identity.seed-file=" + strings.Repeat("y", 52)), cli.Usage, "looks like the file's content"},
		{with("--web.listen-address=9100"), cli.Usage, "--web.listen-address"},
		{with("--web.config.file=/nowhere/web.yml"), cli.Failed, "--web.config.file"},
		{with("--config.file=/nowhere/client.yml"), cli.Failed, "/nowhere/client.yml"},
		{with("--service=" + strings.Repeat("s", 129)), cli.Usage, "--service"},
		{with("--hostname=a\tb"), cli.Usage, "--hostname"},
		{with("--target=localhost:9100"), cli.Usage, "--target"},
		{with("--target=http://localhost/1,http://localhost/2"), cli.Usage, "got a list"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target=a=http://localhost/1,b=https://localhost/2"}, cli.Usage, "got a list"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--target=a=http://localhost/1, b c=unix:///x:/2"}, cli.Usage, "got a list"},
		{with("--target=http://me:hunter2@[::1"), cli.Usage, "--target"},
		{with("--dht.relay=x"), cli.Usage, "--dht.relay"},
		{with("--dht.relay=" + key + "@x"), cli.Usage, "--dht.relay: want HOST:PORT"},
		{[]string{"--scraper=" + key + "@::1:443", "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper: want HOST:PORT"},
		{with("--stun.server=:x"), cli.Usage, "--stun.server"},
		{with("--stun.server=none", "--stun.server=stun.example:3478"), cli.Usage, "--stun.server"},
		{with("--dht.bootstrap=x"), cli.Usage, "--dht.bootstrap"},
		{with("--register.interval=soon"), cli.Usage, "--register.interval"},
		{with("--register.interval=0s"), cli.Usage, "--register.interval"},
		{with("--register.interval=30d"), cli.Usage, "--register.interval"},
		{with("--log.level=loud"), cli.Usage, "--log.level"},
		{with("--nonsense"), cli.Usage, "--nonsense"},
		{with("more"), cli.Usage, "more"},
		{with("--identity.seed-file=" + malformed), cli.Failed, malformed},
		{[]string{"--scraper=" + key, "--secret-file=" + malformed, "--alias=a"}, cli.Failed, malformed},
		{[]string{"--scraper=" + key, "--secret-file=/nowhere/secret", "--alias=a"}, cli.Failed, "/nowhere/secret"},
	} {
		var out, errs bytes.Buffer
		code := cli.Exit(name, command(ended(), c.args, strings.NewReader(""), &out, &errs), &errs)
		warned, said, _ := strings.Cut(errs.String(), name+": error:")
		if code != c.code || strings.Contains(warned, "level=ERROR") || strings.Count(said, "\n") != 1 || !strings.Contains(errs.String(), c.says) ||
			strings.Contains(errs.String(), "hunter2") || strings.Contains(errs.String(), invite[60:80]) {
			t.Errorf("%q: code %d, %q", c.args, code, errs.String())
		}
	}
}

// bench is a scraper on an in-memory network, and the transport for the program. The program runs on a host of its own, so the
// scraper is driven from it, too.
type bench struct {
	connect func(host.Host, dhtprom.NodeConfig) (ports.Transport, error)
	keys    domain.KeyPair
	secret  domain.Secret
	ready   chan *app.Scraper
	told    chan domain.Event

	announced atomic.Int64 // DHT nodes with the client's record

	wantBootstrap []string // the nodes that the program should use; nil: not checked
	wantRelays    []domain.Reference
	wantSTUN      []string
}

// onDHT is a transport that reports how many DHT nodes have its record.
type onDHT struct {
	ports.Transport
	announced *atomic.Int64
}

func (t onDHT) Status() ports.NodeStatus {
	s := t.Transport.Status()
	s.Announced = int(t.announced.Load())
	return s
}

// newBench creates a scraper on the program's host.
func newBench(t *testing.T) *bench {
	b := &bench{
		keys: domain.KeyPairFromSeed(keyfile.NewSeed()), secret: keyfile.NewSecret(),
		ready: make(chan *app.Scraper, 1), told: make(chan domain.Event, 1024),
	}
	b.connect = func(h host.Host, n dhtprom.NodeConfig) (ports.Transport, error) {
		if b.wantBootstrap != nil && !slices.Equal(n.Bootstrap, b.wantBootstrap) {
			t.Errorf("bootstrap nodes %v, want %v", n.Bootstrap, b.wantBootstrap)
		}
		if !slices.Equal(n.Relays, b.wantRelays) || !slices.Equal(n.STUN, b.wantSTUN) {
			t.Errorf("relays %v, STUN servers %v", n.Relays, n.STUN)
		}
		net := portstest.NewNetwork(h)
		s, err := app.NewScraper(app.ScraperConfig{
			Host: h, Transport: portstest.NewTransport(net), Clock: dhtprom.Clock{}, Store: portstest.NewStore(h, portstest.NewDisk()),
			Keys: b.keys, Secrets: []domain.Secret{b.secret}, OnEvent: func(e domain.Event) { b.told <- e },
		})
		if err != nil {
			t.Error(err)
			return nil, err
		}
		s.Start(func(err error) {
			if err != nil {
				t.Error(err)
			}
			b.ready <- s
		})
		return onDHT{portstest.NewTransport(net), &b.announced}, nil
	}
	b.announced.Store(3)
	return b
}

// event waits for an event of one kind.
func event[E domain.Event](t *testing.T, b *bench) E {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case e := <-b.told:
			if match, ok := e.(E); ok {
				return match
			}
		case <-late:
			t.Fatalf("no %T came", *new(E))
		}
	}
}

// running is a running client and its log.
type running struct {
	*program
	t        *testing.T
	scraper  *app.Scraper
	stop     func()
	finished chan error
	cleanup  func()
	logged   bytes.Buffer
}

func (b *bench) run(t *testing.T, stdin string, args ...string) *running {
	t.Helper()
	r := &running{t: t, finished: make(chan error, 1)}
	f := newFlags(io.Discard)
	if err := f.parse(args); err != nil {
		t.Fatal(err)
	}
	log := f.app.Logger(&r.logged)
	cfg, err := load(f, strings.NewReader(stdin), log)
	if err != nil {
		t.Fatal(err)
	}
	cfg.node.Connect = b.connect
	if r.program, r.cleanup, err = newProgram(cfg, log); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.finished <- r.Run(ctx) }()
	r.scraper = <-b.ready
	return r
}

// end stops the program and waits for it, and checks that no secret was logged.
func (r *running) end(secrets ...string) {
	r.t.Helper()
	r.stop()
	if err := <-r.finished; err != nil {
		r.t.Error(err)
	}
	if len(r.scraper.Aliases()) != 0 { // its loop has ended
		r.t.Error("the client did not say goodbye")
	}
	r.cleanup()
	for _, s := range secrets {
		if strings.Contains(r.logged.String(), s) {
			r.t.Error("a secret was logged")
		}
	}
}

// entry returns the scraper's entry of an alias.
func (r *running) entry(alias domain.Alias) domain.Entry {
	detail := make(chan domain.AliasDetail, 1)
	r.node.Host().Post(func() {
		d, _ := r.scraper.Alias(alias)
		detail <- d
	})
	return (<-detail).Entry
}

func (r *running) scrape(alias domain.Alias) string {
	r.t.Helper()
	body := make(chan string, 1)
	r.node.Host().Post(func() {
		r.scraper.Scrape(alias, patience, func(b []byte, err error) {
			if err != nil {
				r.t.Error(err)
			}
			body <- string(b)
		})
	})
	return <-body
}

func (b *bench) invite(t *testing.T) string {
	t.Helper()
	text, err := domain.Invite{Scraper: b.keys.Public, Secret: b.secret, Bootstrap: []string{"192.0.2.1:49737"}, Relays: b.wantRelays}.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func exporterURL(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(s.Close)
	return s.URL + "/metrics"
}

func TestProgramRegistersPassesAnExporterOnAndEndsCleanly(t *testing.T) {
	b := newBench(t)
	seed := keyfile.NewSeed()
	t.Setenv(seedEnv, seed.RevealText())
	t.Setenv(secretEnv, b.secret.RevealText())
	t.Setenv("DHTPROM_SERVICE", "from the environment")
	r := b.run(t, "", "--scraper="+b.keys.Public.Hex(), "--alias=host:9100", "--target="+exporterURL(t, "node_load1 0.5\n"))
	registered := event[domain.AliasSuccess](t, b)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := domain.Register{Alias: "host:9100", Key: domain.KeyPairFromSeed(seed).Public, Hostname: hostname, Service: "from the environment", Instance: registered.Register.Instance}
	if registered.Register != want || want.Instance.IsZero() {
		t.Errorf("registered %+v", registered.Register)
	}
	if got := r.scrape("host:9100"); got != "node_load1 0.5\n" {
		t.Errorf("%q", got)
	}
	r.end(b.secret.RevealText(), seed.RevealText())
}

func TestProgramWithoutATargetServesItsOwnMetrics(t *testing.T) {
	b := newBench(t)
	r := b.run(t, "", "--scraper="+b.keys.Public.String(), "--alias=own", "--secret-file="+secretFile(t, b.secret.RevealText()))
	event[domain.AliasSuccess](t, b)
	body := r.scrape("own")
	labels := `{alias="own",scraper="` + b.keys.Public.String() + `"} `
	for _, want := range []string{
		"dhtprom_client_registrations_total" + labels, "dhtprom_client_metrics_requests_total" + labels + "1\n", "dhtprom_client_connections" + labels + "1\n",
		`dhtprom_client_listening{alias="own"} 1`, "go_goroutines", "process_", "dhtprom_build_info",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
	r.end(b.secret.RevealText())
}

// Several targets in one process have one alias each, and share a key that depends on nothing but the seed.
func TestProgramServesSeveralTargetsUnderOneKey(t *testing.T) {
	b := newBench(t)
	seed := keyfile.NewSeed()
	t.Setenv(seedEnv, seed.RevealText())
	t.Setenv("DHTPROM_TARGET", "node="+exporterURL(t, "node 1\n")+"\ndb=1=a,b="+exporterURL(t, "db 2\n"))
	r := b.run(t, "# an invite\n"+b.invite(t)+"\n", "--invite-file=-", "--hostname=cellar")
	want := map[domain.Alias]string{"node": "node 1\n", "db=1=a,b": "db 2\n"}
	event[domain.SetTargets](t, b)
	for alias, body := range want {
		if got := r.entry(alias); got.Key != app.AliasKeys(seed, "").Public || got.Hostname != "cellar" || got.Service != defaultService {
			t.Errorf("registered %+v", got)
		}
		if got := r.scrape(alias); got != body {
			t.Errorf("%s: %q", alias, got)
		}
	}
	r.end(b.secret.RevealText(), seed.RevealText(), b.invite(t))
}

func TestInviteBringsScraperSecretAndNetwork(t *testing.T) {
	b := newBench(t)
	b.wantBootstrap, b.wantRelays = []string{"192.0.2.1:49737"}, []domain.Reference{{Key: domain.KeyPairFromSeed(keyfile.NewSeed()).Public}}
	t.Setenv("DHTPROM_INVITE", b.invite(t))
	r := b.run(t, "", "--alias=own")
	event[domain.AliasSuccess](t, b)
	r.end(b.invite(t)[40:60], b.secret.RevealText())
	if strings.Contains(r.logged.String(), "command line") {
		t.Error("an invite of the environment is said to be visible")
	}

	b = newBench(t)
	b.wantBootstrap = []string{"127.0.0.1:7"}
	t.Setenv("DHTPROM_INVITE", "")
	invite := b.invite(t) // without relays
	b.wantRelays, b.wantSTUN = []domain.Reference{{Key: domain.KeyPairFromSeed(keyfile.NewSeed()).Public}}, []string{"none"}
	t.Setenv("DHTPROM_STUN_SERVER", "none")
	r = b.run(t, "", "--alias=own", "--invite="+invite, "--dht.bootstrap=7", "--dht.relay="+b.wantRelays[0].Key.Hex())
	event[domain.AliasSuccess](t, b)
	r.end(b.invite(t)[40:60], b.secret.RevealText())
	if !strings.Contains(r.logged.String(), "list of processes") {
		t.Errorf("no warning of an invite that all can see: %s", r.logged.String())
	}
}

func TestScrapersAndRelaysHaveTheAddressesOfFlagsAndInvites(t *testing.T) {
	at := func(host string) domain.Address { return domain.Address{Host: host, Port: 443} }
	keys := func() domain.PublicKey { return domain.KeyPairFromSeed(keyfile.NewSeed()).Public }
	secret := keyfile.NewSecret()
	flagged, relay := domain.Reference{Key: keys(), Addr: at("192.0.2.1")}, domain.Reference{Key: keys(), Addr: at("relay.example")}
	invited := domain.Invite{Scraper: keys(), Secret: secret, Addrs: []domain.Address{at("a.example"), at("b.example")}, Relays: []domain.Reference{relay}}
	text, err := invited.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	loaded := func(args ...string) config {
		t.Helper()
		f := newFlags(io.Discard)
		if err := f.parse(append(args, "--alias=a")); err != nil {
			t.Fatal(err)
		}
		cfg, err := load(f, strings.NewReader(""), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := loaded("--scraper="+flagged.String(), "--secret-file="+secretFile(t, secret.RevealText()), "--invite="+text)
	scrapers := cfg.client.Scrapers
	if len(scrapers) != 2 || !slices.Equal(scrapers[0].Addrs, []domain.Address{flagged.Addr}) || !slices.Equal(scrapers[1].Addrs, invited.Addrs) ||
		!slices.Equal(cfg.node.Relays, invited.Relays) {
		t.Errorf("scrapers %+v, relays %v", scrapers, cfg.node.Relays)
	}
	other := domain.Reference{Key: keys(), Addr: at("192.0.2.2")}
	if got := loaded("--invite="+text, "--dht.relay="+other.String()).node.Relays; !slices.Equal(got, []domain.Reference{other}) {
		t.Errorf("relays %v", got)
	}
}

func TestInvitesOfDifferentNetworksDoNotMix(t *testing.T) {
	public, _ := newInvite(t)
	private, _ := newInvite(t, "192.0.2.1:49737")
	var errs bytes.Buffer
	code := start(ended(), []string{"--alias=a", "--invite-file=" + secretFile(t, public), "--invite-file=" + secretFile(t, private)}, io.Discard, &errs)
	if code != cli.Failed || !strings.Contains(errs.String(), "public DHT") {
		t.Errorf("%d, %s", code, errs.String())
	}
}

// One process, two scrapers, the second of which does not exist.
func TestEachScraperHasItsOwnSecretAndItsOwnFate(t *testing.T) {
	b := newBench(t)
	_, absent := newInvite(t)
	r := b.run(t, "", "--alias=own", "--web.listen-address=127.0.0.1:0",
		"--scraper="+absent.Scraper.String(), "--secret-file="+secretFile(t, absent.Secret.RevealText()),
		"--scraper="+b.keys.Public.String(), "--secret-file="+secretFile(t, b.secret.RevealText()))
	event[domain.AliasSuccess](t, b)
	r.scrape("own")
	get := func(path string) (int, string) {
		t.Helper()
		res, err := http.Get("http://" + r.web.listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	_, body := get("/metrics")
	for _, want := range []string{
		`dhtprom_client_registered{alias="own",scraper="` + absent.Scraper.String() + `"} 0`,
		`dhtprom_client_registered{alias="own",scraper="` + b.keys.Public.String() + `"} 1`,
		`dhtprom_client_last_registration_timestamp_seconds{alias="own",scraper="` + b.keys.Public.String() + `"} `,
		`dhtprom_client_metrics_size_bytes_count{alias="own"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
	for path, want := range map[string]string{
		"/-/healthy": "Healthy", "/-/ready": "Ready\n", "/": "peer not found",
		"/?announced": "<dt>DHT nodes with its record</dt><dd>3</dd>",
		"/?":          "The metrics of this process</td>",
	} {
		if code, body := get(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	b.announced.Store(0)
	for path, want := range map[string]string{
		"/-/ready": "Ready, but no DHT node that has this client's record answers", "/": "No node that answers has the record",
		"/metrics": "dhtprom_client_announced_nodes 0",
	} {
		if code, body := get(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("not announced, %s: %d %s", path, code, body)
		}
	}
	foreign, err := http.NewRequest(http.MethodGet, "http://"+r.web.listener.Addr().String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign.Host = "evil.example"
	if res, err := http.DefaultClient.Do(foreign); err != nil || res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("under a foreign host name: %v, %v", res, err)
	} else if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	if code, _ := get("/nothing"); code != http.StatusNotFound {
		t.Errorf("a page that is not there: %d", code)
	}
	r.end(b.secret.RevealText(), absent.Secret.RevealText())
}

func TestClientIsNotReadyBeforeItIsRegistered(t *testing.T) {
	b := newBench(t)
	_, absent := newInvite(t)
	r := b.run(t, "", "--alias=<script>", "--web.listen-address=127.0.0.1:0",
		"--scraper="+absent.Scraper.String(), "--secret-file="+secretFile(t, absent.Secret.RevealText()))
	for path, want := range map[string]struct {
		code int
		says string
	}{
		"/-/healthy": {http.StatusOK, "Healthy"}, "/-/ready": {http.StatusServiceUnavailable, "<script>"}, "/": {http.StatusOK, "&lt;script&gt;"},
	} {
		res, err := http.Get("http://" + r.web.listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != want.code || !strings.Contains(string(body), want.says) || path == "/" && strings.Contains(string(body), "<script>") {
			t.Errorf("%s: %d %s, %v", path, res.StatusCode, body, err)
		}
	}
	r.end()
}
