package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

// alone are the flags of a scraper without a network.
func alone(dir string) []string {
	return []string{"--storage.path=" + dir, "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0"}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSecretsRotateWithoutALostScrape follows the documentation: add the new secret, reload, move the clients, remove the old
// one, reload.
func TestSecretsRotateWithoutALostScrape(t *testing.T) {
	n, dir := newNetwork(t), t.TempDir()
	before, after := keyfile.NewSecret(), keyfile.NewSecret()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	writeFile(t, first, before.RevealText())
	writeFile(t, second, "# none yet\n"+before.RevealText())
	p := startProcess(t, nil, append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0",
		"--secret-file="+first, "--secret-file="+second, "--web.enable-lifecycle")...)
	key, err := domain.ParsePublicKey(p.until(`--scraper=(\S+) --secret-file=`)[1])
	if err != nil {
		t.Fatal(err)
	}
	address := p.until(listening)[1]
	p.until(accepting)
	n.client(t, key, before)
	p.until(registered)
	p.until(scraping)

	// Prometheus, a little impatient.
	stop, scraped, lost := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(lost)
		for {
			select {
			case <-stop:
				return
			case scraped <- struct{}{}:
			default:
			}
			res, err := http.Get("http://" + address + "/scrape/demo/metrics")
			if err != nil {
				lost <- err
				return
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != 200 {
				lost <- fmt.Errorf("%d %s %v", res.StatusCode, body, err)
				return
			}
		}
	}()
	scrapes := func() {
		t.Helper()
		for range 5 {
			select {
			case <-scraped:
			case err := <-lost:
				t.Fatalf("a scrape was lost: %v", err)
			}
		}
	}
	scrapes()
	writeFile(t, second, after.RevealText())
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until(`msg=Reloaded secrets=2`)
	scrapes()
	n.client(t, key, after) // the client, started again with the new secret
	p.until(registered)
	scrapes()
	writeFile(t, first, after.RevealText())
	res, err := http.Post("http://"+address+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	p.until(`msg=Reloaded secrets=1`)
	scrapes()
	close(stop)
	if err := <-lost; err != nil {
		t.Errorf("a scrape was lost: %v", err)
	}
	if _, body := httpGet(t, "http://"+address+"/api/v1/status"); !strings.Contains(body, `"secretFingerprints":["`+after.Fingerprint()+`"]`) {
		t.Errorf("status: %s", body)
	}
	// A broken file changes nothing and is reported.
	writeFile(t, first, "hunter2")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until(`level=ERROR .*the secrets are unchanged.*line 1 is not a secret`)
	if _, body := httpGet(t, "http://"+address+"/metrics"); !strings.Contains(body, "\ndhtprom_config_last_reload_successful 0\n") {
		t.Error("the failure is not in the metrics")
	}
	if strings.Contains(p.all(), "hunter2") || strings.Contains(p.all(), after.RevealText()) {
		t.Error("a secret was logged")
	}
}

func TestAliasCommandsListForgetAndPin(t *testing.T) {
	n, dir := newNetwork(t), t.TempDir()
	p := startProcess(t, nil, append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0", "--web.enable-lifecycle", "--alias.pin")...)
	greeting := p.until(`--scraper=(\S+) --secret-file=(\S+) `)
	key, err := domain.ParsePublicKey(greeting[1])
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keyfile.Secrets(greeting[2])
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + p.until(listening)[1]
	p.until(accepting)
	c := n.client(t, key, secrets[0])
	p.until(registered)
	run := func(args ...string) (string, string, int) {
		t.Helper()
		var out, errs bytes.Buffer
		code := start(context.Background(), append([]string{"alias", "--url=" + at}, args...), &out, &errs)
		return out.String(), errs.String(), code
	}
	if out, errs, code := run("list"); code != 0 || !strings.Contains(out, "demo") || !strings.Contains(out, c.PublicKey().String()) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	n.client(t, key, secrets[0]) // another key
	p.until(`msg=alias-error .*belongs to another key`)
	if out, errs, code := run("pin", "demo"); code != 0 || out != "Done\n" {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if _, errs, code := run("pin", "other", c.PublicKey().String()); code != 0 {
		t.Error(errs)
	}
	out, _, _ := run("list", "--format=json")
	var list struct {
		Aliases []web.AliasEntry
		Pins    []web.Pin
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Aliases) != 1 || len(list.Pins) != 2 || list.Pins[0].PublicKey != c.PublicKey().String() {
		t.Errorf("%s %v", out, err)
	}
	if out, errs, code := run("forget", "demo"); code != 0 {
		t.Errorf("%d %s %s", code, out, errs)
	}
	p.until(`msg=alias-forgotten .*alias=demo`)
	if _, errs, code := run("forget", "nobody"); code != cli.Failed || errs != "dhtprom-scraper: error: no such alias\n" {
		t.Errorf("%d %q", code, errs)
	}
	if _, errs, code := run("unpin", "demo"); code != 0 {
		t.Error(errs)
	}
	at = "http://127.0.0.1:1"
	if _, errs, code := run("list"); code != cli.Failed || strings.Count(errs, "no answer from http://127.0.0.1:1") != 1 {
		t.Errorf("%d %q", code, errs)
	}
}

// certificate creates a certificate for 127.0.0.1 and its key, and returns their files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeFile(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return cert, key
}

func TestWebConfigurationProtectsEverythingButHealth(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "web.yml")
	writeFile(t, config, fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s}\nbasic_auth_users: {op: %q}\n", cert, key, hash))
	p := startProcess(t, nil, append(alone(dir), "--web.listen-address=127.0.0.1:0", "--web.config.file="+config)...)
	first, second := p.until(listening)[1], p.until(listening)[1]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	ask := func(method, url, password string) int {
		t.Helper()
		req, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("op", password)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Proto != "HTTP/1.1" {
			t.Errorf("%s is served over %s", url, res.Proto)
		}
		return res.StatusCode
	}
	for _, address := range []string{first, second} {
		for _, c := range []struct {
			method, path, password string
			code                   int
		}{
			{"GET", "/-/healthy", "", 200},
			{"GET", "/metrics", "", 401},
			{"GET", "/metrics", "wrong", 401},
			{"GET", "/metrics", "right", 200},
			{"GET", "/-/healthy/../../metrics", "", 401},
			{"DELETE", "/api/v1/aliases/x", "", 401},
			{"DELETE", "/api/v1/aliases/x", "right", 404}, // allowed, but no such alias
			{"POST", "/-/reload", "right", 200},
		} {
			if code := ask(c.method, "https://"+address+c.path, c.password); code != c.code {
				t.Errorf("%s %s with %q: %d, want %d", c.method, c.path, c.password, code, c.code)
			}
		}
	}
	// The commands take a password as promtool does.
	with := filepath.Join(dir, "http.yml")
	writeFile(t, with, "basic_auth: {username: op, password: right}\ntls_config: {insecure_skip_verify: true}\n")
	var out, errs bytes.Buffer
	if code := start(context.Background(), []string{"alias", "--url=https://" + first, "--http.config.file=" + with, "list"}, &out, &errs); code != 0 || !strings.HasPrefix(out.String(), "ALIAS") {
		t.Errorf("%d %s %s", code, &out, &errs)
	}
	writeFile(t, with, "tls_config: {insecure_skip_verify: true}\n")
	errs.Reset()
	if code := start(context.Background(), []string{"alias", "--url=https://" + first, "--http.config.file=" + with, "list"}, &out, &errs); code != cli.Failed || !strings.Contains(errs.String(), "requires authentication") {
		t.Errorf("%d %s", code, &errs)
	}
	if code, took := p.stop(); code != 0 || took > 5*time.Second {
		t.Errorf("SIGTERM: code %d after %s\n%s", code, took, p.all())
	}
	closed := startProcess(t, nil, append(alone(dir), "--web.config.file="+config, "--no-web.open-health")...)
	if code := ask("GET", "https://"+closed.until(listening)[1]+"/-/healthy", ""); code != 401 {
		t.Errorf("health that is closed: %d", code)
	}
}

// A web site can make its visitors' browsers send requests to this server under the site's own name, and would read the answers.
func TestNothingIsServedUnderAForeignHostName(t *testing.T) {
	p := startProcess(t, nil, append(alone(t.TempDir()),
		"--web.listen-address=0.0.0.0:0", "--web.external-url=http://proxy.example/", "--web.allowed-host=other.example", "--web.enable-lifecycle")...)
	loopback, open := p.until(listening)[1], p.until(listening)[1]
	if strings.HasPrefix(open, "127.") {
		loopback, open = open, loopback
	}
	_, port, err := net.SplitHostPort(open)
	if err != nil {
		t.Fatal(err)
	}
	open = "127.0.0.1:" + port
	ask := func(address, method, path, host string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultTransport.RoundTrip(req)
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
	paths := []string{
		"/", "/alias?name=x", "/node", "/scrape/x/metrics", "/sd/prometheus", "/metrics", "/-/healthy", "/-/ready", "/api/v1/status", "/api/v1/aliases",
		"/api/v1/pins", "/assets/app.js", "/assets/style.css", "/nothing",
	}
	for _, address := range []string{loopback, open} {
		for _, path := range paths {
			if code, body := ask(address, "GET", path, "evil.example:30000"); code != http.StatusMisdirectedRequest || !strings.Contains(body, "--web.allowed-host") {
				t.Errorf("%s%s as evil.example: %d %s", address, path, code, body)
			}
		}
		for method, path := range map[string]string{"POST": "/-/reload", "DELETE": "/api/v1/aliases/x", "PUT": "/api/v1/pins/x"} {
			if code, body := ask(address, method, path, "evil.example"); code != http.StatusMisdirectedRequest {
				t.Errorf("%s %s as evil.example: %d %s", method, path, code, body)
			}
		}
		for _, host := range []string{"localhost:1", address, "192.0.2.1", "proxy.example", "other.example:80", ""} {
			if code, body := ask(address, "GET", "/metrics", host); code != http.StatusOK {
				t.Errorf("%s as %q: %d %s", address, host, code, body)
			}
		}
	}
	for address, want := range map[string]int{loopback: http.StatusMisdirectedRequest, open: http.StatusOK} {
		if code, body := ask(address, "GET", "/metrics", "scraper:30000"); code != want {
			t.Errorf("%s as a container's name: %d %s", address, code, body)
		}
	}
	if _, body := ask(open, "GET", "/metrics", "localhost"); !strings.Contains(body, "dhtprom_http_requests_misdirected_total 35") {
		t.Errorf("not counted: %s", regexp.MustCompile("(?m)^dhtprom_http.*$").FindString(body))
	}
	p.until(`level=WARN .*host=evil.example`)
}

func TestSocketOfSystemdIsServed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// systemd names the process that the sockets are for; the shell becomes it.
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, os.Args[0], "--web.systemd-socket", "--storage.path="+dir, "--dht.bootstrap=1", "--dht.listen-address=127.0.0.1:0")
	cmd.Env = append(os.Environ(), "DHTPROM_TEST_AS_PROGRAM=1")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	if code, _ := httpGet(t, "http://"+address+"/-/healthy"); code != 200 {
		t.Errorf("%d", code)
	}
	var out, errs bytes.Buffer
	if code := start(ended(), []string{"--web.systemd-socket", "--storage.path=" + t.TempDir(), "--dht.bootstrap=1"}, &out, &errs); code != cli.Failed || !strings.Contains(errs.String(), "--web.systemd-socket: ") {
		t.Errorf("without systemd: %d %s", code, errs.String())
	}
}

func TestRelayPrintsItsKeyAndCarries(t *testing.T) {
	n, dir := newNetwork(t), t.TempDir()
	args := []string{"relay", "--storage.path=" + dir, "--dht.bootstrap=" + n.addr, "--dht.listen-address=127.0.0.1:0", "--relay.max-pairs=7"}
	r := startProcess(t, nil, args...)
	key := r.until(`--dht.relay=(\S{52})$`)[1]
	r.until(`msg=Relaying public_key=` + key)
	p := startProcess(t, nil, append(alone(t.TempDir())[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0", "--dht.relay="+key)...)
	greeting := p.until(`--scraper=(\S+) --secret-file=(\S+) `)
	scraper, err := domain.ParsePublicKey(greeting[1])
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keyfile.Secrets(greeting[2])
	if err != nil {
		t.Fatal(err)
	}
	address := p.until(listening)[1]
	p.until(accepting)
	n.client(t, scraper, secrets[0])
	p.until(scraping)
	if code, body := httpGet(t, "http://"+address+"/scrape/demo/metrics"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, took := r.stop(); code != 0 || took > 5*time.Second {
		t.Errorf("SIGTERM: code %d after %s\n%s", code, took, r.all())
	}
	if again := startProcess(t, nil, args...); again.until(`--dht.relay=(\S{52})$`)[1] != key {
		t.Error("the relay has another key after a restart")
	}
}

func TestBootstrapAnswersSTUN(t *testing.T) {
	port := freePorts(t, 2)
	nodes := startProcess(t, nil, "bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--nodes=2", "--stun")
	flags := strings.Fields(nodes.until(`(--dht.bootstrap=\S+ --stun.server=\S+ --stun.server=\S+)$`)[1])
	p := startProcess(t, nil, append(append(alone(t.TempDir())[:2], "--dht.listen-address=127.0.0.1:0"), flags...)...)
	p.until(accepting)
}

func TestOurClientsProveTheirKeyComingAndGoing(t *testing.T) {
	n, dir := newNetwork(t), t.TempDir()
	p := startProcess(t, nil, append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0", "--alias.require-proof", "--alias.pin")...)
	greeting := p.until(`--scraper=(\S+) --secret-file=(\S+) `)
	key, err := domain.ParsePublicKey(greeting[1])
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keyfile.Secrets(greeting[2])
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + p.until(listening)[1]
	p.until(accepting)
	c := n.client(t, key, secrets[0])
	p.until(registered)
	p.until(scraping)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, body := httpGet(t, at+"/metrics"); !strings.Contains(body, "\ndhtprom_aliases_left_total 1\n") || !strings.Contains(body, "\ndhtprom_aliases 0\n") {
		t.Errorf("the goodbye was not heard:\n%s", p.all())
	}
}
