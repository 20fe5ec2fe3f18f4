package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/keyfile"
)

// folder writes files and returns where they are.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const fullFile = `
# Everything that a file can have.
scrapers:
  - invite_file: invite
  - key: @KEY@
    secret_file: secret
targets:
  - alias: web
    url: https://localhost:8443/metrics?part=a
    service: shop
    hostname: cellar
    timeout: 5s
    body_size_limit: 4MB
    check: true
    allow_params: [target, module]
    keep: ["node_.*", up]
    drop: [node_scrape_.*]
    headers: {X-Tenant: blue}
    basic_auth: {username: me, password_file: password}
    tls_config:
      server_name: shop.example
      insecure_skip_verify: true
  - alias: socket
    url: http://localhost/metrics
    unix_socket: x.sock
    authorization: {credentials_file: /etc/token}
`

func TestConfigurationFileIsReadWhole(t *testing.T) {
	key := domain.KeyPairFromSeed(keyfile.NewSeed()).Public
	c, err := parseConfigFile("/etc/dhtprom/client.yml", []byte(strings.ReplaceAll(fullFile, "@KEY@", key.Hex())))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.scrapers) != 2 || c.scrapers[0].inviteFile != "/etc/dhtprom/invite" || c.scrapers[1].key.Key != key || c.scrapers[1].secretFile != "/etc/dhtprom/secret" {
		t.Errorf("scrapers: %+v", c.scrapers)
	}
	if len(c.targets) != 2 {
		t.Fatalf("targets: %+v", c.targets)
	}
	web, socket := c.targets[0], c.targets[1]
	if web.alias != "web" || web.service != "shop" || web.hostname != "cellar" || !web.named || web.where != "/etc/dhtprom/client.yml:8: targets[0]" {
		t.Errorf("%+v", web)
	}
	h := web.http
	if h.String() != "https://localhost:8443/metrics?part=a" || h.Timeout != 5*time.Second || h.MaxBytes != 4<<20 || !h.Check ||
		h.Header.Get("X-Tenant") != "blue" || h.Client.BasicAuth.Username != "me" || h.Client.BasicAuth.PasswordFile != "/etc/dhtprom/password" ||
		h.Client.TLSConfig.ServerName != "shop.example" || !h.Client.TLSConfig.InsecureSkipVerify || h.Client.FollowRedirects || h.Client.EnableHTTP2 ||
		!slices.Equal(h.AllowParams, []string{"target", "module"}) || fmt.Sprint(h.Families) != "{[node_.* up] [node_scrape_.*]}" {
		t.Errorf("%+v", h)
	}
	if s := socket.http; s.Socket != "/etc/dhtprom/x.sock" || s.Client.Authorization.CredentialsFile != "/etc/token" || s.String() != "unix:///etc/dhtprom/x.sock:/metrics" {
		t.Errorf("%+v", s)
	}
}

const targetFields = "alias, allow_authorization, allow_headers, allow_params, authorization, basic_auth, bearer_token, bearer_token_file, body_size_limit, check, drop, enable_http2, follow_redirects, headers, hostname, http_headers, instance, keep, labels, no_proxy, oauth2, proxy_connect_header, proxy_from_environment, proxy_url, service, timeout, tls_config, unix_socket, url"

func TestConfigurationFilesErrorsSayWhereAndWhat(t *testing.T) {
	const good = "    url: http://localhost/\n"
	for file, want := range map[string]string{
		"":                                       "c.yml:1: the file is empty, want targets",
		"# nothing\n":                            "c.yml:1: the file is empty, want targets",
		"targets":                                "c.yml:1: want a mapping with some of file_sd_configs, labels, scrapers, targets, turn; got one value",
		"- a":                                    "c.yml:1: want a mapping with some of file_sd_configs, labels, scrapers, targets, turn; got a list",
		"targets: [\n":                           "c.yml:1: did not find expected node content",
		"a: b\nc: \"\n":                          "c.yml:2: found unexpected end of stream",
		"\ntargts: []":                           `c.yml:2: unknown field "targts", want some of file_sd_configs, labels, scrapers, targets, turn`,
		"targets: x":                             "c.yml:1: targets: want a list, got one value",
		"targets:\n":                             "c.yml:1: targets: want a list, got nothing",
		"targets:\n  - 5":                        "c.yml:2: targets[0]: want a mapping with some of " + targetFields + "; got one value",
		"targets:\n" + good:                      "c.yml:2: targets: want a list, got a mapping",
		"targets: []\n---\na:":                   "c.yml:2: want one YAML document, found another",
		"targets:\n  - alias: a\n" + good + good: "c.yml:4: targets[0].url: duplicate field",
		"targets:\n  - alias: a\n" + good + "  - alias: a\n" + good:                 `c.yml:4: targets[1]: alias: duplicate "a", first in line 2`,
		"targets:\n  - alias: a":                                                    "c.yml:2: targets[0].url: missing",
		"targets:\n  - url: http://localhost":                                       "c.yml:2: targets[0].alias: missing",
		"targets:\n  - alias: [a]\n":                                                "c.yml:2: targets[0].alias: want one value, got a list",
		"targets:\n  - alias:\n" + good:                                             "c.yml:2: targets[0].alias: want one value, got nothing",
		"targets:\n  - alias: \"a\\tb\"\n":                                          "c.yml:2: targets[0].alias: alias has the character U+0009: control characters, line separators and directional overrides are not allowed",
		"targets:\n  - alias: a\n    url: localhost:9100":                           "c.yml:3: targets[0].url: unsupported scheme: want something like http://localhost:9100/metrics or unix:///run/exporter.sock:/metrics",
		"targets:\n  - alias: a\n    url: http://me:hunter2@[::1":                   "c.yml:3: targets[0].url: invalid URL: want something like http://localhost:9100/metrics or unix:///run/exporter.sock:/metrics",
		"targets:\n  - alias: a\n    timeout: soon":                                 `c.yml:3: targets[0].timeout: want a duration like 30s, 1h or 1d, got "soon"`,
		"targets:\n  - alias: a\n    timeout: 2h":                                   "c.yml:3: targets[0].timeout: want at most 1h, got 2h",
		"targets:\n  - alias: a\n    body_size_limit: 2GB":                          "c.yml:3: targets[0].body_size_limit: want at most 1073741824 bytes, got 2GB",
		"targets:\n  - alias: a\n    keep: up":                                      "c.yml:3: targets[0].keep: want a list, got one value",
		"targets:\n  - alias: a\n    drop: [a, '(']":                                "c.yml:3: targets[0].drop[1]: pattern of metric names: error parsing regexp: missing closing ): `(`",
		"targets:\n  - alias: a\n    allow_params: ['']":                            "c.yml:3: targets[0].allow_params[0]: want the name of a parameter, such as target",
		"targets:\n  - alias: a\n    body_size_limit: -1":                           `c.yml:3: targets[0].body_size_limit: want a size like 4MB, got "-1"`,
		"targets:\n  - alias: a\n    check: maybe":                                  `c.yml:3: targets[0].check: want true or false, got "maybe"`,
		"targets:\n  - alias: a\n    headers:\n      A B: hunter2":                  `c.yml:4: targets[0].headers: invalid header name "A B"`,
		"targets:\n  - alias: a\n    headers:\n      authorization: hunter2":        "c.yml:4: targets[0].headers: Authorization cannot be set: use a password file or a token file",
		"targets:\n  - alias: a\n    headers:\n      X: [hunter2]":                  `c.yml:4: targets[0].headers: "X": want one value, got a list`,
		"targets:\n  - alias: a\n    headers:\n      X: 1\n      x: 2":              "c.yml:5: targets[0].headers: duplicate name x",
		"targets:\n  - alias: a\n    basic_auth: {}":                                "c.yml:3: targets[0].basic_auth: want username or username_file, and password or password_file",
		"targets:\n  - alias: a\n    basic_auth: {secret: hunter2}":                 `c.yml:3: targets[0].basic_auth: unknown field "secret", want some of password, password_file, username, username_file`,
		"targets:\n  - alias: a\n    tls_config: {version: TLS13}":                  `c.yml:3: targets[0].tls_config: unknown field "version", want some of ca, ca_file, cert, cert_file, insecure_skip_verify, key, key_file, max_version, min_version, server_name`,
		"scrapers:\n  - key: hunter2\n    secret_file: x":                           "c.yml:2: scrapers[0].key: want 32 bytes as 64 hex digits or 52 z32 characters",
		"scrapers:\n  - secret_file: x":                                             "c.yml:2: scrapers[0]: want key and secret_file, or invite_file",
		"scrapers:\n  - {}":                                                         "c.yml:2: scrapers[0]: want key and secret_file, or invite_file",
		"scrapers:\n  - invite_file: x\n    secret_file: x":                         "c.yml:2: scrapers[0]: want key and secret_file, or invite_file",
		"scrapers:\n  - invite_file: ''":                                            "c.yml:2: scrapers[0].invite_file: want a file name",
		"x: &x [*x]\ntargets: *x":                                                   "c.yml:1: unknown field \"x\", want some of file_sd_configs, labels, scrapers, targets, turn\nc.yml:1: targets[0]: want a mapping with some of " + targetFields + "; got a list",
		"targets:\n  - alias: a\n    url: x\n    check: x\n  - {}\nmore: hunter2\n": "c.yml:3: targets[0].url: unsupported scheme: want something like http://localhost:9100/metrics or unix:///run/exporter.sock:/metrics\nc.yml:4: targets[0].check: want true or false, got \"x\"\nc.yml:5: targets[1].alias: missing\nc.yml:6: unknown field \"more\", want some of file_sd_configs, labels, scrapers, targets, turn",
	} {
		_, err := parseConfigFile("c.yml", []byte(file))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", file, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error quotes a secret: %v", file, err)
		}
	}
}

func TestFlagsAndFileDoNotSayTheSameThingTwice(t *testing.T) {
	invite, _ := newInvite(t)
	targets := "targets: [{alias: a, url: 'http://localhost/'}]\n"
	turnServers := "turn: {mode: always, servers: ['turns:a.example:443', 'turn:a.example:80?transport=tcp'], credentials_file: credentials, proxy: 'http://proxy:3128'}\n"
	for _, c := range []struct {
		name, file string
		args       []string
		code       int
		says       string
	}{
		{"targets in both", targets, []string{"--invite-file=@/invite", "--alias=b"}, cli.Usage, "targets are set in --config.file"},
		{"targets in none", "scrapers: [{invite_file: invite}]\n", nil, cli.Failed, "c.yml:1: targets: missing"},
		{"scrapers in both", targets + "scrapers: [{invite_file: invite}]\n", []string{"--invite-file=@/invite"}, cli.Usage, "scrapers are set in --config.file"},
		{"scrapers in none", targets, nil, cli.Usage, "no scraper: set --invite-file"},
		{"flags alone wrong", "scrapers: [{invite_file: invite}]\n", []string{"--target=http://localhost/"}, cli.Usage, "missing alias"},
		{"no invite", targets + "scrapers: [{invite_file: nothing}]\n", nil, cli.Failed, "c.yml:2: scrapers[0]: invite_file: open @/nothing"},
		{"a wrong secret", targets + "scrapers: [{key: " + strings.Repeat("a", 64) + ", secret_file: c.yml}]\n", nil, cli.Failed, "c.yml:2: scrapers[0]: secret_file:"},
		{"no certificate", "targets: [{alias: a, url: 'https://localhost/', tls_config: {ca_file: nothing}}]\n", []string{"--invite-file=@/invite"}, cli.Failed, "c.yml:1: targets[0]: unable to read CA cert: unable to read file @/nothing: open @/nothing: no such file"},
		{"no password", "targets: [{alias: a, url: 'http://localhost/', basic_auth: {username: u, password_file: nothing}}]\n", []string{"--invite-file=@/invite"}, cli.Failed, "c.yml:1: targets[0]: stat @/nothing"},
		{"no token", "targets: [{alias: a, url: 'http://localhost/', authorization: {credentials_file: .}}]\n", []string{"--invite-file=@/invite"}, cli.Failed, "c.yml:1: targets[0]: @ is not a regular file"},
		{"TURN servers in both", targets + turnServers, []string{"--invite-file=@/invite", "--turn.server=turns:b.example:443"}, cli.Usage, "TURN servers are set in --config.file; remove --turn.server from flags and environment"},
		{"a mode of TURN in both", targets + "turn: {mode: never}\n", []string{"--invite-file=@/invite", "--turn=auto"}, cli.Usage, "TURN servers are set in --config.file; remove --turn from flags and environment"},
		{"TURN servers of the file", targets + turnServers, []string{"--invite-file=@/invite"}, cli.OK, ""},
		{"TURN servers without credentials", targets + "turn: {servers: ['turns:a.example:443']}\n", []string{"--invite-file=@/invite"}, cli.Failed, "c.yml:2: turn: want servers and credentials_file together"},
		{"wrong TURN servers", targets + "turn: {mode: often, servers: ['http://a.example'], proxy: here}\n", []string{"--invite-file=@/invite"}, cli.Failed, "turn.mode: want auto, always or never, got \"often\""},
		{"TURN always, without a server", targets + "turn: {mode: always}\n", []string{"--invite-file=@/invite"}, cli.Failed, "--turn=always needs"},
		{"credentials without servers", targets, []string{"--invite-file=@/invite", "--turn.credentials-file=@/credentials"}, cli.Failed, "--turn.credentials-file needs --turn.server"},
		{"no credentials", targets + "turn: {servers: ['turns:a.example:443'], credentials_file: nothing}\n", []string{"--invite-file=@/invite"}, cli.Failed, "@/nothing"},
		{"both well", targets + "scrapers: [{invite_file: invite}]\n", nil, cli.OK, ""},
		{"targets of the file", targets, []string{"--invite-file=@/invite"}, cli.OK, ""},
		{"scrapers of the file", "scrapers: [{invite_file: invite}]\n", []string{"--alias=b"}, cli.OK, ""},
	} {
		dir := folder(t, map[string]string{"c.yml": c.file, "invite": invite, "credentials": "alice\npassword\n"})
		args := []string{"--config.check", "--config.file=" + filepath.Join(dir, "c.yml")}
		for _, a := range c.args {
			args = append(args, strings.ReplaceAll(a, "@", dir))
		}
		var out, errs bytes.Buffer
		code := start(ended(), args, &out, &errs)
		says := strings.ReplaceAll(c.says, "@", dir)
		if code != c.code || !strings.Contains(errs.String(), says) || strings.Contains(errs.String(), invite[40:80]) {
			t.Errorf("%s: code %d, %q", c.name, code, errs.String())
		}
		if (code == cli.OK) != strings.Contains(out.String(), "Configuration is valid") {
			t.Errorf("%s: %q", c.name, out.String())
		}
	}
}

// A variable of the environment is a flag, also where it has the default.
func TestEnvironmentAndFileDoNotSayTheSameThingTwice(t *testing.T) {
	invite, _ := newInvite(t)
	dir := folder(t, map[string]string{"c.yml": "targets: [{alias: a, url: 'http://localhost/'}]\nturn: {mode: never}\n", "invite": invite})
	args := []string{"--config.check", "--config.file=" + filepath.Join(dir, "c.yml"), "--invite-file=" + filepath.Join(dir, "invite")}
	for value, want := range map[string]int{"": cli.OK, "auto": cli.Usage, "always": cli.Usage} {
		t.Setenv("DHTPROM_TURN", value)
		var out, errs bytes.Buffer
		if code := start(ended(), args, &out, &errs); code != want {
			t.Errorf("DHTPROM_TURN=%q: code %d, %q", value, code, errs.String())
		}
	}
}

// The environment of other programs may name a proxy of a kind that TURN servers are not reached through.
func TestProxiesOfAnotherKindAreNamed(t *testing.T) {
	invite, _ := newInvite(t)
	dir := folder(t, map[string]string{"invite": invite, "credentials": "alice\npassword\n"})
	args := []string{
		"--config.check", "--alias=a", "--target=http://localhost/", "--invite-file=" + filepath.Join(dir, "invite"),
		"--turn.credentials-file=" + filepath.Join(dir, "credentials"),
	}
	const socks = "socks5://alice:hunter2@proxy.example:1080"
	for _, c := range []struct {
		name, proxy, no string
		args            []string
		want            string // the error, or none
	}{
		{"of HTTP", "http://proxy.example:3128", "", []string{"--turn.server=turns:a.example:443"}, ""},
		{"of SOCKS", socks, "", []string{"--turn.server=turns:a.example:443"}, `HTTPS_PROXY names a proxy with the scheme "socks5"`},
		{"of SOCKS, for a further server", socks, "", []string{"--turn.server=turn:a.example:3478", "--turn.server=turn:b.example:80?transport=tcp"}, "want http or https"},
		{"not for this server", socks, "a.example", []string{"--turn.server=turns:a.example:443"}, ""},
		{"not over UDP", socks, "", []string{"--turn.server=turn:a.example:3478"}, ""},
		{"another", socks, "", []string{"--turn.server=turns:a.example:443", "--turn.proxy=http://proxy.example:3128"}, ""},
		{"none", socks, "", []string{"--turn.server=turns:a.example:443", "--turn.proxy=none"}, ""},
		{"no TURN", socks, "", []string{"--turn.server=turns:a.example:443", "--turn=never"}, ""},
		{"of SOCKS, as a flag", "", "", []string{"--turn.server=turns:a.example:443", "--turn.proxy=" + socks}, `the scheme "socks5" is not supported`},
	} {
		t.Setenv("HTTPS_PROXY", c.proxy)
		t.Setenv("NO_PROXY", c.no)
		var out, errs bytes.Buffer
		code := start(ended(), append(slices.Clone(args), c.args...), &out, &errs)
		if (code == cli.OK) != (c.want == "") || !strings.Contains(errs.String(), c.want) || strings.Contains(errs.String(), "hunter2") {
			t.Errorf("%s: code %d, %q, want %q", c.name, code, errs.String(), c.want)
		}
	}
}

// A password file may be created later, and does not prevent the service of other targets; the start reports it.
func TestStartWarnsOfPasswordsThatAreMissing(t *testing.T) {
	invite, _ := newInvite(t)
	dir := folder(t, map[string]string{
		"c.yml": "targets: [{alias: a, url: 'http://localhost/', authorization: {credentials_file: token}}]\n", "invite": invite,
	})
	var out, errs bytes.Buffer
	code := start(ended(), []string{
		"--config.file=" + filepath.Join(dir, "c.yml"), "--invite-file=" + filepath.Join(dir, "invite"), "--dht.bootstrap=1", "--stun.server=none",
	}, &out, &errs)
	if code != cli.OK || !strings.Contains(errs.String(), "level=WARN") || !strings.Contains(errs.String(), filepath.Join(dir, "token")) {
		t.Errorf("ends with %d, %s", code, errs.String())
	}
}

// What passes the check is what starts.
func TestCheckAndStartAgreeOnTheLimits(t *testing.T) {
	invite, _ := newInvite(t)
	targets := func(n int) string {
		text := "targets:\n"
		for i := range n {
			text += fmt.Sprintf("- {alias: a%d, url: 'http://localhost/%d'}\n", i, i)
		}
		return text
	}
	scrapers := func(n int) string {
		text := "scrapers:\n"
		for range n {
			text += "- {key: " + domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String() + ", secret_file: secret}\n"
		}
		return text
	}
	for _, c := range []struct {
		name, file, says string
	}{
		{"5000 targets", targets(5000) + scrapers(1), ""},
		{"5001 targets", targets(5001) + scrapers(1), "5001 targets, want at most 5000"},
		{"16 scrapers", targets(1) + scrapers(16), ""},
		{"17 scrapers", targets(1) + scrapers(17), "want at most 16, got 17"},
	} {
		dir := folder(t, map[string]string{"c.yml": c.file, "invite": invite, "secret": keyfile.NewSecret().RevealText()})
		want := cli.OK
		if c.says != "" {
			want = cli.Failed
		}
		for what, args := range map[string][]string{"check": {"--config.check"}, "start": {"--dht.bootstrap=1", "--stun.server=none"}} {
			var out, errs bytes.Buffer
			code := start(ended(), append(args, "--config.file="+filepath.Join(dir, "c.yml")), &out, &errs)
			if code != want || !strings.Contains(errs.String(), c.says) {
				t.Errorf("%s: the %s ends with %d, %.300s", c.name, what, code, errs.String())
			}
		}
	}
}

func TestInvitesFromWindowsAreRead(t *testing.T) {
	invite, want := newInvite(t)
	wide := []byte{0xFF, 0xFE}
	for _, c := range invite {
		wide = append(wide, byte(c), 0)
	}
	for name, content := range map[string]string{"UTF-8 with a mark": "\uFEFF" + invite + "\r\n", "UTF-16": string(wide)} {
		got, err := loadInvite(secretFile(t, content), nil, slog.New(slog.DiscardHandler))
		if err != nil || got.Scraper != want.Scraper {
			t.Errorf("%s: %v", name, err)
		}
		if got, err = loadInvite("-", strings.NewReader(content), slog.New(slog.DiscardHandler)); err != nil || got.Scraper != want.Scraper {
			t.Errorf("%s from standard input: %v", name, err)
		}
	}
	if _, err := loadInvite(secretFile(t, string(wide[2:])), nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Errorf("UTF-16 without a mark: %v", err)
	}
}

// A file with two targets, one of them on a socket, which is served as it says.
func TestProgramServesWhatTheFileSays(t *testing.T) {
	b := newBench(t)
	short, err := os.MkdirTemp("", "dhtprom") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	ln, err := net.Listen("unix", filepath.Join(short, "x.sock"))
	if err != nil {
		t.Fatal(err)
	}
	sock := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hunter2" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "# TYPE socket gauge\nsocket 1\n# EOF\n")
	}))
	sock.Listener = ln
	sock.Start()
	defer sock.Close()
	dir := folder(t, map[string]string{
		"invite": b.invite(t), "token": "hunter2\n",
		"c.yml": `
scrapers: [{invite_file: invite}]
targets:
  - {alias: tcp, url: '` + exporterURL(t, "tcp 1\n") + `', service: one, hostname: h}
  - {alias: unix, url: 'http://localhost/metrics', unix_socket: '` + filepath.Join(short, "x.sock") + `', authorization: {credentials_file: token}, check: true}
`,
	})
	r := b.run(t, "", "--config.file="+filepath.Join(dir, "c.yml"), "--service=two")
	if got := event[domain.SetTargets](t, b); got.Added != 2 {
		t.Errorf("%+v", got)
	}
	for alias, service := range map[domain.Alias]string{"tcp": "one", "unix": "two"} {
		if got := r.entry(alias).Service; got != service {
			t.Errorf("%s has the service %q", alias, got)
		}
	}
	if got := r.scrape("tcp"); got != "tcp 1\n" {
		t.Errorf("%q", got)
	}
	if got := r.scrape("unix"); got != "# TYPE socket gauge\nsocket 1\n# EOF\n" {
		t.Errorf("%q", got)
	}
	r.end("hunter2", b.secret.RevealText())
}

func FuzzParseConfigFile(f *testing.F) {
	f.Add([]byte(fullFile))
	f.Add([]byte("x: &x [*x]\ntargets: *x"))
	f.Add([]byte("targets:\n  - {alias: a, url: http://x}\n"))
	f.Add([]byte("targets:\n- &t {alias: a, oauth2: {client_id: a, token_url: b, tls_config: {ca: c}}}\n" + strings.Repeat("- *t\n", 100)))
	f.Add([]byte("targets:\n" + strings.Repeat("- {tls_config: {ca: c}}\n", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c fileConfig
		var err error
		// A node of YAML takes 200 bytes of memory and may be one of input.
		bound := cost.Bound{StepsPerByte: 32, Steps: 1000, BytesPerByte: 2048, Bytes: 64 << 10}
		bound.Check(t, len(b), func() { c, err = parseConfigFile("c.yml", b) })
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c.yml:") {
				t.Errorf("%v", err)
			}
			return
		}
		if slices.ContainsFunc(c.targets, func(x target) bool { return x.alias == "" || x.http.URL == nil }) {
			t.Errorf("%+v", c.targets)
		}
	})
}

// The example is for people to copy from: it has to be right and to have everything.
func TestExampleFileIsReadAndComplete(t *testing.T) {
	path := filepath.Join("..", "..", "examples", "client.yml")
	c, err := readConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.scrapers) != 2 || len(c.targets) != 4 {
		t.Errorf("%d scrapers, %d targets", len(c.scrapers), len(c.targets))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseConfigFile("c.yml", []byte(`
targets: [5, {basic_auth: 5, authorization: 5, oauth2: 5, tls_config: 5, http_headers: {X: 5}}]
scrapers: [5]
x: 1
y: {}`))
	if err == nil {
		t.Fatal("nonsense was read")
	}
	listed := 0
	for line := range strings.Lines(err.Error()) {
		_, fields, _ := strings.Cut(line, "want a mapping with some of ")
		fields, _, _ = strings.Cut(fields, ";")
		for field := range strings.SplitSeq(fields, ", ") {
			if field == "" {
				continue
			}
			listed++
			if !strings.Contains(string(text), field+":") {
				t.Errorf("the example has no %s", field)
			}
		}
	}
	if listed < 67 {
		t.Errorf("found %d fields only", listed)
	}
}

// The --config.check, the log and the errors of a client show no secret of its file.
func TestSecretsOfTheFileAreNotPrinted(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "hunter2" || r.Header.Get("X-Key") != "hunter3" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "inline 1\n")
	}))
	t.Cleanup(server.Close)
	dir := folder(t, map[string]string{
		"invite": b.invite(t), "c.yml": "scrapers: [{invite_file: invite}]\ntargets: [{alias: a, url: '" + server.URL + "', basic_auth: {username: me, password: hunter2}, http_headers: {X-Key: {secrets: [hunter3]}}}]\n",
	})
	var out bytes.Buffer
	if code := start(ended(), []string{"--config.check", "--log.level=debug", "--config.file=" + filepath.Join(dir, "c.yml")}, &out, &out); code != cli.OK || strings.Contains(out.String(), "hunter") {
		t.Errorf("the check ends with %d, %s", code, out.String())
	}
	r := b.run(t, "", "--config.file="+filepath.Join(dir, "c.yml"), "--log.level=debug")
	event[domain.SetTargets](t, b)
	if got := r.scrape("a"); got != "inline 1\n" {
		t.Errorf("%q", got)
	}
	server.Close()
	failed := make(chan error, 1)
	r.node.Host().Post(func() { r.scraper.Scrape("a", patience, func(_ []byte, err error) { failed <- err }) })
	if err := <-failed; err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("%v", err)
	}
	r.end("hunter2", "hunter3", b.secret.RevealText())
}
