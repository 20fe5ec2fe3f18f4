package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rsc.io/qr"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

func TestInviteLeadsToThisScraper(t *testing.T) {
	dir := t.TempDir()
	id, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	relay := domain.KeyPairFromSeed(keyfile.NewSeed()).Public
	var out, errs bytes.Buffer
	code := start(context.Background(), []string{
		"invite", "--storage.path=" + dir, "--dht.bootstrap=192.0.2.10:49737", "--dht.bootstrap=127.0.0.1:1", "--dht.relay=" + relay.String(),
	}, &out, &errs)
	if code != cli.OK {
		t.Fatalf("%d: %s", code, errs.String())
	}
	// One line and nothing else: the output can be saved as a file.
	v, err := domain.ParseInvite(out.String())
	if err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%v: %s", err, out.String())
	}
	if v.Scraper != id.keys.Public || !v.Secret.Equal(id.secrets[0]) || len(v.Bootstrap) != 2 || v.Bootstrap[0] != "192.0.2.10:49737" || len(v.Relays) != 1 || v.Relays[0].Key != relay {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(errs.String(), "from this machine only") || !strings.Contains(errs.String(), "127.0.0.1:1") || strings.Contains(errs.String(), "192.0.2.10") {
		t.Errorf("warnings: %s", errs.String())
	}
	if strings.Contains(errs.String(), strings.TrimSpace(out.String())) || strings.Contains(errs.String(), id.secrets[0].RevealText()) {
		t.Error("the secret was logged")
	}
}

func TestInviteHasTheKnownAddresses(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	relay := domain.Reference{Key: domain.KeyPairFromSeed(keyfile.NewSeed()).Public, Addr: domain.Address{Host: "relay.example", Port: 443}}
	var out, errs bytes.Buffer
	code := start(context.Background(), []string{
		"invite", "--storage.path=" + dir, "--dht.public-address=scraper.example:443", "--dht.public-address=192.0.2.7:53", "--dht.relay=" + relay.String(),
	}, &out, &errs)
	v, err := domain.ParseInvite(out.String())
	if code != cli.OK || err != nil || !slices.Equal(v.Relays, []domain.Reference{relay}) ||
		!slices.Equal(v.Addrs, []domain.Address{{Host: "scraper.example", Port: 443}, {Host: "192.0.2.7", Port: 53}}) {
		t.Errorf("%d, %+v, %v: %s", code, v, err, errs.String())
	}
	for _, bad := range []string{"scraper.example", "[2001:db8::1]:443", "a:1,b:2,c:3"} {
		errs.Reset()
		if code := start(context.Background(), []string{"invite", "--storage.path=" + dir, "--dht.public-address=" + bad}, &out, &errs); code != cli.Usage {
			t.Errorf("%s: %d, %s", bad, code, errs.String())
		}
	}
}

func TestInviteOfAScraperThatNeverRanIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"invite", "--storage.path=" + dir}, cli.Failed, "no " + filepath.Join(dir, "identity.seed")},
		{[]string{"invite", "--storage.path=" + dir, "--qr=maybe"}, cli.Usage, "--qr"},
		{[]string{"invite", "--dht.bootstrap=x"}, cli.Usage, "--dht.bootstrap"},
		{[]string{"invite", "--dht.relay=x"}, cli.Usage, "--dht.relay"},
	} {
		var out, errs bytes.Buffer
		code := start(context.Background(), c.args, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) || strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("%q: %d, %q, %q", c.args, code, out.String(), errs.String())
		}
	}
	if made, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(made) > 0 {
		t.Errorf("files were made: %v, %v", made, err)
	}
}

func TestInviteWithTooMuchInItIsRefused(t *testing.T) {
	t.Setenv(seedEnv, keyfile.NewSeed().RevealText())
	t.Setenv(secretEnv, keyfile.NewSecret().RevealText())
	var out, errs bytes.Buffer
	code := start(context.Background(), []string{"invite", "--dht.bootstrap=" + strings.Repeat("192.0.2.1:1,", 8) + "192.0.2.1:1"}, &out, &errs)
	if code != cli.Usage || !strings.Contains(errs.String(), "9 bootstrap nodes, at most 8") || out.Len() > 0 {
		t.Errorf("%d, %s", code, errs.String())
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// The drawing is the code, module by module, with its quiet zone.
func TestQRCodeIsDrawnAsItIs(t *testing.T) {
	t.Setenv(seedEnv, keyfile.NewSeed().RevealText())
	t.Setenv(secretEnv, keyfile.NewSecret().RevealText())
	var out, errs bytes.Buffer
	if code := start(context.Background(), []string{"invite", "--qr=always"}, &out, &errs); code != cli.OK {
		t.Fatalf("%d: %s", code, errs.String())
	}
	text, drawn, _ := strings.Cut(out.String(), "\n\n")
	want, err := qr.Encode(strings.ToUpper(text), qr.M)
	if err != nil {
		t.Fatal(err)
	}
	if want.Size > 60 {
		t.Errorf("the code is %d modules wide: the denser alphabet was not used", want.Size)
	}
	lines := strings.Split(strings.TrimSuffix(colours.ReplaceAllString(drawn, ""), "\n"), "\n")
	if len(lines) != (want.Size+2*quiet+1)/2 {
		t.Fatalf("%d lines for %d modules", len(lines), want.Size)
	}
	for y, line := range lines {
		row := []rune(line)
		if len(row) != want.Size+2*quiet {
			t.Fatalf("line %d has %d characters", y, len(row))
		}
		for x, r := range row {
			upper, lower := r == '▀' || r == '█', r == '▄' || r == '█'
			if upper != want.Black(x-quiet, 2*y-quiet) || lower != want.Black(x-quiet, 2*y+1-quiet) {
				t.Fatalf("module %d, %d is wrong", x, y)
			}
		}
	}
}
