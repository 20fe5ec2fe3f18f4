package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// loop runs posted functions on a separate goroutine.
type loop chan func()

func newLoop(t *testing.T) loop {
	l := make(loop, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := range l {
			f()
		}
	}()
	t.Cleanup(func() { close(l); <-done })
	return l
}

func (l loop) Post(f func())           { l <- f }
func (l loop) Closed() <-chan struct{} { return nil }

// scraper is a scraper with answers set by the test.
type scraper struct {
	loop     host.Loop // of the handler
	mu       sync.Mutex
	asked    domain.ScrapeRequest   // the last one
	answers  map[string]scrape.Page // in place of the body
	bodies   map[string]string
	errs     map[string]error
	silent   map[string]bool
	within   chan time.Duration // of each scrape
	canceled chan string
	aliases  []domain.AliasStatus
	node     ports.NodeStatus
	notReady bool
	loading  bool

	lists   int       // AliasesAfter
	longest int       // of them, in aliases
	listing func(int) // called before each; may be nil

	details   map[string]domain.AliasDetail
	refusals  []domain.Refusal
	damages   []domain.StoreDamage
	pins      []domain.Pin
	ids       []domain.IdentityStatus
	did       []string
	changeErr error
	group     domain.Group // without one if it has no Self
}

func (s *scraper) PublicKey() domain.PublicKey { return domain.PublicKey{1} }
func (s *scraper) Fingerprints() []string      { return []string{"cafe0123"} }
func (s *scraper) Ready() bool                 { return !s.notReady }
func (s *scraper) Loaded() bool                { return !s.loading }
func (s *scraper) AliasesAfter(a domain.Alias, n int) []domain.AliasStatus {
	if s.listing != nil {
		s.listing(s.lists)
	}
	s.lists++
	rest := s.aliases
	if a != "" {
		rest = rest[sort.Search(len(rest), func(i int) bool { return rest[i].Alias > a }):]
	}
	rest = rest[:min(n, len(rest))]
	s.longest = max(s.longest, len(rest))
	return rest
}
func (s *scraper) Sessions() map[domain.SessionState]int {
	return map[domain.SessionState]int{domain.SessionOpen: 2, domain.SessionWaiting: 1}
}
func (s *scraper) Stats() domain.ScraperStats {
	return domain.ScraperStats{
		Scrapes: 7, Group: domain.GroupStats{PassedOn: 9, TakenBack: 2}, ScrapesFailed: map[string]uint64{domain.ReasonTimeout: 3}, Takeovers: 1,
		Aliases: len(s.aliases), MaxAliases: 50, MaxAliasConnections: 40,
		Paths: domain.DialStats{SecondDirect: 5, SecondRelayed: 6, SecondFailed: 8},
	}
}
func (s *scraper) Node() ports.NodeStatus { return s.node }

func (s *scraper) Damages() []domain.StoreDamage { return s.damages }
func (s *scraper) Refusals() []domain.Refusal    { return s.refusals }
func (s *scraper) Pins() []domain.Pin            { return s.pins }

func (s *scraper) Group() (domain.Group, bool) { return s.group, s.group.Self != "" }

func (s *scraper) IdentityStatus() []domain.IdentityStatus { return s.ids }

func (s *scraper) Alias(a domain.Alias) (domain.AliasDetail, bool) {
	for _, known := range s.aliases {
		if known.Alias == a {
			d := s.details[string(a)]
			d.AliasStatus = known
			return d, true
		}
	}
	return domain.AliasDetail{}, false
}

func (s *scraper) Scrapes(a domain.Alias) []domain.Scrape { return s.details[string(a)].Scrapes }

func (s *scraper) Forget(a domain.Alias, done func(bool, error)) {
	_, found := s.Alias(a)
	s.did = append(s.did, "forget "+string(a))
	done(found, s.changeErr)
}

func (s *scraper) Pin(a domain.Alias, key domain.PublicKey, done func(domain.Pin, error)) {
	s.did = append(s.did, "pin "+string(a)+" "+key.Short())
	done(domain.Pin{Alias: a, Key: key}, s.changeErr)
}

func (s *scraper) Unpin(a domain.Alias, done func(bool, error)) {
	s.did = append(s.did, "unpin "+string(a))
	done(slices.ContainsFunc(s.pins, func(p domain.Pin) bool { return p.Alias == a }), s.changeErr)
}

func (s *scraper) Request(alias domain.Alias, r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	a := string(alias)
	select {
	case s.within <- r.Within:
	default:
	}
	s.mu.Lock()
	s.asked = r
	s.mu.Unlock()
	var page scrape.Page
	var err error
	body, known := s.bodies[a]
	switch {
	case s.loading:
		err = domain.ErrNotLoaded
	case s.silent[a]:
		return &scraped{alias: a, canceled: s.canceled}
	case s.errs[a] != nil:
		err = s.errs[a]
	case known:
		page = scrape.Text([]byte(body))
		if p, ok := s.answers[a]; ok {
			page = p
		}
	default:
		err = domain.ErrUnknownAlias
	}
	return &scraped{scrape.Send(s.loop, page, err, h), a, s.canceled}
}

// scraped is a scrape that reports its cancellation.
type scraped struct {
	ports.Scrape // nil for one without an answer
	alias        string
	canceled     chan string
}

func (s *scraped) Cancel() {
	if s.Scrape != nil {
		s.Scrape.Cancel()
	}
	select {
	case s.canceled <- s.alias:
	default:
	}
}

func newScraper() *scraper {
	return &scraper{
		bodies: map[string]string{}, errs: map[string]error{}, silent: map[string]bool{},
		answers: map[string]scrape.Page{}, within: make(chan time.Duration, 100), canceled: make(chan string, 100),
	}
}

func serve(t *testing.T, s *scraper) *httptest.Server {
	t.Helper()
	return serveFor(t, s, s)
}

// serveFor serves a scraper that wraps s.
func serveFor(t *testing.T, s *scraper, wrapped web.Scraper) *httptest.Server {
	t.Helper()
	h := handlerWith(t, newLoop(t), s, func(c *web.Config) { c.Scraper = wrapped })
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// get sends a request without the client's own compression and redirects.
func get(t *testing.T, rawURL string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodGet, rawURL, header...)
}

func do(t *testing.T, method, rawURL string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, rawURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// scrapeURL is the URL as Prometheus builds it: the path from the relabelled alias, escaped by net/url.
func scrapeURL(server *httptest.Server, alias string) string {
	u, _ := url.Parse(server.URL)
	u.Path = "/scrape/" + alias + "/metrics"
	return u.String()
}

func TestScrapeGivesTheAliasesMetrics(t *testing.T) {
	s := newScraper()
	s.bodies["web"] = "# TYPE up gauge\nup 1\n"
	res, body := get(t, scrapeURL(serve(t, s), "web"))
	if res.StatusCode != 200 || body != s.bodies["web"] {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if got := res.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	if within := <-s.within; within != 5*time.Second {
		t.Errorf("a scrape without a deadline may take %s", within)
	}
}

// Issue row 6.13: an alias with a slash or a question mark, or of more than a hundred characters, is a 404.
func TestAliasesOfAllKindsAreScraped(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	for _, alias := range []string{
		"host:9100", "a/b", "a//b", "/a/", "a/../b", "./a", "metrics", "a/metrics", "/metrics", "x?y=1&z", "x#y", "100%", "%2F", "a%3Ab",
		"my web", "ünïcode/電子", strings.Repeat("l", 128), "..", "+", `"<b>`,
	} {
		s.bodies[alias] = "metrics of " + alias
		for _, u := range []string{
			scrapeURL(server, alias), server.URL + "/scrape/" + url.PathEscape(alias) + "/metrics",
			server.URL + "/scrape/" + domain.Alias(alias).PathForm() + "/metrics",
		} {
			if res, body := get(t, u); res.StatusCode != 200 || body != "metrics of "+alias {
				t.Errorf("%s: %d %q", u, res.StatusCode, body)
			}
		}
		delete(s.bodies, alias)
		if res, body := get(t, scrapeURL(server, alias)); res.StatusCode != 404 || body != "Unknown alias\n" {
			t.Errorf("unknown %q: %d %q", alias, res.StatusCode, body)
		}
	}
}

// Issue row 6.24: all failures are "Upstream unavailable", the cause only in the log.
func TestFailedScrapesSayWhy(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	for _, c := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"unknown", domain.ErrUnknownAlias, 404, "Unknown alias\n"},
		{"client failed", &domain.RemoteError{Message: "Failed to obtain metrics (uid 7)"}, 502, "Upstream error: Failed to obtain metrics (uid 7)\n"},
		{"client lies", &domain.RemoteError{Message: "a\nb\r\n<script>\x1b[31m" + strings.Repeat("x", 9999)}, 502, ""},
		{"not connected", fmt.Errorf("%w: %w", domain.ErrNotConnected, errors.New("peer not found")), 502, "Upstream unavailable: not connected: peer not found\n"},
		{"connect timed out before", fmt.Errorf("%w: %w", domain.ErrNotConnected, &domain.TimeoutError{Waiting: "x", After: 1}), 502, ""},
		{"broken", &ports.ConnectionError{Err: errors.New("connection lost")}, 502, "Upstream unavailable: connection lost\n"},
		{"timed out", &domain.TimeoutError{Waiting: "the answer", After: 5 * time.Second}, 504, "Upstream timed out: timed out after 5s waiting for the answer\n"},
		{"closed", domain.ErrClosed, 502, "Upstream unavailable: closed\n"},
	} {
		s.errs["web"] = c.err
		res, body := get(t, scrapeURL(server, "web"))
		if res.StatusCode != c.code || c.want != "" && body != c.want {
			t.Errorf("%s: %d %q", c.name, res.StatusCode, body)
		}
		if strings.Count(body, "\n") != 1 || len(body) > 600 || strings.ContainsAny(body, "\x1b\r") {
			t.Errorf("%s: not one clean line: %q", c.name, body)
		}
		if res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", c.name, res.Header)
		}
	}
}

// Issue row 6.16: no gzip.
func TestLargeBodiesAreCompressedForThoseWhoAcceptIt(t *testing.T) {
	s := newScraper()
	h := handler(t, newLoop(t), s)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.1:1234" // another machine
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	large := strings.Repeat("some_metric{a=\"b\"} 1\n", 1000)
	for _, c := range []struct {
		accept, body string
		zipped       bool
	}{
		{"gzip", large, true}, {"deflate, gzip;q=0.5", large, true}, {"GZIP", large, true}, {"*", large, true},
		{"", large, false}, {"deflate", large, false}, {"gzip;q=0", large, false}, {"*, gzip;q=0", large, false}, {"gzip;q=x", large, false},
		{"gzip", "up 1\n", false},
	} {
		s.bodies["web"] = c.body
		res, got := get(t, scrapeURL(server, "web"), "Accept-Encoding", c.accept)
		if zipped := res.Header.Get("Content-Encoding") == "gzip"; zipped != c.zipped {
			t.Errorf("%q: compressed %t", c.accept, zipped)
			continue
		}
		if res.Header.Get("Vary") != "Accept-Encoding" || res.ContentLength != int64(len(got)) {
			t.Errorf("%q: headers %v", c.accept, res.Header)
		}
		if c.zipped {
			z, err := gzip.NewReader(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil || len(got) > len(large)/10 {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			got = string(plain)
		}
		if got != c.body {
			t.Errorf("%q: another body", c.accept)
		}
	}
}

// Issue row 6.15: the scrape-timeout header is ignored.
func TestScrapeTimeIsPrometheusesLessAMargin(t *testing.T) {
	s := newScraper()
	s.bodies["web"] = ""
	server := serve(t, s)
	for header, want := range map[string]time.Duration{
		"10": 9500 * time.Millisecond, "25.5": 25 * time.Second, "1": 750 * time.Millisecond, "0.1": 75 * time.Millisecond,
		"1e9": 5*time.Minute - 500*time.Millisecond, "Inf": 5*time.Minute - 500*time.Millisecond,
	} {
		res, _ := get(t, scrapeURL(server, "web"), "X-Prometheus-Scrape-Timeout-Seconds", header)
		if got := <-s.within; got != want || res.StatusCode != 200 {
			t.Errorf("%s: %s, want %s (%d)", header, got, want, res.StatusCode)
		}
	}
	for _, header := range []string{"nonsense", "-1", "0", "NaN", "-Inf", "5s"} {
		res, body := get(t, scrapeURL(server, "web"), "X-Prometheus-Scrape-Timeout-Seconds", header)
		if res.StatusCode != 400 || strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %d %q", header, res.StatusCode, body)
		}
	}
}

// Issue row 6.2: a deadline on every wait, even when the loop is stuck or gone.
func TestAnswerComesBeforePrometheusGivesUp(t *testing.T) {
	for _, timeout := range []string{"0.2", "1", "10", "60"} {
		synctest.Test(t, func(t *testing.T) {
			s := newScraper()
			s.silent["web"] = true
			l := make(loop, 8)
			h := handler(t, l, s)
			go func() {
				for range 2 { // the scrape, and its end
					(<-l)()
				}
			}()
			begin := time.Now()
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/scrape/web/metrics", nil)
			r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
			h.ServeHTTP(w, r)
			gaveUp, err := time.ParseDuration(timeout + "s")
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); w.Code != 504 || took >= gaveUp || took < gaveUp/2 {
				t.Errorf("%s: after %s: %d %q", timeout, took, w.Code, w.Body)
			}
			if got := <-s.canceled; got != "web" {
				t.Errorf("%q was cancelled", got)
			}
		})
	}
}

type deadLoop struct{}

func (deadLoop) Post(func())             {}
func (deadLoop) Closed() <-chan struct{} { return nil }

var discard = slog.New(slog.DiscardHandler)

func handler(t *testing.T, l host.Loop, s *scraper) *web.Handler {
	t.Helper()
	return handlerWith(t, l, s, nil)
}

func handlerWith(t *testing.T, l host.Loop, s *scraper, change func(*web.Config)) *web.Handler {
	t.Helper()
	cfg := web.Config{Loop: l, Scraper: s, Log: discard, ScrapeTimeout: 5 * time.Second, Version: "1.2.3"}
	if change != nil {
		change(&cfg)
	}
	s.loop = l
	h, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDeadLoopIsNotWaitedFor(t *testing.T) {
	for path, code := range map[string]int{
		"/scrape/web/metrics": 504, "/-/healthy": 200, "/-/ready": 503, "/api/v1/status": 503, "/api/v1/aliases": 503, "/metrics": 500,
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			w := httptest.NewRecorder()
			handler(t, deadLoop{}, newScraper()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if took := time.Since(begin); w.Code != code || took > 6*time.Second {
				t.Errorf("%s: after %s: %d %q", path, took, w.Code, w.Body)
			}
		})
	}
}

// Issue row 6.15: a cancelled scrape goes on upstream.
func TestScrapeHangsUpWithItsCaller(t *testing.T) {
	s := newScraper()
	s.silent["web"] = true
	server := serve(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scrapeURL(server, "web"), nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			t.Error("it was answered")
		}
	}()
	<-s.within // it is under way
	cancel()
	if got := <-s.canceled; got != "web" {
		t.Errorf("%q was cancelled", got)
	}
	<-gone
}

func TestNonsensePathsAndMethodsGetOneLineAndTheRightCode(t *testing.T) {
	server := serve(t, newScraper())
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/nonsense", 404}, {"GET", "/scrape", 404}, {"GET", "/scrape/", 404}, {"GET", "/scrape/web", 404},
		{"GET", "/scrape//metrics", 404}, {"GET", "/scrape/metrics", 404}, {"GET", "/scrape/web/metrics/", 404}, {"GET", "/api/v1/nonsense", 404},
		{"GET", "/metrics/x", 404}, {"GET", "/-/nonsense", 404}, {"GET", "//", 404}, {"GET", "/api/../nonsense", 404},
		{"POST", "/scrape/web/metrics", 405}, {"DELETE", "/api/v1/aliases", 405}, {"PUT", "/metrics", 405}, {"POST", "/-/ready", 405}, {"POST", "/", 405},
	} {
		res, body := do(t, c.method, server.URL+c.path)
		if res.StatusCode != c.code || strings.Count(body, "\n") != 1 || len(body) < 5 {
			t.Errorf("%s %s: %d %q", c.method, c.path, res.StatusCode, body)
		}
		if c.code == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s %s does not say what is allowed", c.method, c.path)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	check := func(path string, code int) {
		t.Helper()
		for _, method := range []string{"GET", "HEAD"} {
			if res, _ := do(t, method, server.URL+path); res.StatusCode != code {
				t.Errorf("%s %s: %d", method, path, res.StatusCode)
			}
		}
	}
	check("/-/healthy", 200)
	check("/-/ready", 200)
	if _, body := do(t, "GET", server.URL+"/-/ready"); !strings.Contains(body, "new clients cannot find it") {
		t.Errorf("ready without a DHT node that has the record: %q", body)
	}
	s.node.Announced = 3
	if _, body := do(t, "GET", server.URL+"/-/ready"); body != "dhtprom-scraper is ready\n" {
		t.Errorf("ready: %q", body)
	}
	s.notReady = true
	check("/-/healthy", 200)
	check("/-/ready", 503)
	s.node.State = "offline"
	if _, body := do(t, "GET", server.URL+"/-/ready"); body != "Not ready: no DHT node answers\n" {
		t.Errorf("not ready: %q", body)
	}
}

func someAliases() []domain.AliasStatus {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return []domain.AliasStatus{
		{
			Entry:   domain.Entry{Alias: "a:b/<c>", Key: domain.PublicKey{2}, Hostname: "h", Service: "s", Registered: at, Renewed: at, Expires: at.Add(time.Hour)},
			Session: domain.SessionOpen, SessionUp: true, Peer: domain.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:5"), Path: domain.PathDirect},
			Link: domain.LinkStats{RTT: 34 * time.Millisecond, Sent: 200, Resent: 5}, Version: "1.2.3",
			Scrape: domain.Scrape{At: at, Took: 250 * time.Millisecond, Bytes: 99, Success: at.Add(time.Minute)},
		},
		{
			Entry:   domain.Entry{Alias: "down", Key: domain.PublicKey{3}, Expires: at, Renewed: at},
			Session: domain.SessionWaiting, Why: errors.New("peer not found\nat all"),
			Scrape: domain.Scrape{At: at, Err: domain.ErrNotConnected},
		},
		{Entry: domain.Entry{Alias: "new", Key: domain.PublicKey{4}}, Session: domain.SessionConnecting},
	}
}

func decode[T any](t *testing.T, res *http.Response, body string) T {
	t.Helper()
	var e struct {
		Status string
		Data   T
	}
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || e.Status != "success" || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %v", res.StatusCode, body, err)
	}
	return e.Data
}

func TestIdentitiesAreListedWithTheirCounts(t *testing.T) {
	s := newScraper()
	labels, err := domain.ParseLabels(map[string]string{"site": "7"})
	if err != nil {
		t.Fatal(err)
	}
	s.aliases = someAliases()
	s.aliases[0].Identity, s.aliases[0].Labels = "site7", labels
	s.ids = []domain.IdentityStatus{
		{Fingerprints: []string{"cafe0123"}, Aliases: 2, Registrations: 5},
		{Name: "site7", Fingerprints: []string{"beef4567"}, Patterns: []domain.AliasPattern{"a:*", "<b>"}, Labels: labels, Aliases: 1, Registrations: 3, Rejected: 4},
	}
	at := serve(t, s).URL
	res, body := get(t, at+"/api/v1/identities")
	want := []web.Identity{
		{SecretFingerprints: []string{"cafe0123"}, Aliases: 2, Registrations: 5},
		{Name: "site7", SecretFingerprints: []string{"beef4567"}, Patterns: []domain.AliasPattern{"a:*", "<b>"}, Labels: map[string]string{"site": "7"}, Aliases: 1, Registrations: 3, Rejected: 4},
	}
	if got := decode[web.Identities](t, res, body).Identities; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	res, body = get(t, at+"/api/v1/aliases")
	if all := decode[web.Aliases](t, res, body).Aliases; all[0].Identity != "site7" || all[1].Identity != "" {
		t.Errorf("%+v", all)
	}
	if got := discover(t, at+"/sd/prometheus")[0].Labels; got["__meta_dhtprom_identity"] != "site7" || got["site"] != "7" {
		t.Errorf("%v", got)
	}
	_, body = get(t, at+"/metrics")
	for _, line := range []string{
		`dhtprom_identity_aliases{identity="shared"} 2`, `dhtprom_identity_registrations_total{identity="site7"} 3`,
		`dhtprom_identity_registrations_rejected_total{identity="site7"} 4`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if _, body := get(t, at+"/node"); !strings.Contains(body, "<td>a:*, &lt;b&gt;</td><td>site=7</td><td>1</td><td>3</td><td>4</td>") {
		t.Errorf("%s", body)
	}
	if _, body := get(t, at+"/alias?name=a:b/%3Cc%3E"); !strings.Contains(body, "<dt>Identity</dt><dd>site7</dd>") {
		t.Errorf("%s", body)
	}
}

func TestStatusSaysWhoAndHow(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	s.node = ports.NodeStatus{
		State: "online", Addrs: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:49737")}, PublicAddr: netip.MustParseAddrPort("192.0.2.9:49737"),
		NAT: "consistent", Nodes: 20,
	}
	res, body := get(t, serve(t, s).URL+"/api/v1/status")
	got := decode[web.Status](t, res, body)
	if got.PublicKey != s.PublicKey().String() || got.Version != "1.2.3" || !got.Ready || got.Aliases != 3 || got.Sessions["open"] != 2 || got.Sessions["connecting"] != 0 {
		t.Errorf("%+v", got)
	}
	if got.DHT.State != "online" || got.DHT.Addresses[0] != "0.0.0.0:49737" || got.DHT.PublicAddress != "192.0.2.9:49737" || got.DHT.NAT != "consistent" || got.DHT.Nodes != 20 {
		t.Errorf("%+v", got.DHT)
	}
}

func TestAliasesAreListedWithSessionAndScrape(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	res, body := get(t, serve(t, s).URL+"/api/v1/aliases")
	if strings.ContainsAny(body, "<>") {
		t.Error("names from the network are not escaped")
	}
	all := decode[web.Aliases](t, res, body).Aliases
	if len(all) != 3 {
		t.Fatal(body)
	}
	if a := all[0]; a.Alias != "a:b/<c>" || a.ScrapePath != "/scrape/~a~3ab~2f~3cc~3e/metrics" || a.Health != "up" || a.RemoteAddress != "192.0.2.1:5" ||
		a.Path != "direct" || a.Session != "open" || a.LastScrape.Bytes != 99 || a.LastScrape.DurationSeconds != 0.25 || a.LastScrape.LastSuccess == nil {
		t.Errorf("%+v", a)
	}
	measured := web.Connection{RemoteAddress: "192.0.2.1:5", Path: "direct", RTTSeconds: 0.034, PacketsSent: 200, PacketsResent: 5, ClientVersion: "1.2.3"}
	if all[0].Connection != measured || all[1].Connection != (web.Connection{}) {
		t.Errorf("%+v, and without a connection %+v", all[0].Connection, all[1].Connection)
	}
	if a := all[1]; a.Health != "down" || a.LastScrape.Error != "not connected" || a.SessionError != "peer not found at all" || a.RemoteAddress != "" {
		t.Errorf("%+v", a)
	}
	if a := all[2]; a.Health != "unknown" || a.LastScrape != nil {
		t.Errorf("%+v", a)
	}
	s.aliases = nil
	res, body = get(t, serve(t, s).URL+"/api/v1/aliases")
	decode[web.Aliases](t, res, body)
	if !strings.Contains(body, `"aliases":[]`) {
		t.Errorf("an empty table is %s", body)
	}
}

// Issue row 6.24: no metrics per target.
func TestOwnMetricsFollowTheConventions(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	s.node = ports.NodeStatus{State: "online", Nodes: 20, Counters: []ports.Counter{{Name: "dht_queries", Help: "Queries.", Value: 42},
		{Name: "holepunch_results", Help: "Punches.", Value: 3, Labels: []ports.Label{{Name: "kind", Value: "random"}, {Name: "result", Value: "won"}}}, {Name: "bad name", Help: "x"}}}
	s.bodies["known"] = "x 1\n"
	server := serve(t, s)
	_, body := get(t, server.URL+"/metrics")
	for _, want := range []string{
		`dhtprom_holepunch_results_total{kind="random",result="won"} 3`, `dhtprom_connections{path="punched"} 0`, "dhtprom_pinned_aliases 0",
		`dhtprom_registration_connections_denied_total{limit="address"} 0`,
		`dhtprom_session_second_dials_total{result="direct"} 5`, `dhtprom_session_second_dials_total{result="relayed"} 6`, `dhtprom_session_second_dials_total{result="failed"} 8`,
		"dhtprom_aliases_limit 50", "dhtprom_registration_connections_limit 40", "dhtprom_http_scrapes 0", "dhtprom_http_scrapes_limit 100000",
		"dhtprom_http_unread_bytes 0", "dhtprom_http_unread_limit_bytes 2.68435456e+08",
		"dhtprom_alias_expiry_seconds 10800", "dhtprom_aliases 3", `dhtprom_sessions{state="open"} 2`, `dhtprom_sessions{state="connecting"} 0`, `dhtprom_connections{path="direct"} 1`,
		`dhtprom_target_connected{alias="a:b/<c>"} 1`, `dhtprom_target_connected{alias="down"} 0`,
		`dhtprom_target_last_scrape_duration_seconds{alias="a:b/<c>"} 0.25`, "dhtprom_proxied_scrapes_total 7",
		`dhtprom_proxied_scrapes_failed_total{reason="timeout"} 3`, `dhtprom_registrations_rejected_total{reason="unauthorised"} 0`,
		"dhtprom_alias_takeovers_total 1", "dhtprom_dht_nodes 20", "dhtprom_dht_queries_total 42", "dhtprom_dht_online 1", "dhtprom_ready 1",
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(body, "bad name") {
		t.Error("a name that is none got in")
	}
	get(t, server.URL+"/scrape/known/metrics")
	get(t, server.URL+"/scrape/unknown/metrics")
	if _, body = get(t, server.URL+"/metrics"); !strings.Contains(body, "dhtprom_proxied_scrape_duration_seconds_count 1\n") ||
		!strings.Contains(body, "dhtprom_proxied_scrape_size_bytes_sum 4\n") {
		t.Error("scrapes are not measured")
	}
	promtool := tool.Require(t, "promtool")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	problems, err := promlint.New(bytes.NewReader([]byte(body))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func httptestServer(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestPagesLinkEverythingAndLoadNothingFromElsewhere(t *testing.T) {
	for _, prefix := range []string{"", "/below"} {
		s := newScraper()
		s.aliases, s.bodies = someAliases(), map[string]string{"a:b/<c>": "x 1\n", "down": "x 1\n", "new": "x 1\n"}
		s.pins = []domain.Pin{{Alias: "down", Key: domain.PublicKey{3}}}
		at := httptestServer(t, handlerWith(t, newLoop(t), s, func(c *web.Config) { c.RoutePrefix = &prefix }))
		seen := map[string]bool{}
		todo := []string{prefix + "/"}
		for len(todo) > 0 {
			link := todo[0]
			todo = todo[1:]
			if seen[link] {
				continue
			}
			seen[link] = true
			res, body := get(t, at+link)
			if res.StatusCode != 200 {
				t.Errorf("%s: %d %s", link, res.StatusCode, body)
			}
			if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
				continue
			}
			if !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s has no policy", link)
			}
			for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				switch to := html.UnescapeString(m[1]); {
				case strings.HasPrefix(to, "#"), strings.HasPrefix(to, "data:image/svg+xml,"):
				case !strings.HasPrefix(to, prefix+"/"):
					t.Errorf("%s leads elsewhere: %s", link, to)
				default:
					todo = append(todo, to)
				}
			}
		}
		for _, want := range []string{"/metrics", "/sd/prometheus", "/api/v1/status", "/node", "/alias?name=down", "/?sort=-alias&state=down", "/scrape/~a~3ab~2f~3cc~3e/metrics"} {
			if !seen[prefix+want] {
				t.Errorf("nothing leads to %s%s", prefix, want)
			}
		}
	}
}
