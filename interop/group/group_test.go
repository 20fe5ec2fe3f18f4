package group_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/etcd"
	"github.com/dhtprom/dhtprom/interop/process"
)

const (
	nodes    = 6 // of the DHT
	password = "open sesame"
)

// fellows is a group of scrapers with a private DHT.
type fellows struct {
	t         testing.TB
	store     *etcd.Cluster
	bootstrap string
	seed      domain.Seed
	secret    domain.Secret
	members   map[string]*member
	clients   []string // their aliases
	lease     time.Duration
	ready     func(map[string]bool)

	mu      sync.Mutex
	started map[string]string // URLs of members, the last one of each
}

// urls lists the URLs of the members.
func (f *fellows) urls() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Values(f.started))
}

type member struct {
	*process.Process
	url string
}

func newGroup(t testing.TB, names ...string) *fellows {
	t.Helper()
	return newGroupOn(t, 1, names...)
}

// newGroupOn starts a group on so many nodes of etcd.
func newGroupOn(t testing.TB, stores int, names ...string) *fellows {
	t.Helper()
	lease := 2 * time.Second
	if _, ok := t.(*testing.B); ok {
		lease = 10 * time.Second // a busy machine delays renewals
	}
	return newGroupWith(t, stores, lease, names...)
}

// newGroupWith is newGroupOn with leases of a time.
func newGroupWith(t testing.TB, stores int, lease time.Duration, names ...string) *fellows {
	t.Helper()
	port := process.FreePorts(t, nodes)
	f := &fellows{
		t: t, store: etcd.StartCluster(t, stores), started: map[string]string{}, lease: lease, bootstrap: fmt.Sprintf("127.0.0.1:%d", port),
		seed: domain.SeedFrom([32]byte{1, 2, 3}), secret: domain.SecretFrom([32]byte{4, 5, 6}), members: map[string]*member{},
	}
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--nodes=%d", nodes),
	}}).Await("Running DHT nodes")
	for _, name := range names {
		f.start(name)
	}
	return f
}

// start starts a member, whose HTTP server has a password.
func (f *fellows) start(name string, more ...string) {
	f.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		f.t.Fatal(err)
	}
	users := filepath.Join(f.t.TempDir(), "web.yml")
	if err := os.WriteFile(users, []byte("basic_auth_users:\n  prometheus: "+string(hash)+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	address := process.FreeAddress(f.t)
	m := &member{url: "http://" + address}
	f.mu.Lock()
	f.started[name] = m.url
	f.mu.Unlock()
	args := []string{
		"run", "--web.listen-address=" + address, "--web.config.file=" + users, "--dht.bootstrap=" + f.bootstrap,
		"--group.advertise-url=" + m.url, "--group.name=" + name, "--group.lease=" + f.lease.String(),
	}
	for _, at := range f.store.Endpoints() {
		args = append(args, "--group.etcd="+at)
	}
	m.Process = process.Start(f.t, process.Command{
		Path: "dhtprom-scraper", Args: append(args, more...),
		Env: []string{"DHTPROM_SECRET=" + f.secret.RevealText(), "DHTPROM_IDENTITY_SEED=" + f.seed.RevealText()},
	})
	f.members[name] = m
	process.Until(f.t, name+" is ready", func() error {
		_, err := process.Get(m.url + "/-/ready")
		return err
	})
}

// get requests a page of a member.
func (m *member) get(path string) (body []byte, err error) {
	ctx, stop := context.WithTimeout(context.Background(), scrapeTimeout+time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("prometheus", password)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(scrapeTimeout.Seconds()))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return body, err
}

// scrapeTimeout is Prometheus's.
const scrapeTimeout = 10 * time.Second

func (m *member) scrape(alias string) error {
	body, err := m.get("/scrape/" + alias + "/metrics")
	if err == nil && string(body) != page(alias) {
		err = fmt.Errorf("got %q", body)
	}
	return err
}

func page(alias string) string { return "client{alias=\"" + alias + "\"} 1\n" }

// client starts a client and waits until each member has its alias.
func (f *fellows) client(alias string) {
	f.t.Helper()
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page(alias))
	}))
	f.t.Cleanup(exporter.Close)
	process.Start(f.t, process.Command{
		Path: "dhtprom-client",
		Args: []string{
			"--scraper=" + domain.KeyPairFromSeed(f.seed).Public.String(), "--alias=" + alias, "--dht.bootstrap=" + f.bootstrap, "--target=" + exporter.URL,
		},
		Env: []string{"DHTPROM_SECRET=" + f.secret.RevealText()},
	})
	f.clients = append(f.clients, alias)
	for name, m := range f.members {
		process.Until(f.t, name+" has "+alias, func() error { return m.scrape(alias) })
	}
}

type group struct {
	Leader         string
	StoreReachable bool
	Members        []struct{ ID, Name string }
}

func (m *member) group() (g group, err error) {
	body, err := m.get("/api/v1/status")
	var status struct{ Data struct{ Group group } }
	if err == nil {
		err = json.Unmarshal(body, &status)
	}
	return status.Data.Group, err
}

// leader waits until all members name one leader that is another one than the last.
func (f *fellows) leader(last string) (leader string) {
	f.t.Helper()
	process.Until(f.t, "a member leads", func() error {
		leader = ""
		for name, m := range f.members {
			g, err := m.group()
			if err != nil {
				return err
			}
			i := slices.IndexFunc(g.Members, func(one struct{ ID, Name string }) bool { return one.ID == g.Leader })
			if i < 0 || g.Members[i].Name == last || leader != "" && g.Members[i].Name != leader {
				return fmt.Errorf("%s sees %+v", name, g)
			}
			leader = g.Members[i].Name
		}
		return nil
	})
	return leader
}

// scrapes are those of all aliases at some members, every 100 ms, until it is stopped.
type scrapes struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	ok     int
	failed []error
}

func (f *fellows) scrapes(members ...string) *scrapes {
	ctx, stop := context.WithCancel(context.Background())
	s := &scrapes{stop: stop}
	f.t.Cleanup(func() { stop(); s.done.Wait() })
	for _, name := range members {
		m := f.members[name]
		for _, alias := range f.clients {
			s.done.Go(func() {
				for ticks := time.NewTicker(100 * time.Millisecond); ; {
					select {
					case <-ticks.C:
					case <-ctx.Done():
						return
					}
					begun := time.Now()
					err := m.scrape(alias)
					s.mu.Lock()
					if err == nil {
						s.ok++
					} else {
						s.failed = append(s.failed, fmt.Errorf("%s of %s at %s after %s: %w", alias, begun.Format(time.TimeOnly), name, time.Since(begun), err))
					}
					s.mu.Unlock()
				}
			})
		}
	}
	return s
}

// more waits for scrapes of now and later.
func (s *scrapes) more(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	last := s.ok
	s.mu.Unlock()
	process.Until(t, "scrapes go on", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ok < last+20 {
			return errors.Join(append(s.failed, fmt.Errorf("%d scrapes", s.ok))...)
		}
		return nil
	})
}

// end stops the scrapes and returns those that failed.
func (s *scrapes) end() []error {
	s.stop()
	s.done.Wait()
	return s.failed
}

// promtool checks the metrics of a member, which has those of groups.
func (f *fellows) promtool(name string) {
	f.t.Helper()
	page, err := f.members[name].get("/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, metric := range []string{"leader", "members", "store_reachable", "term", "clients_missed", "clients_pinned", "scrapes_passed_on_total", "scrapes_taken_back_total", "requests_rejected_total"} {
		if !bytes.Contains(page, []byte("\n# TYPE dhtprom_group_"+metric+" ")) {
			f.t.Errorf("dhtprom_group_%s is not on the page of a member", metric)
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = bytes.NewReader(page)
	if out, err := check.CombinedOutput(); err != nil {
		f.t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func others(all map[string]*member, name string) (rest []string) {
	for other := range all {
		if other != name {
			rest = append(rest, other)
		}
	}
	slices.Sort(rest)
	return rest
}

func TestNoScrapeFailsWhenMembersStop(t *testing.T) {
	f := newGroup(t, "a", "b", "c")
	first := f.leader("")
	for _, alias := range []string{"web", "db"} {
		f.client(alias)
	}
	t.Logf("%s leads", first)

	f.promtool(first)

	running := f.scrapes(others(f.members, first)...)
	running.more(t)
	f.members[first].Kill()
	delete(f.members, first)
	second := f.leader(first)
	t.Logf("%s leads after a kill", second)
	running.more(t)
	for _, err := range running.end() {
		t.Errorf("after a kill: %v", err)
	}

	running = f.scrapes(others(f.members, second)...)
	running.more(t)
	f.members[second].Stop()
	delete(f.members, second)
	third := f.leader(second)
	t.Logf("%s leads after a stop", third)
	running.more(t)
	for _, err := range running.end() {
		t.Errorf("after a stop: %v", err)
	}

	f.start(first)
	running = f.scrapes(third)
	for _, alias := range f.clients {
		process.Until(t, "a member that has come back scrapes "+alias, func() error { return f.members[first].scrape(alias) })
	}
	f.store.Kill(0)
	process.Until(t, "the members notice that etcd is gone", func() error {
		for name, m := range f.members {
			if g, err := m.group(); err != nil || g.StoreReachable {
				return fmt.Errorf("%s: reachable %v, %w", name, g.StoreReachable, err)
			}
		}
		return nil
	})
	running.more(t)
	f.store.Restart(0)
	f.leader("")
	for _, err := range running.end() {
		t.Errorf("without etcd: %v", err)
	}
}

func TestMembersWithAnotherSeedAreRefused(t *testing.T) {
	f := newGroup(t, "a")
	p := process.Start(t, process.Command{
		Path: "dhtprom-scraper",
		Args: []string{
			"run", "--web.listen-address=" + process.FreeAddress(t), "--dht.bootstrap=" + f.bootstrap, "--group.advertise-url=http://127.0.0.1:1",
			"--group.etcd=" + f.store.Endpoints()[0],
		},
		Env: []string{"DHTPROM_SECRET=" + f.secret.RevealText(), "DHTPROM_IDENTITY_SEED=" + hex.EncodeToString(make([]byte, 31)) + "07"},
	})
	p.Await("--group.etcd: the group has another configuration: its public key is " + domain.KeyPairFromSeed(f.seed).Public.String())
	if code := p.Wait(); code != 1 {
		t.Errorf("ended with code %d", code)
	}
}
