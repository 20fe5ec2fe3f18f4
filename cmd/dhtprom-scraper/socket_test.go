//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// shortDir returns a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// alias runs an alias command, again while the scraper loads its table.
func alias(args ...string) (stdout, stderr string, code int) {
	for {
		var out, errs bytes.Buffer
		code = start(context.Background(), append([]string{"alias"}, args...), &out, &errs)
		if !strings.Contains(errs.String(), domain.ErrNotLoaded.Error()) { // a scraper listens before it has loaded the table
			return out.String(), errs.String(), code
		}
	}
}

// over reads a path of a server on a socket.
func over(t *testing.T, socket, path string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: unix.Dial(socket), DisableKeepAlives: true}}
	res, err := c.Get("http://localhost" + path)
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

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestAliasCommandsUseTheSocketOfTheScraper(t *testing.T) {
	dir := shortDir(t)
	p := startProcess(t, nil, alone(dir)...) // changes over TCP are not allowed
	address := p.until(listening)[1]
	socket := filepath.Join(dir, adminSocket)
	if m := mode(t, socket); m != os.ModeSocket|0o600 {
		t.Errorf("mode %v", m)
	}
	key := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1})).Public.String()
	if out, errs, code := alias("pin", "--storage.path="+dir, "a", key); code != 0 || out != "Done\n" {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	if out, errs, code := alias("list", "--storage.path="+dir); code != 0 || !strings.Contains(out, key) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if _, errs, code := alias("unpin", "--url=http://"+address, "a"); code != cli.Failed || !strings.Contains(errs, "--web.enable-lifecycle") {
		t.Errorf("over TCP: %d %s", code, errs)
	}
	if _, errs, code := alias("unpin", "--url=unix:"+socket, "a"); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	p.stop()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is left")
	}
}

func TestScraperReplacesTheSocketOfAKilledOne(t *testing.T) {
	dir := shortDir(t)
	p := startProcess(t, nil, alone(dir)...)
	p.until(listening)
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	if _, errs, code := alias("list", "--storage.path="+dir); code != cli.Failed || !strings.Contains(errs, "no answer from unix:"+filepath.Join(dir, adminSocket)) {
		t.Errorf("%d %s", code, errs)
	}
	p = startProcess(t, nil, alone(dir)...)
	p.until(listening)
	if _, errs, code := alias("list", "--storage.path="+dir); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	p.stop()
}

func TestHTTPServerListensOnASocketBesideTCP(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "web.sock")
	p := startProcess(t, nil, append(alone(dir), "--web.listen-address=unix:"+socket)...)
	tcp := p.until(`msg="Listening on" address=(127\S+)`)[1]
	if code, _ := httpGet(t, "http://"+tcp+"/-/healthy"); code != 200 {
		t.Errorf("TCP: %d", code)
	}
	if m := mode(t, socket); m != os.ModeSocket|0o660 {
		t.Errorf("mode %v", m)
	}
	if code, body := over(t, socket, "/metrics"); code != 200 || !strings.Contains(body, "dhtprom_ready") {
		t.Errorf("%d %s", code, body)
	}
	// Changes are those of any caller without a password.
	if _, errs, code := alias("forget", "--url=unix:"+socket, "a"); code != cli.Failed || !strings.Contains(errs, "--web.enable-lifecycle") {
		t.Errorf("%d %s", code, errs)
	}
	p.stop()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is left")
	}
}

func TestSocketInUseIsAnError(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "web.sock")
	l, err := unix.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		"unix:" + socket:                       socket + " is in use by ",
		"unix:/" + strings.Repeat("x", 200):    "too long for a Unix socket",
		"unix:":                                "want unix:PATH",
		"unix:" + filepath.Join(dir, "n", "s"): "no such file",
	} {
		var out, errs bytes.Buffer
		code := start(context.Background(), append(alone(filepath.Join(dir, "data")), "--web.listen-address="+address), &out, &errs)
		if code == cli.OK || !strings.Contains(errs.String(), "--web.listen-address: ") || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %d %s", address, code, errs.String())
		}
	}
}

func TestRunningScraperUsesTheIdentitiesAtOnce(t *testing.T) {
	n, dir := newNetwork(t), shortDir(t)
	p := startProcess(t, nil, append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0")...)
	address := p.until(listening)[1]
	p.until(accepting)
	at := "--storage.path=" + dir
	out, errs, code := runCommand("identity", "add", at, "site7", "--alias=demo", "--label=site=7")
	if code != 0 || !strings.Contains(out, "The running scraper uses it.") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	v := inviteFor(t, dir, "--identity=site7")
	n.client(t, v.Scraper, v.Secret)
	p.until(registered)
	p.until(scraping)
	if out, errs, code := runCommand("identity", "list", at); code != 0 || !strings.Contains(out, "site7     demo          site=7  1 ") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	_, body := httpGet(t, "http://"+address+"/sd/prometheus")
	for _, want := range []string{`"site":"7"`, `"__meta_dhtprom_identity":"site7"`, `"__meta_dhtprom_label_site":"7"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", body, want)
		}
	}
	if out, errs, code := runCommand("identity", "revoke", at, "site7"); code != 0 || out != "Revoked the identity site7. The running scraper uses it.\n" {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, body := httpGet(t, "http://"+address+"/scrape/demo/metrics"); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
	if _, body := httpGet(t, "http://"+address+"/metrics"); !strings.Contains(body, "\ndhtprom_identity_aliases{identity=\"shared\"} 0\n") || strings.Contains(body, "site7") {
		t.Errorf("metrics:\n%s", body)
	}
	writeFile(t, filepath.Join(dir, identitiesFile), "nonsense")
	p.hangUp()
	p.until(`Reloading failed, the secrets are unchanged`)
}

func (p *process) hangUp() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// Files that are missing or half written at a reload, or while the scraper is stopped, revoke nothing and make no revoked secret valid.
func TestMissingFilesOfIdentitiesRevokeNothing(t *testing.T) {
	n, dir := newNetwork(t), shortDir(t)
	run := append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0")
	p := startProcess(t, nil, run...)
	address := p.until(listening)[1]
	p.until(accepting)
	at, path := "--storage.path="+dir, filepath.Join(dir, identitiesFile)
	for _, args := range [][]string{{"add", at, "site7"}, {"revoke", at, "shared"}} {
		if _, errs, code := runCommand(append([]string{"identity"}, args...)...); code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
	}
	v := inviteFor(t, dir, "--identity=site7")
	n.client(t, v.Scraper, v.Secret)
	p.until(registered)
	p.until(scraping)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unchanged := func(why string) {
		t.Helper()
		p.hangUp()
		p.until(`level=ERROR .*msg="Reloading failed, the secrets are unchanged" err=.*` + why)
		if code, body := httpGet(t, "http://"+address+"/scrape/demo/metrics"); code != http.StatusOK {
			t.Errorf("%s: %d %s", why, code, body)
		}
		_, body := httpGet(t, "http://"+address+"/metrics")
		for _, want := range []string{"dhtprom_identity_aliases{identity=\"site7\"} 1", "dhtprom_config_last_reload_successful 0"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s", why, want)
			}
		}
		if strings.Contains(body, `identity="shared"`) {
			t.Errorf("%s: the revoked secret is valid", why)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unchanged(`identities.yml is missing: restore it`)
	writeFile(t, path, string(good[:strings.Index(string(good), "identities:")]))
	unchanged(`the field identities is missing`)
	writeFile(t, path, "")
	unchanged(`the file is empty`)

	p.stop()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := runCommand(append([]string{"run"}, run...)...); code != cli.Failed || !strings.Contains(errs, "those of site7; restore identities.yml") {
		t.Errorf("%d %s", code, errs)
	}
	writeFile(t, path, string(good))
	p = startProcess(t, nil, run...)
	p.until(accepting)
	p.until(scraping)

	// The file of the scraper's own secret, too: a new secret would lock out all clients.
	if _, errs, code := runCommand("identity", "add", at, "shared"); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	p.until(`msg=Reloaded secrets=1 identities=1`)
	if err := os.Remove(filepath.Join(dir, "secret")); err != nil {
		t.Fatal(err)
	}
	p.hangUp()
	p.until(`level=ERROR .*Reloading failed.*secret: no such file`)
	if _, err := os.Stat(filepath.Join(dir, "secret")); err == nil {
		t.Error("a secret was created")
	}
}

// An identity that is revoked and added again while the scraper does not read the file is another one.
func TestIdentityThatWasAddedAgainLosesItsAliases(t *testing.T) {
	n, dir := newNetwork(t), shortDir(t)
	run := append(alone(dir)[:2], "--dht.bootstrap="+n.addr, "--dht.listen-address=127.0.0.1:0")
	at := "--storage.path=" + dir
	identity := func(args ...string) {
		t.Helper()
		if _, errs, code := runCommand(append([]string{"identity", args[0], at}, args[1:]...)...); code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
	}
	identity("add", "site7")
	p := startProcess(t, nil, run...)
	p.until(accepting)
	v := inviteFor(t, dir, "--identity=site7")
	n.client(t, v.Scraper, v.Secret)
	p.until(registered)
	p.until(scraping)
	p.stop()
	identity("revoke", "site7")
	identity("add", "site7")
	p = startProcess(t, nil, run...)
	p.until(`msg=identity-revoked identity=site7 aliases=1`)
	p.until(accepting)
	if out, errs, code := runCommand("identity", "list", at); code != 0 || !strings.Contains(out, "site7     all           -       0 ") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}
