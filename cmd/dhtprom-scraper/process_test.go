package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/node"
)

// patience bounds every wait of a test; what it waits for takes a second or two.
const patience = 60 * time.Second

// process is dhtprom-scraper as a process, with its output.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string   // closed at its end
	done  chan struct{} // closed after the exit, with all output read

	unmatched []string // lines that no call of until has returned

	mu   sync.Mutex
	said strings.Builder
}

func startProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 1<<16), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "DHTPROM_TEST_AS_PROGRAM=1"), env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the child has its own
	go func() {
		defer close(p.done)
		defer close(p.lines)
		scan := bufio.NewScanner(r)
		for scan.Scan() {
			p.mu.Lock()
			p.said.WriteString(scan.Text() + "\n")
			p.mu.Unlock()
			p.lines <- scan.Text()
		}
		_ = r.Close()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// until waits for a line that matches, and returns its groups. It searches all lines that no earlier call has returned, because
// goroutines of the program write lines in any order.
func (p *process) until(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for i, l := range p.unmatched {
		if m := re.FindStringSubmatch(l); m != nil {
			p.unmatched = slices.Delete(p.unmatched, i, i+1)
			return m
		}
	}
	late := time.After(patience)
	for {
		select {
		case l, more := <-p.lines:
			if !more {
				p.t.Fatalf("ended before it said %s:\n%s", pattern, p.all())
			}
			if m := re.FindStringSubmatch(l); m != nil {
				return m
			}
			p.unmatched = append(p.unmatched, l)
		case <-late:
			p.t.Fatalf("never said %s:\n%s", pattern, p.all())
		}
	}
}

func (p *process) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// stop asks the process to end and returns its exit code and how long it took.
func (p *process) stop() (code int, took time.Duration) {
	p.t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// network is a private DHT in the test's process, with room for clients.
type network struct {
	dht  *node.DHT
	addr string // of the bootstrap node
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dht.Close(); err != nil {
			t.Error(err)
		}
	})
	return &network{dht, dht.Bootstrap()[0]}
}

// node is another node of the network, until the test ends.
func (n *network) node(t *testing.T) *dhtprom.Node {
	t.Helper()
	in, err := n.dht.Config()
	if err != nil {
		t.Fatal(err)
	}
	node, err := dhtprom.NewNode(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// client registers as "demo" until the test ends.
func (n *network) client(t *testing.T, key domain.PublicKey, secret domain.Secret) *client.Client {
	t.Helper()
	c, closeClient, err := newDemoClient(n.dht, identity{keys: domain.KeyPair{Public: key}, secrets: []domain.Secret{secret}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeClient)
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c
}

// freePorts finds a run of UDP ports that are free now, and returns the first.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		if first, err := runOfPorts(n); err == nil {
			return first
		}
	}
	t.Fatal("no free UDP ports")
	return 0
}

func runOfPorts(n int) (first int, err error) {
	for i := range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: first + min(i, first)})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if i == 0 {
			first = c.LocalAddr().(*net.UDPAddr).Port
		}
	}
	return first, nil
}

func httpGet(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
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

const (
	listening  = `msg="Listening on" address=(\S+)`
	accepting  = `msg="Accepting registrations"`
	registered = `msg=alias-success .*alias=demo `
	scraping   = `msg=connection-open .*side=scrape`
)

func TestEntriesSurviveKillAndAreScrapedWithoutANewRegistration(t *testing.T) {
	n, dir := newNetwork(t), t.TempDir()
	args := []string{
		"--storage.path=" + dir, "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=" + n.addr, "--dht.listen-address=127.0.0.1:0",
		"--targets.file=" + filepath.Join(dir, "sd", "targets.json"),
	}
	p := startProcess(t, nil, args...)
	greeting := p.until(`dhtprom-client --scraper=(\S+) --secret-file=(\S+) `)
	key, err := domain.ParsePublicKey(greeting[1])
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keyfile.Secrets(greeting[2])
	if err != nil || keyfile.Exposed(greeting[2]) || keyfile.Exposed(filepath.Join(dir, "identity.seed")) {
		t.Fatalf("the secret file: %v", err)
	}
	address := p.until(listening)[1]
	p.until(accepting)
	c := n.client(t, key, secrets[0])
	p.until(registered)
	p.until(scraping)
	if code, body := httpGet(t, "http://"+address+"/scrape/demo/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("scrape: %d %q", code, body)
	}
	expires := expiry(t, address)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	_ = p.cmd.Wait()

	again := startProcess(t, nil, args...)
	if greet := again.until(`--scraper=(\S+) `); greet[1] != greeting[1] {
		t.Error("the scraper has another identity after a restart")
	}
	address = again.until(listening)[1]
	again.until(scraping)
	if code, body := httpGet(t, "http://"+address+"/scrape/demo/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("scrape after kill -9: %d %q", code, body)
	}
	if now := expiry(t, address); !now.Equal(expires) {
		t.Errorf("expires %s, before the kill %s", now, expires)
	}
	if strings.Contains(again.all(), "msg=alias-success") {
		t.Error("it took a registration")
	}
	if code, took := again.stop(); code != 0 || took > 5*time.Second {
		t.Errorf("SIGTERM: code %d after %s\n%s", code, took, again.all())
	}
	if content, err := os.ReadFile(filepath.Join(dir, "sd", "targets.json")); err != nil || !strings.Contains(string(content), `"demo:`+c.PublicKey().String()+":") {
		t.Errorf("targets: %s, %v", content, err)
	}
	seed, err := os.ReadFile(filepath.Join(dir, "identity.seed"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(seed))
	for _, secret := range []string{secrets[0].RevealText(), lines[len(lines)-1]} {
		if strings.Contains(p.all()+again.all(), secret) {
			t.Error("a secret was printed or logged")
		}
	}
}

func expiry(t *testing.T, address string) time.Time {
	t.Helper()
	_, body := httpGet(t, "http://"+address+"/api/v1/aliases")
	var all struct {
		Data struct{ Aliases []struct{ Expires time.Time } }
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all.Data.Aliases) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return all.Data.Aliases[0].Expires
}

func TestSecretsFromTheEnvironmentStayThere(t *testing.T) {
	dir, seed, secret := t.TempDir(), keyfile.NewSeed(), keyfile.NewSecret()
	env := []string{seedEnv + "=" + seed.RevealText(), secretEnv + "=" + secret.RevealText()}
	p := startProcess(t, env, "--storage.path="+dir, "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0", "--log.level=debug", "--log.format=json")
	if got := p.until(`--scraper=(\S+) `)[1]; got != domain.KeyPairFromSeed(seed).Public.String() {
		t.Errorf("the scraper is %s", got)
	}
	address := p.until(`"msg":"Listening on","address":"([^"]+)"`)[1]
	if code, _ := httpGet(t, "http://"+address+"/-/healthy"); code != 200 {
		t.Errorf("healthy: %d", code)
	}
	p.until(`"msg":"load-aliases"`) // until then, pages of the table are 503
	var pages string
	for _, path := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/aliases"} {
		code, body := httpGet(t, "http://"+address+path)
		if code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
		pages += body
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if code, took := p.stop(); code != 0 || took > 5*time.Second {
		t.Errorf("SIGTERM without a network: code %d after %s", code, took)
	}
	for _, s := range []string{seed.RevealText(), secret.RevealText()} {
		if strings.Contains(p.all()+pages+string(cmdline), s) {
			t.Error("a secret got out")
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "aliases.db" {
			t.Errorf("made %s although it was not needed", f.Name())
		}
	}
}

func TestTakenPortIsSaidAtOnce(t *testing.T) {
	dir := t.TempDir()
	first := startProcess(t, nil, "--storage.path="+dir+"/a", "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0")
	address := first.until(listening)[1]
	second := startProcess(t, nil, "--storage.path="+dir+"/b", "--web.listen-address="+address, "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0")
	second.until(`^dhtprom-scraper: error: --web.listen-address: .*address already in use`)
	<-second.done
	if _ = second.cmd.Wait(); second.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("code %d", second.cmd.ProcessState.ExitCode())
	}
	third := startProcess(t, nil, "--storage.path="+dir+"/a", "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0")
	third.until(`^dhtprom-scraper: error: --storage.path: .*another scraper`)
}

func TestFilesWithWiderPermissionsAreWarnedAbout(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, nil, "--storage.path="+dir, "--secret-file="+path, "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0")
	p.until(`level=WARN .*run chmod 600 on it" path=` + regexp.QuoteMeta(path))
	p.until(`level=WARN .*easy to guess`)
}

func TestDemoShowsAScrapeOverTheDHT(t *testing.T) {
	p := startProcess(t, nil, "demo", "--web.listen-address=127.0.0.1:0")
	url := p.until(`curl (http://\S+/scrape/demo/metrics)`)[1]
	p.until(scraping)
	if code, body := httpGet(t, url); code != 200 || !strings.Contains(body, "process_cpu_seconds_total") {
		t.Errorf("%d %q", code, body)
	}
	if code, took := p.stop(); code != 0 || took > 5*time.Second || strings.Contains(p.all(), "level=ERROR") {
		t.Errorf("SIGTERM: code %d after %s\n%s", code, took, p.all())
	}
}

func TestBootstrapRunsAPrivateNetwork(t *testing.T) {
	port := freePorts(t, 2)
	nodes := startProcess(t, nil, "bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--nodes=2")
	nodes.until(fmt.Sprintf(`--dht.bootstrap=127.0.0.1:%d$`, port))
	p := startProcess(t, nil, "--storage.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0", fmt.Sprintf("--dht.bootstrap=%d", port), "--dht.listen-address=127.0.0.1:0")
	address := p.until(listening)[1]
	p.until(accepting)
	if _, body := httpGet(t, "http://"+address+"/api/v1/status"); !strings.Contains(body, `"state":"online"`) {
		t.Errorf("the scraper is not online: %s", body)
	}
	for _, stopped := range []*process{p, nodes} {
		if code, took := stopped.stop(); code != 0 || took > 5*time.Second {
			t.Errorf("SIGTERM: code %d after %s\n%s", code, took, stopped.all())
		}
	}
}
