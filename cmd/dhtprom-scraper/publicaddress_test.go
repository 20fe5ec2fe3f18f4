package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

func TestPublicAddressIsConfirmedIfItIsThisMachinesOwn(t *testing.T) {
	own := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:49737"), netip.MustParseAddrPort("192.0.2.7:49737")}
	for _, c := range []struct {
		public     string
		firewalled bool
		want       string
	}{
		{"192.0.2.7:49737", false, "192.0.2.7:49737"},
		{"192.0.2.7:49737", true, ""},
		{"192.0.2.8:49737", false, ""}, // of a router that forwards
		{"10.0.0.2:49737", false, ""},  // of a private DHT
		{"", false, ""},
	} {
		public, _ := netip.ParseAddrPort(c.public)
		a, ok := confirmed(public, own, c.firewalled)
		if ok != (c.want != "") || ok && a.String() != c.want {
			t.Errorf("%q, firewalled %v: %v, %v", c.public, c.firewalled, a, ok)
		}
	}
}

// An invite has the address of the scraper that runs, as long as it has one, unless a flag names another.
func TestInviteHasTheAddressOfTheRunningScraper(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	invited := func(more ...string) []domain.Address {
		t.Helper()
		var out, errs bytes.Buffer
		code := start(context.Background(), append([]string{"invite", "--storage.path=" + dir}, more...), &out, &errs)
		v, err := domain.ParseInvite(out.String())
		if code != cli.OK || err != nil {
			t.Fatalf("%d, %v: %s", code, err, errs.String())
		}
		return v.Addrs
	}
	path := filepath.Join(dir, publicAddressFile)
	for _, text := range []string{"192.0.2.7:49737", "scraper.example:443", "", ""} {
		if err := savePublicAddress(path, text); err != nil {
			t.Fatal(err)
		}
		var want []domain.Address
		if text != "" {
			a, err := domain.ParseAddress(text)
			if err != nil {
				t.Fatal(err)
			}
			want = []domain.Address{a}
		}
		if got := invited(); !slices.Equal(got, want) {
			t.Errorf("with %q the invite has %v", text, got)
		}
	}
	if err := savePublicAddress(path, "192.0.2.7:49737"); err != nil {
		t.Fatal(err)
	}
	if got := invited("--dht.public-address=192.0.2.9:53"); !slices.Equal(got, []domain.Address{{Host: "192.0.2.9", Port: 53}}) {
		t.Errorf("beside a flag the invite has %v", got)
	}

	// A file of another kind is not replaced, and is named.
	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"192.0.2.7:49737", ""} {
		if err := savePublicAddress(path, text); err == nil {
			t.Errorf("a file of another kind was replaced by %q", text)
		}
	}
	var out, errs bytes.Buffer
	if code := start(context.Background(), []string{"invite", "--storage.path=" + dir}, &out, &errs); code == cli.OK || !strings.Contains(errs.String(), path) {
		t.Errorf("%d: %s", code, errs.String())
	}
}
