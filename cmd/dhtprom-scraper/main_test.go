package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// TestMain runs the program instead of the tests where a test starts this binary as a process.
func TestMain(m *testing.M) {
	if os.Getenv("DHTPROM_TEST_AS_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// ended is a context that has ended: programs start and stop at once.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestNonsenseGetsOneLineAndTheRightCode(t *testing.T) {
	dir := t.TempDir()
	malformed := filepath.Join(dir, "malformed")
	if err := os.WriteFile(malformed, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	badWeb := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(badWeb, []byte("nonsense: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	storage := "--storage.path=" + filepath.Join(dir, "state")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--nonsense"}, cli.Usage, "--nonsense"},
		{[]string{"nonsense"}, cli.Usage, "nonsense"},
		{[]string{"run", "more"}, cli.Usage, "more"},
		{[]string{"--web.listen-address=x"}, cli.Usage, "--web.listen-address"},
		{[]string{"--web.config.file=" + badWeb}, cli.Usage, "--web.config.file"},
		{[]string{"--web.config.file=" + dir + "/missing"}, cli.Usage, "--web.config.file"},
		{[]string{"--dht.bootstrap=x"}, cli.Usage, "--dht.bootstrap"},
		{[]string{"--dht.listen-address=x"}, cli.Usage, "--dht.listen-address"},
		{[]string{"--alias.expiry=soon"}, cli.Usage, "--alias.expiry"},
		{[]string{"--alias.expiry=0s"}, cli.Usage, "--alias.expiry"},
		{[]string{"--alias.check-interval=-1h"}, cli.Usage, "--alias.check-interval"},
		{[]string{"--dht.relay=x"}, cli.Usage, "--dht.relay"},
		{[]string{"--stun.server=x:y"}, cli.Usage, "--stun.server"},
		{[]string{"--stun.server=none", "--stun.server=192.0.2.1:3478"}, cli.Usage, "--stun.server"},
		{[]string{"--secret-file="}, cli.Usage, "--secret-file"},
		{[]string{"--web.external-url=metrics.example"}, cli.Usage, "--web.external-url"},
		{[]string{"--web.route-prefix=x"}, cli.Usage, "--web.route-prefix"},
		{[]string{"--web.telemetry-path=/sd/x"}, cli.Usage, "--web.telemetry-path"},
		{[]string{"relay", "--relay.max-pairs=0"}, cli.Usage, "--relay.max-pairs"},
		{[]string{"relay", "--relay.max-pairs-per-key=x"}, cli.Usage, "--relay.max-pairs-per-key"},
		{[]string{"relay", "--relay.allow=x"}, cli.Usage, "--relay.allow"},
		{[]string{"alias"}, cli.Usage, "command"},
		{[]string{"alias", "forget"}, cli.Usage, "alias"},
		{[]string{"alias", "forget", "a\tb"}, cli.Usage, "alias"},
		{[]string{"alias", "pin", "a", "x"}, cli.Usage, "key"},
		{[]string{"alias", "--url=x", "list"}, cli.Usage, "--url"},
		{[]string{"alias", "list", "--format=x"}, cli.Usage, "--format"},
		{[]string{"alias", "--http.config.file=" + dir + "/missing", "list"}, cli.Usage, "--http.config.file"},
		{[]string{"relay", "--identity.seed-file=" + malformed}, cli.Failed, malformed},
		{[]string{storage, "--secret-file=" + malformed, "--secret-file=" + dir + "/missing"}, cli.Failed, malformed},
		{[]string{"--log.level=loud"}, cli.Usage, "--log.level"},
		{[]string{"--log.format=xml"}, cli.Usage, "--log.format"},
		{[]string{"bootstrap"}, cli.Usage, "--host"},
		{[]string{"bootstrap", "--host=::1", "--port=1"}, cli.Usage, "--host"},
		{[]string{"bootstrap", "--host=127.0.0.1", "--port=0"}, cli.Usage, "--port"},
		{[]string{"bootstrap", "--host=127.0.0.1", "--port=65535", "--nodes=2"}, cli.Usage, "--nodes"},
		{[]string{"bootstrap", "--host=127.0.0.1", "--port=4000", "--nodes=0"}, cli.Usage, "--nodes"},
		{[]string{storage, "--secret-file=" + malformed}, cli.Failed, malformed},
		{[]string{storage, "--secret-file=" + dir + "/missing"}, cli.Failed, dir + "/missing"},
		{[]string{storage, "--identity.seed-file=" + malformed}, cli.Failed, malformed},
		{[]string{"--storage.path=" + malformed}, cli.Failed, "--storage.path"},
	} {
		var out, errs bytes.Buffer
		code := start(ended(), c.args, &out, &errs)
		if code != c.code || strings.Count(errorLines(errs.String()), "\n") != 1 || !strings.Contains(errorLines(errs.String()), c.says) {
			t.Errorf("%v: code %d, %q", c.args, code, errs.String())
		}
		if strings.Contains(errs.String()+out.String(), "hunter2") {
			t.Errorf("%v quotes a secret", c.args)
		}
	}
}

// errorLines returns the text without the log.
func errorLines(text string) (lines string) {
	for l := range strings.Lines(text) {
		if !strings.HasPrefix(l, "time=") {
			lines += l
		}
	}
	return lines
}

func TestNonsenseInTheEnvironmentIsNamed(t *testing.T) {
	nonsense := "non:sense"
	for _, v := range []string{
		"DHTPROM_ALIAS_EXPIRY", "DHTPROM_DHT_LISTEN_ADDRESS", "DHTPROM_WEB_LISTEN_ADDRESS", "DHTPROM_DHT_RELAY", "DHTPROM_STUN_SERVER",
		"DHTPROM_WEB_EXTERNAL_URL", "DHTPROM_ALIAS_PIN", "HYPERDHT_PROM_HTTP_PORT", "DHT_PROM_DHT_PORT", "DHT_PROM_LOG_LEVEL", "DHT_PROM_BOOTSTRAP_PORT",
	} {
		t.Run(v, func(t *testing.T) {
			t.Setenv(v, nonsense)
			var out, errs bytes.Buffer
			if code := start(ended(), nil, &out, &errs); code != cli.Usage || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("code %d, %q", code, errs.String())
			}
		})
	}
	for _, v := range []string{seedEnv, secretEnv, "DHT_PROM_KEY_PAIR_SEED", "HYPERDHT_PROM_SHARED_SECRET"} {
		t.Run(v, func(t *testing.T) {
			t.Setenv(v, "hunter2")
			var out, errs bytes.Buffer
			code := start(ended(), []string{"--storage.path=" + t.TempDir()}, &out, &errs)
			if code != cli.Failed || !strings.Contains(errorLines(errs.String()), v) || strings.Contains(errs.String(), "hunter2") {
				t.Errorf("code %d, %q", code, errs.String())
			}
		})
	}
}

func TestKeygenPrintsASeedItsKeyAndASecret(t *testing.T) {
	var out, errs bytes.Buffer
	if code := start(ended(), []string{"keygen"}, &out, &errs); code != cli.OK || errs.Len() > 0 {
		t.Fatalf("code %d, %q", code, errs.String())
	}
	m := regexp.MustCompile(`^seed: +(\S{52})\npublic key: +(\S{52})\nsecret: +(\S{52})\n$`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("%q", out.String())
	}
	seed, err := domain.ParseSeed(m[1])
	if err != nil || domain.KeyPairFromSeed(seed).Public.String() != m[2] || m[1] == m[3] {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestHelpOfACommandIsThatCommands(t *testing.T) {
	for _, c := range []struct {
		args     []string
		has, not []string
	}{
		{[]string{"--help"}, []string{"--storage.path", "alias pin", "--relay.max-pairs", "--alias.expiry"}, nil},
		{[]string{"alias", "pin", "--help"}, []string{"usage: dhtprom-scraper alias pin", "<alias>", "--url", "--storage.path"}, []string{"--alias.expiry", "alias unpin", "relay"}},
		{[]string{"alias", "--help"}, []string{"usage: dhtprom-scraper alias", "alias pin", "alias list", "--format"}, []string{"--alias.expiry", "keygen"}},
		{[]string{"relay", "--help"}, []string{"usage: dhtprom-scraper relay", "--relay.max-pairs"}, []string{"alias pin", "--alias.expiry"}},
		{[]string{"run", "--help"}, []string{"usage: dhtprom-scraper run", "--alias.expiry"}, []string{"alias pin", "--relay.max-pairs"}},
		{[]string{"help", "invite"}, []string{"usage: dhtprom-scraper invite"}, []string{"--alias.expiry"}},
	} {
		var out, errs bytes.Buffer
		if code := start(ended(), c.args, &out, &errs); code != cli.OK {
			t.Errorf("%q: %d %s", c.args, code, errs.String())
		}
		for _, want := range c.has {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q does not say %s", c.args, want)
			}
		}
		for _, not := range c.not {
			if strings.Contains(out.String(), not) {
				t.Errorf("%q speaks of %s", c.args, not)
			}
		}
	}
}

func TestHelpSaysEnvironmentTwins(t *testing.T) {
	var out, errs bytes.Buffer
	if code := start(ended(), []string{"--help"}, &out, &errs); code != cli.OK {
		t.Fatal(errs.String())
	}
	for _, want := range []string{
		"--storage.path", "--web.listen-address", "--web.config.file", "--dht.bootstrap", "--dht.listen-address", "--identity.seed-file", "--secret-file",
		"--alias.expiry", "--alias.check-interval", "--[no-]alias.pin", "--[no-]alias.require-proof",
		"--dht.relay", "--stun.server", "--web.external-url", "--web.route-prefix", "--web.telemetry-path", "--[no-]web.enable-lifecycle", "--[no-]web.systemd-socket",
		"DHTPROM_RELAY_MAX_PAIRS", "DHTPROM_FORMAT", "--targets.file", "--log.level", "--log.format", "bootstrap", "keygen", "demo",
		"DHTPROM_ALIAS_EXPIRY", "DHTPROM_WEB_LISTEN_ADDRESS", "DHTPROM_LOG_LEVEL",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not say %s", want)
		}
	}
}
