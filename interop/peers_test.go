package interop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/earlier"
	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// peers creates clients and scrapers of one implementation. The interface is what the tests compare.
type peers interface {
	scraper(t testing.TB, net testnet, cfg scraperConfig) scraper
	client(t testing.TB, net testnet, cfg clientConfig) client
}

type scraperConfig struct {
	seed    string   // names the key pair
	secret  string   // name of the secret
	host    string   // where the node is bound
	storage string   // a folder that outlives the scraper; the packages have none
	flags   []string // more flags of a Go scraper
}

type clientConfig struct {
	scraper  string // public key, in hex
	secret   string // names the secret
	host     string // where the node is bound; a Go client is always bound to all addresses
	seed     string // names the key pair; empty makes one
	alias    string
	every    time.Duration // between registrations; zero is the default of an hour
	sameKeys bool          // registers under the key that it serves metrics under
}

type scraper interface {
	key() string // in hex
	// connected waits for a connection to the client of an alias that was not waited for yet.
	connected(t testing.TB, alias string, c client)
	// registered waits for a registration and returns its alias and whether it changed something.
	registered(t testing.TB) (alias string, updated bool)
	// refused waits for a registration with a wrong secret.
	refused(t testing.TB)
	// scrape asks for an alias's metrics, times in a row. The first time it waits for a connection.
	scrape(t testing.TB, alias string, times int) []result
	// aliases returns the key, in hex, of every alias.
	aliases(t testing.TB) map[string]string
	// crash ends it as kill -9 does.
	crash()
}

// result is the outcome of a scrape: the metrics, or why there were none.
type result struct {
	body   string
	reason string // empty with a body
}

type client interface {
	key() string // in hex
	// registered waits for a successful registration, and returns whether the scraper learned something new.
	registered(t testing.TB) (updated bool)
	// refused waits for a failed registration, and returns the reason.
	refused(t testing.TB) string
	// blocked waits until the firewall has rejected a peer.
	blocked(t testing.TB)
	// serve sets the page to serve from now on; a reason makes the source fail with it.
	serve(t testing.TB, body, reason string)
	// crash ends it as kill -9 does.
	crash()
}

// ---- the packages

type javaScript struct{}

// args are the options of a JavaScript node: those of a network, and where it is bound.
func (tn testnet) args(host string) jspeer.Args { return tn.dht(jspeer.Args{"host": host}) }

func (javaScript) scraper(t testing.TB, net testnet, cfg scraperConfig) scraper {
	t.Helper()
	return &jsScraper{jspeer.StartScraper(jspeer.Start(t), jspeer.Args{
		"dht": net.args(cfg.host), "seed": jspeer.Seed(cfg.seed), "secret": jspeer.Seed(cfg.secret),
	})}
}

func (javaScript) client(t testing.TB, net testnet, cfg clientConfig) client {
	t.Helper()
	dht := net.args(cfg.host)
	args := jspeer.Args{
		"dht": dht, "scraper": cfg.scraper, "secret": jspeer.Seed(cfg.secret), "alias": cfg.alias, "hostname": "cellar",
	}
	if cfg.seed != "" {
		args["seed"] = jspeer.Seed(cfg.seed)
	}
	if cfg.every != 0 {
		args["registerIntervalMs"] = cfg.every.Milliseconds()
	}
	if cfg.sameKeys {
		dht["seed"] = args["seed"]
	}
	return &jsClient{jspeer.StartClient(jspeer.Start(t), args)}
}

type jsScraper struct{ s *jspeer.Scraper }

func (s *jsScraper) key() string { return s.s.PublicKey }
func (s *jsScraper) crash()      { s.s.Kill() }

func (s *jsScraper) connected(t testing.TB, alias string, _ client) {
	t.Helper()
	s.s.For(t).Await("scrape-connection-open", func(e jspeer.Event) bool {
		var facts struct{ Alias string }
		return e.Decode(&facts) == nil && facts.Alias == alias
	})
}

func (s *jsScraper) registered(t testing.TB) (string, bool) {
	t.Helper()
	var facts struct {
		Alias   string
		Updated bool
	}
	if err := s.s.For(t).Await("alias-success", nil).Decode(&facts); err != nil {
		t.Fatal(err)
	}
	return facts.Alias, facts.Updated
}

func (s *jsScraper) refused(t testing.TB) {
	t.Helper()
	s.s.For(t).Await("alias-unauthorised", nil)
}

func (s *jsScraper) scrape(t testing.TB, alias string, times int) []result {
	t.Helper()
	scrapes, err := s.s.Scrape(alias, times)
	if err != nil {
		t.Fatal(err)
	}
	results := make([]result, 0, times)
	for _, r := range scrapes {
		results = append(results, result{r.Body, r.ErrorMessage})
	}
	return results
}

func (s *jsScraper) aliases(testing.TB) map[string]string {
	all := map[string]string{}
	for _, a := range s.s.Aliases() {
		all[a.Alias] = a.Key
	}
	return all
}

type jsClient struct{ c *jspeer.Client }

func (c *jsClient) key() string { return c.c.PublicKey }
func (c *jsClient) crash()      { c.c.Kill() }

func (c *jsClient) registered(t testing.TB) bool {
	t.Helper()
	var facts struct{ Updated bool }
	if err := c.c.For(t).Await("register-alias-success", nil).Decode(&facts); err != nil {
		t.Fatal(err)
	}
	return facts.Updated
}

func (c *jsClient) refused(t testing.TB) string {
	t.Helper()
	return c.c.For(t).Await("register-alias-error", nil).String()
}

func (c *jsClient) blocked(t testing.TB) {
	t.Helper()
	c.c.For(t).Await("firewall-block", nil)
}

func (c *jsClient) serve(t testing.TB, body, reason string) {
	t.Helper()
	c.c.For(t).Call("source", jspeer.Args{"on": c.c.On, "text": body, "fail": reason}, nil)
}

// ---- our programs

type ours struct {
	before bool // programs of the version before, in place of this one
}

// programs returns the folder of the programs.
func (o ours) programs(t testing.TB) string {
	t.Helper()
	if o.before {
		return earlier.Programs(t)
	}
	return process.Programs(t)
}

// flags returns the programs' flags for a network.
func (tn testnet) flags() (args []string) {
	entries := tn.bootstrap
	if tn.ports != nil {
		entries = tn.ports
	}
	for _, b := range entries {
		args = append(args, "--dht.bootstrap="+b)
	}
	return args
}

func (o ours) scraper(t testing.TB, network testnet, cfg scraperConfig) scraper {
	t.Helper()
	if cfg.storage == "" {
		cfg.storage = t.TempDir()
	}
	args := []string{
		"--storage.path=" + cfg.storage, "--web.listen-address=127.0.0.1:0", "--dht.listen-address=" + net.JoinHostPort(cfg.host, "0"),
		"--targets.file=" + filepath.Join(cfg.storage, "targets.json"),
	}
	args = append(append(args, network.flags()...), cfg.flags...)
	p := startOf(t, o.programs(t), "dhtprom-scraper", []string{
		"DHTPROM_IDENTITY_SEED=" + jspeer.Seed(cfg.seed), "DHTPROM_SECRET=" + jspeer.Seed(cfg.secret),
	}, args...)
	s := &goScraper{version: o, p: p, publicKey: keys(t, cfg.seed).Public.Hex()}
	s.url = "http://" + p.await(t, "Listening on", nil).text("address")
	p.await(t, "Accepting registrations", nil)
	return s
}

func (o ours) client(t testing.TB, network testnet, cfg clientConfig) client {
	t.Helper()
	c := &goClient{version: o}
	exporter := httptest.NewServer(http.HandlerFunc(c.export))
	t.Cleanup(exporter.Close)
	if cfg.seed == "" {
		cfg.seed = fmt.Sprint(t.Name(), " client ", time.Now().UnixNano())
	}
	c.publicKey = keys(t, cfg.seed).Public.Hex()
	args := []string{
		"--scraper=" + cfg.scraper, "--alias=" + cfg.alias, "--hostname=cellar", "--service=service", "--target=" + exporter.URL,
	}
	if cfg.every != 0 {
		args = append(args, "--register.interval="+cfg.every.String())
	}
	args = append(args, network.flags()...)
	c.p = startOf(t, o.programs(t), "dhtprom-client", []string{
		"DHTPROM_IDENTITY_SEED=" + jspeer.Seed(cfg.seed), "DHTPROM_SECRET=" + jspeer.Seed(cfg.secret),
	}, args...)
	return c
}

type goScraper struct {
	version   ours
	p         *program
	publicKey string
	url       string
}

func (s *goScraper) key() string { return s.publicKey }
func (s *goScraper) crash()      { s.p.kill() }

func (s *goScraper) connected(t testing.TB, _ string, c client) {
	t.Helper()
	s.p.await(t, "connection-open", func(e entry) bool {
		return e.text("side") == "scrape" && key(t, e.text("remote_key")).Hex() == c.key()
	})
}

func (s *goScraper) registered(t testing.TB) (string, bool) {
	t.Helper()
	e := s.p.await(t, "alias-success", nil)
	return e.text("alias"), e["updated"] == true
}

func (s *goScraper) refused(t testing.TB) {
	t.Helper()
	s.p.await(t, "alias-unauthorised", nil)
}

func (s *goScraper) scrape(t testing.TB, alias string, times int) []result {
	t.Helper()
	results := make([]result, 0, times)
	for range times {
		a := s.fetch(t, "/scrape/"+alias+"/metrics", nil)
		if a.status == http.StatusOK {
			results = append(results, result{body: a.body})
		} else {
			results = append(results, result{reason: fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body))})
		}
	}
	return results
}

// fetched is an answer of a scraper.
type fetched struct {
	status            int
	contentType, body string
}

// fetch requests a page as Prometheus does, from any goroutine. Header fields replace those by default.
func (s *goScraper) fetch(t testing.TB, path string, header http.Header) fetched {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Error(err)
		return fetched{}
	}
	// Allow for a busy machine; a scrape itself is fast.
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(patience.Seconds()))
	maps.Copy(r.Header, header)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return fetched{}
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Error(err)
		return fetched{}
	}
	return fetched{answer.StatusCode, answer.Header.Get("Content-Type"), string(body)}
}

func (s *goScraper) aliases(t testing.TB) map[string]string {
	t.Helper()
	return s.keysOf(t, "aliases")
}

// pins returns the key, in hex, of every pin.
func (s *goScraper) pins(t testing.TB) map[string]string {
	t.Helper()
	return s.keysOf(t, "pins")
}

// keysOf returns the keys, in hex, of a list of the API.
func (s *goScraper) keysOf(t testing.TB, list string) map[string]string {
	t.Helper()
	body := s.get(t, "/api/v1/"+list)
	var answer struct {
		Data struct {
			Aliases, Pins []struct{ Alias, PublicKey string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	all := map[string]string{}
	for _, a := range append(answer.Data.Aliases, answer.Data.Pins...) {
		all[a.Alias] = key(t, a.PublicKey).Hex()
	}
	return all
}

// get fetches a page that must exist.
func (s *goScraper) get(t testing.TB, path string) []byte {
	t.Helper()
	answer, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, answer.Status, err, body)
	}
	return body
}

type goClient struct {
	version   ours
	p         *program
	publicKey string

	mu     sync.Mutex
	body   string
	reason string
	page   http.HandlerFunc // in place of the two, if set
}

func (c *goClient) export(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if page := c.page; page != nil {
		c.mu.Unlock()
		page(w, r)
		return
	}
	defer c.mu.Unlock()
	if c.reason != "" {
		http.Error(w, c.reason, http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, c.body)
}

func (c *goClient) key() string { return c.publicKey }
func (c *goClient) crash()      { c.p.kill() }

func (c *goClient) registered(t testing.TB) bool {
	t.Helper()
	return c.p.await(t, "register-alias-success", nil)["updated"] == true
}

func (c *goClient) refused(t testing.TB) string {
	t.Helper()
	return c.p.await(t, "register-alias-error", nil).text("err")
}

func (c *goClient) blocked(t testing.TB) {
	t.Helper()
	c.p.await(t, "firewall-block", nil)
}

func (c *goClient) serve(_ testing.TB, body, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body, c.reason, c.page = body, reason, nil
}

// serveBy sets the handler of the exporter from now on.
func (c *goClient) serveBy(page http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.page = page
}
