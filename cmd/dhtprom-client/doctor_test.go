package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// doctorRuns runs the command and returns what it says.
func doctorRuns(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := command(ctx, append([]string{"doctor"}, args...), strings.NewReader(""), &out, &errs)
	code = cli.Exit(name, err, &errs)
	return code, out.String(), errs.String()
}

// startScraper runs a DHT and a scraper on the loopback interface.
func startScraper(t *testing.T, seed domain.Seed, secret domain.Secret) (bootstrap string) {
	t.Helper()
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dht.Close() })
	in, err := dht.Config()
	if err != nil {
		t.Fatal(err)
	}
	n, err := dhtprom.NewNode(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if _, err := scraper.Start(t.Context(), n, scraper.Config{Seed: seed, Secrets: []domain.Secret{secret}}); err != nil {
		t.Fatal(err)
	}
	return dht.Bootstrap()[0]
}

func TestDoctorTellsByItsExitCodeWhetherSomethingIsBroken(t *testing.T) {
	seed, secret := keyfile.NewSeed(), keyfile.NewSecret()
	keys, bootstrap := domain.KeyPairFromSeed(seed), startScraper(t, seed, secret)
	right := secretFile(t, secret.RevealText())
	wrong := secretFile(t, keyfile.NewSecret().RevealText())
	nobody := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no problem", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + right}, cli.OK, ""},
		{"with the client's other flags", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + right, "--alias=a", "--target=http://localhost:1/"}, cli.OK, ""},
		{"secret refused", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + wrong}, cli.Failed, "secret_refused"},
		{"wrong key", []string{"--scraper=" + nobody, "--secret-file=" + right}, cli.Failed, "not_announced"},
		{"one of two", []string{"--scraper=" + nobody, "--secret-file=" + right, "--scraper=" + keys.Public.String(), "--secret-file=" + right}, cli.Failed, "not_announced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, text, errs := doctorRuns(append(tt.args, "--dht.bootstrap="+bootstrap)...)
			if code != tt.code || strings.Contains(text, "No problems found.") != (code == cli.OK) || (errs == "") != (code == cli.OK) || strings.Contains(text, secret.RevealText()) {
				t.Errorf("code %d, %q\n%s", code, errs, text)
			}
			code, text, _ = doctorRuns(append(tt.args, "--dht.bootstrap="+bootstrap, "--json")...)
			var r struct {
				OK       bool
				Findings []struct{ Level, Code string }
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			if code != tt.code || r.OK != (code == cli.OK) || tt.says != "" && (len(r.Findings) == 0 || r.Findings[0].Code != tt.says) {
				t.Errorf("code %d, %+v", code, r)
			}
		})
	}
}

func TestDoctorRefusesNonsense(t *testing.T) {
	key := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	secret := secretFile(t, keyfile.NewSecret().RevealText())
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Usage, "--invite-file, or --scraper and --secret-file"},
		{[]string{"--scraper=" + key}, cli.Usage, "--secret-file"},
		{[]string{"--scraper=nonsense", "--secret-file=" + secret}, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + key, "--secret-file=" + secret, "--timeout=soon"}, cli.Usage, "--timeout"},
		{[]string{"--scraper=" + key, "--secret-file=" + secret, "more"}, cli.Usage, "more"},
		{[]string{"--scraper=" + key, "--secret-file=/nowhere/secret"}, cli.Failed, "/nowhere/secret"},
		{[]string{"--help"}, cli.OK, ""},
	} {
		code, _, errs := doctorRuns(tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.says) {
			t.Errorf("%q: code %d, %q", tt.args, code, errs)
		}
	}
}
