package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/scraper"
)

func doctorRuns(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code = start(ctx, append([]string{"doctor"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// lab is a DHT on the loopback interface, with a scraper and a client of it.
type lab struct {
	bootstrap, storage string
	scraper, client    domain.KeyPair
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dht := newNetwork(t)
	l := &lab{
		bootstrap: dht.addr, scraper: domain.KeyPairFromSeed(keyfile.NewSeed()), client: domain.KeyPairFromSeed(keyfile.NewSeed()),
		storage: t.TempDir(),
	}
	secret := keyfile.NewSecret()
	for file, text := range map[string]string{"identity.seed": l.scraper.Seed.RevealText(), "secret": secret.RevealText()} {
		if err := keyfile.Write(filepath.Join(l.storage, file), "For a test.", text); err != nil {
			t.Fatal(err)
		}
	}
	_, err := scraper.Start(t.Context(), dht.node(t), scraper.Config{Seed: l.scraper.Seed, Secrets: []domain.Secret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Start(t.Context(), dht.node(t), client.Config{
		Alias: "a", Seed: l.client.Seed, Scrapers: []app.ClientScraper{{Key: l.scraper.Public, Secret: secret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type finding struct{ Code string }

func TestDoctorTellsByItsExitCodeWhetherSomethingIsBroken(t *testing.T) {
	l := newLab(t)
	wrong := filepath.Join(t.TempDir(), "secret")
	if err := keyfile.Write(wrong, "For a test.", keyfile.NewSecret().RevealText()); err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(t.TempDir(), "seed")
	if err := keyfile.Write(stranger, "For a test.", keyfile.NewSeed().RevealText()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string // a finding
	}{
		{"the scraper runs", nil, cli.OK, "own_machine"},
		{"and so does a client", []string{"--client=" + l.client.Public.String()}, cli.OK, "own_machine"},
		{"it has another secret", []string{"--secret-file=" + wrong}, cli.Failed, "secret_refused"},
		{"it does not run", []string{"--identity.seed-file=" + stranger}, cli.Failed, "not_announced"},
		{"the client is another", []string{"--client=" + domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()}, cli.Failed, "not_announced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append(tt.args, "--storage.path="+l.storage, "--dht.bootstrap="+l.bootstrap, "--dht.listen-address=127.0.0.1:"+strconv.Itoa(freePorts(t, 1)))
			code, text, errs := doctorRuns(args...)
			if code != tt.code || strings.Contains(text, "No problems found.") != (code == cli.OK) || (errs == "") != (code == cli.OK) {
				t.Errorf("code %d, %q\n%s", code, errs, text)
			}
			code, text, _ = doctorRuns(append(args, "--json")...)
			var r struct {
				OK       bool
				Findings []finding
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			if code != tt.code || r.OK != (code == cli.OK) || !slices.Contains(r.Findings, finding{tt.says}) {
				t.Errorf("code %d, %+v", code, r)
			}
		})
	}
}

func TestDoctorRefusesNonsenseAndMakesNoFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "data")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Failed, "identity.seed"},
		{[]string{"--client=nonsense"}, cli.Usage, "--client"},
		{[]string{"--timeout=0s"}, cli.Usage, "--timeout"},
		{[]string{"--stun.server=:"}, cli.Usage, "--stun.server"},
		{[]string{"more"}, cli.Usage, "more"},
	} {
		code, _, errs := doctorRuns(append(tt.args, "--storage.path="+empty)...)
		if code != tt.code || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: code %d, %q", tt.args, code, errs)
		}
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("a folder was made")
	}
}
