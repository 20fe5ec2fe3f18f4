package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/domain"
)

// runCommand runs a command that ends by itself.
func runCommand(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = start(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), code
}

// inviteFor returns the invite of an identity.
func inviteFor(t *testing.T, dir string, more ...string) domain.Invite {
	t.Helper()
	out, errs, code := runCommand(append([]string{"invite", "--storage.path=" + dir}, more...)...)
	v, err := domain.ParseInvite(out)
	if code != cli.OK || err != nil {
		t.Fatalf("%v: %d %s", err, code, errs)
	}
	return v
}

func TestIdentitiesAreAddedListedAndRevoked(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	at := "--storage.path=" + dir
	shared := inviteFor(t, dir)
	out, errs, code := runCommand("identity", "add", at, "site7", "--alias=site7/*", "--alias=gate-7", "--label=site=7", "--label=floor=2")
	if code != cli.OK || !strings.Contains(out, "invite --identity=site7") || !strings.Contains(out, "No scraper runs with this folder") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	info, err := os.Stat(filepath.Join(dir, identitiesFile))
	if err != nil || keyfile.Exposed(filepath.Join(dir, identitiesFile)) {
		t.Errorf("%v, %v", info, err)
	}
	v := inviteFor(t, dir, "--identity=site7")
	if v.Scraper != shared.Scraper || v.Secret.Equal(shared.Secret) {
		t.Error("the invite is not one for the identity")
	}
	if _, errs, code := runCommand("identity", "add", at, "site7"); code != cli.Failed || !strings.Contains(errs, "there is an identity site7 already") {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := runCommand("identity", "add", at, "site8"); code != cli.OK {
		t.Errorf("%d %s", code, errs)
	}
	want := "IDENTITY  MAY REGISTER    LABELS          ALIASES  SECRET\n" +
		"shared    all             -               -        the scraper's own\n" +
		"site7     site7/* gate-7  floor=2 site=7  -        " + v.Secret.Fingerprint() + "\n" +
		"site8     all             -               -        " + inviteFor(t, dir, "--identity=site8").Secret.Fingerprint() + "\n"
	if out, errs, code := runCommand("identity", "list", at); code != cli.OK || out != want {
		t.Errorf("%d %s\n%s\nwant\n%s", code, errs, out, want)
	}
	if strings.Contains(out, v.Secret.RevealText()) {
		t.Error("the list has a secret")
	}
	id, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler))
	if err != nil || len(id.named) != 2 || len(id.secrets) != 1 || !id.named[0].Allows("gate-7") || id.named[0].Allows("site8/a") {
		t.Errorf("%+v, %v", id.named, err)
	}

	if _, errs, code := runCommand("identity", "revoke", at, "shared"); code != cli.OK {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := runCommand("invite", at); code != cli.Failed || !strings.Contains(errs, "set --identity") {
		t.Errorf("an invite with a revoked secret: %d %s", code, errs)
	}
	if _, errs, code := runCommand("identity", "revoke", at, "site7"); code != cli.OK {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := runCommand("identity", "revoke", at, "site8"); code != cli.Failed || !strings.Contains(errs, "no identity is left") {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := runCommand("identity", "add", at, "shared"); code != cli.OK {
		t.Errorf("%d %s", code, errs)
	}
	if !inviteFor(t, dir).Secret.Equal(shared.Secret) {
		t.Error("the scraper has another secret")
	}
}

func TestWrongIdentitiesAreExplained(t *testing.T) {
	dir := t.TempDir()
	secret := keyfile.NewSecret().RevealText()
	for name, c := range map[string]struct{ content, says string }{
		"a secret that is none":   {"identities:\n- name: a\n  secrets: [" + secret[1:] + "]\n", "line 3: not a secret"},
		"a secret beside a list":  {"identities:\n- name: a\n  secrets: " + secret + "\n", "line 3: secrets: want a list"},
		"a secret as a list":      {"identities: " + secret + "\n", "line 1: cannot unmarshal !!str that value"},
		"an unknown field":        {"identities:\n- name: a\n  secret: [" + secret + "]\n", "field secret not found"},
		"a bad name":              {"identities:\n- name: a b\n  secrets: [" + secret + "]\n", `name "a b"`},
		"no secret":               {"identities:\n- name: a\n", "a: no secret"},
		"one secret for two":      {"identities:\n- {name: a, secrets: [" + secret + "]}\n- {name: b, secrets: [" + secret + "]}\n", "a and b have the same secret"},
		"a bad label":             {"identities:\n- {name: a, secrets: [" + secret + "], labels: {job: x}}\n", "a: label job"},
		"a label of each target":  {"identities:\n- {name: a, secrets: [" + secret + "], labels: {__scrape_interval__: 5s}}\n", "two leading underscores"},
		"an empty file":           {"# nothing\n", "the file is empty"},
		"two documents":           {"identities: []\n---\nidentities: []\n", "more than one document"},
		"too many secrets":        {"identities:\n- {name: a, secrets: [" + strings.Repeat(secret+", ", 17) + "]}\n", "17 secrets, want at most 16"},
		"no way to register":      {"shared_secret: false\n", "no identity is left"},
		"other content":           {"[", "did not find expected"},
		"a pattern that is empty": {"identities:\n- {name: a, secrets: [" + secret + "], aliases: ['']}\n", "pattern of aliases"},
	} {
		if err := os.WriteFile(filepath.Join(dir, identitiesFile), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs, code := runCommand("identity", "list", "--storage.path="+dir)
		if code != cli.Failed || !strings.Contains(errs, c.says) || !strings.Contains(errs, identitiesFile) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %s", name, code, errs)
		}
		if strings.Contains(errs, secret[1:]) {
			t.Errorf("%s: the secret is in the error", name)
		}
		if _, errs, code := runCommand("identity", "add", "--storage.path="+dir, "b"); code != cli.Failed {
			t.Errorf("%s: replaced: %d %s", name, code, errs)
		}
	}
	set := identitySet{content: []byte("identities: []\n"), Identities: []identityEntry{{Name: "b", Secrets: secretList{keyfile.NewSecret()}}}}
	if err := os.WriteFile(filepath.Join(dir, identitiesFile), []byte("identities: [] # changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := set.write(dir); err == nil || !strings.Contains(err.Error(), "meanwhile") {
		t.Errorf("a change of another command is lost: %v", err)
	}
	for _, args := range [][]string{
		{"add", "a b"}, {"add", "a", "--label=x"}, {"add", "a", "--label=job=x"}, {"add", "shared", "--alias=x"}, {"add"}, {"revoke"}, {"add", "a", "--alias=\x01"},
	} {
		if _, errs, code := runCommand(append([]string{"identity", "--storage.path=" + t.TempDir()}, args...)...); code != cli.Usage || errs == "" {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
}
