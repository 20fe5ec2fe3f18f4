package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/domain"
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

func TestNonsenseGetsOneLineAndTheRightCode(t *testing.T) {
	key := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	good := secretFile(t, keyfile.NewSecret().RevealText())
	malformed := secretFile(t, "hunter2")
	with := func(more ...string) []string {
		return append([]string{"--scraper=" + key, "--secret-file=" + good, "--alias=a"}, more...)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + key, "--alias=a"}, cli.Usage, "--secret-file"},
		{[]string{"--scraper=" + key, "--secret-file=" + good}, cli.Usage, "--alias"},
		{[]string{"--scraper=nonsense", "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + strings.Repeat("0", 64), "--secret-file=" + good, "--alias=a"}, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--alias="}, cli.Usage, "--alias"},
		{[]string{"--scraper=" + key, "--secret-file=" + good, "--alias=a\nb"}, cli.Usage, "--alias"},
		{with("--service=" + strings.Repeat("s", 129)), cli.Usage, "--service"},
		{with("--hostname=a\tb"), cli.Usage, "--hostname"},
		{with("--target=localhost:9100"), cli.Usage, "--target"},
		{with("--target=http://me:hunter2@[::1"), cli.Usage, "--target"},
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
		code := start(ended(), c.args, &out, &errs)
		if code != c.code || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "hunter2") {
			t.Errorf("%q: code %d, %q", c.args, code, errs.String())
		}
	}
}

// bench is a scraper on a network in memory, and room for the program's transport on it. The program runs on a host of
// its own, so the scraper is driven from there, too.
type bench struct {
	connect machine.Connect
	keys    domain.KeyPair
	secret  domain.Secret
	ready   chan *app.Scraper
	told    chan domain.Event
}

// newBench makes a scraper on the host that the program brings.
func newBench(t *testing.T) *bench {
	b := &bench{
		keys: domain.KeyPairFromSeed(keyfile.NewSeed()), secret: keyfile.NewSecret(),
		ready: make(chan *app.Scraper, 1), told: make(chan domain.Event, 1024),
	}
	b.connect = func(h host.Host, n machine.Node) (ports.Transport, error) {
		net := portstest.NewNetwork(h)
		s, err := app.NewScraper(app.ScraperConfig{
			Host: h, Transport: portstest.NewTransport(net), Clock: machine.Clock{}, Store: portstest.NewStore(h, portstest.NewDisk()),
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
		return portstest.NewTransport(net), nil
	}
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

func TestProgramRegistersPassesAnExporterOnAndEndsCleanly(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "node_load1 0.5\n")
	}))
	defer exporter.Close()
	b := newBench(t)
	seed := keyfile.NewSeed()
	t.Setenv(seedEnv, seed.RevealText())
	t.Setenv(secretEnv, b.secret.RevealText())
	t.Setenv("DHTPROM_SERVICE", "from the environment")
	f := newFlags(io.Discard)
	if err := f.parse([]string{"--scraper=" + b.keys.Public.Hex(), "--alias=host:9100", "--target=" + exporter.URL + "/metrics"}); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	log := f.app.Logger(&logged)
	id, err := loadIdentity(f.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	p, cleanup, err := newProgram(f.cfg, id, log, b.connect)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- p.Run(ctx) }()
	s := <-b.ready
	registered := event[domain.AliasSuccess](t, b)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := domain.Register{Alias: "host:9100", Key: domain.KeyPairFromSeed(seed).Public, Hostname: hostname, Service: "from the environment"}
	if registered.Register != want {
		t.Errorf("registered %+v", registered.Register)
	}
	body := make(chan string, 1)
	p.host.Post(func() {
		s.Scrape("host:9100", patience, func(b []byte, err error) {
			if err != nil {
				t.Error(err)
			}
			body <- string(b)
		})
	})
	if got := <-body; got != "node_load1 0.5\n" {
		t.Errorf("%q", got)
	}
	stop()
	if err := <-finished; err != nil {
		t.Error(err)
	}
	left := make(chan int, 1)
	p.host.Post(func() { left <- len(s.Aliases()) })
	if n := <-left; n != 0 {
		t.Error("the client did not say goodbye")
	}
	cleanup()
	if strings.Contains(logged.String(), b.secret.RevealText()) || strings.Contains(logged.String(), seed.RevealText()) {
		t.Error("a secret was logged")
	}
}

func TestProgramWithoutATargetServesItsOwnMetrics(t *testing.T) {
	b := newBench(t)
	f := newFlags(io.Discard)
	if err := f.parse([]string{"--scraper=" + b.keys.Public.String(), "--alias=own", "--secret-file=" + secretFile(t, b.secret.RevealText())}); err != nil {
		t.Fatal(err)
	}
	log := f.app.Logger(io.Discard)
	id, err := loadIdentity(f.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	p, cleanup, err := newProgram(f.cfg, id, log, b.connect)
	if err != nil {
		t.Fatal(err)
	}
	defer cleanup()
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- p.Run(ctx) }()
	s := <-b.ready
	event[domain.AliasSuccess](t, b)
	type result struct {
		body string
		err  error
	}
	answer := make(chan result, 1)
	p.host.Post(func() {
		s.Scrape("own", patience, func(b []byte, err error) { answer <- result{string(b), err} })
	})
	got := <-answer
	for _, want := range []string{"dhtprom_client_registrations_total ", "dhtprom_client_metrics_requests_total 1", "dhtprom_client_connections 1", "go_goroutines", "process_", "dhtprom_build_info"} {
		if got.err != nil || !strings.Contains(got.body, want) {
			t.Errorf("%s is missing: %v", want, got.err)
		}
	}
	stop()
	if err := <-finished; err != nil {
		t.Error(err)
	}
}
