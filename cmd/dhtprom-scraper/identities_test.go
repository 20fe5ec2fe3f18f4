package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
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
	if _, errs, code := runCommand("identity", "list", "--storage.path="+filepath.Join(dir, "other")); code != cli.Failed || !strings.Contains(errs, "no folder") {
		t.Errorf("a wrong folder: %d %s", code, errs)
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

// Commands at the same time lose no change, not even while there is no file yet.
func TestIdentityCommandsRunInTurns(t *testing.T) {
	dir := t.TempDir()
	const commands = 12
	var all sync.WaitGroup
	for n := range commands {
		all.Go(func() {
			if _, errs, code := runCommand("identity", "add", "--storage.path="+dir, fmt.Sprintf("site%d", n)); code != cli.OK {
				t.Errorf("%d %s", code, errs)
			}
		})
	}
	all.Wait()
	set, err := readIdentities(dir, slog.New(slog.DiscardHandler))
	ids := map[domain.IdentityID]bool{}
	for _, e := range set.Identities {
		ids[e.ID] = true
	}
	if err != nil || len(set.Identities) != commands || len(ids) != commands || ids[0] {
		t.Errorf("%d identities, %d IDs, %v", len(set.Identities), len(ids), err)
	}
}

// An identity may have been the only one from the first start on.
func TestInviteNeedsNoSecretThatIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	secret := keyfile.NewSecret()
	writeFile(t, filepath.Join(dir, identitiesFile), "shared_secret: false\nidentities:\n- {name: a, secrets: ["+secret.RevealText()+"]}\n")
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if v := inviteFor(t, dir, "--identity=a"); !v.Secret.Equal(secret) {
		t.Error("the invite has another secret")
	}
	if _, errs, code := runCommand("invite", "--storage.path="+dir); code != cli.Failed || !strings.Contains(errs, "set --identity") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestWeakSecretsOfIdentitiesAreWarnedAbout(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, identitiesFile), "identities:\n- {name: a, secrets: ["+strings.Repeat("ab", 32)+"]}\n")
	var log bytes.Buffer
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "identity=a") || strings.Contains(log.String(), "abab") {
		t.Error(log.String())
	}
}

// What root writes into the folder of the scraper's user must be readable for that.
func TestIdentitiesBelongToTheOwnerOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	const other = 12345
	chown := os.Geteuid() == 0
	if chown {
		if err := os.Chown(dir, other, other); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := runCommand("identity", "add", "--storage.path="+dir, "a"); code != cli.OK {
		t.Fatalf("%d %s", code, errs)
	}
	folder, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || ownerOf(info) != ownerOf(folder) || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s belongs to %d, %v, %v", f.Name(), ownerOf(info), info.Mode(), err)
		}
	}
}

func TestWrongIdentitiesAreExplained(t *testing.T) {
	dir := t.TempDir()
	secret := keyfile.NewSecret().RevealText()
	for name, c := range map[string]struct{ content, says string }{
		"a secret that is none":   {"identities:\n- name: a\n  secrets: [" + secret[1:] + "]\n", "line 3: not a secret"},
		"a secret beside a list":  {"identities:\n- name: a\n  secrets: " + secret + "\n", "line 3: secrets: want a list"},
		"a secret as a list":      {"identities: " + secret + "\n", "line 1: identities: want a list, [] for none"},
		"a secret as an item":     {"identities: [" + secret + "]\n", "line 1: want the fields aliases, id, labels, name, secrets"},
		"a secret as all":         {secret + "\n", "line 1: want the fields identities, shared_secret"},
		"an unknown field":        {"identities:\n- name: a\n  secret: [" + secret + "]\n", "line 3: unknown field, want one of aliases, id, labels, name, secrets"},
		"a secret as a field":     {"identities:\n- name: a\n  " + secret + ": x\n", "line 3: unknown field"},
		"a list as a field":       {"? [" + secret + "]\n: x\n", "line 1: unknown field"},
		"a secret as an anchor":   {"identities:\n- {name: a, secrets: [*" + secret + "]}\n", "not valid YAML"},
		"a secret as a switch":    {"shared_secret: !!int " + secret + "\nidentities: []\n", "line 1: shared_secret: want true or false"},
		"a secret as a number":    {"identities:\n- {name: a, secrets: [" + secret + "], id: !!int " + secret + "}\n", "line 2: id: want 16"},
		"a secret as a name":      {"identities:\n- {name: " + secret + ", secrets: [" + secret + "]}\n", "line 2: name: want"},
		"a secret as a pattern":   {"identities:\n- {name: a, secrets: [" + secret + "], aliases: [" + secret + "]}\n", "line 2: aliases: the pattern is a secret"},
		"a secret as a label":     {"identities:\n- {name: a, secrets: [" + secret + "], labels: {x: " + secret + "}}\n", "line 2: labels: the name or the value of a label is a secret"},
		"half a secret in labels": {"identities:\n- {name: a, secrets: [" + secret + "], labels: {__" + secret[1:] + ": x}}\n", "line 2: labels: the name of a label is not valid"},
		"a bad value of a label":  {"identities:\n- {name: a, secrets: [" + secret + "], labels: {__scrape_timeout__: " + secret[1:] + "}}\n", "line 2: labels: the value of a label is not valid"},
		"a label that is twice":   {"identities:\n- {name: a, secrets: [" + secret + "], labels: {x: y, x: z}}\n", "line 2: labels: a name is set twice"},
		"a bad name":              {"identities:\n- name: a b\n  secrets: [" + secret + "]\n", "line 2: name: want 1 to 63 letters"},
		"a field that is twice":   {"identities: []\nidentities: []\n", "line 2: identities is set twice"},
		"half a file":             {"shared_secret: true\n", "the field identities is missing"},
		"half a line":             {"identities:\n", "line 1: identities: want a list, [] for none"},
		"half an identity":        {"identities:\n- name: a\n  aliases: [x]\n", "a: no secret"},
		"half of its patterns":    {"identities:\n- name: a\n  secrets: [" + secret + "]\n  aliases:\n", "line 4: aliases: want a list of patterns, not empty"},
		"no patterns":             {"identities:\n- name: a\n  secrets: [" + secret + "]\n  aliases: []\n", "line 4: aliases: want a list of patterns, not empty"},
		"half of its labels":      {"identities:\n- name: a\n  secrets: [" + secret + "]\n  labels:\n", "line 4: labels: want NAME: VALUE"},
		"half a switch":           {"identities: []\nshared_secret:\n", "line 2: shared_secret: want true or false"},
		"a bad id":                {"identities:\n- {name: a, secrets: [" + secret + "], id: 1}\n", "line 2: id: want 16"},
		"no secret":               {"identities:\n- name: a\n", "a: no secret"},
		"one secret for two":      {"identities:\n- {name: a, secrets: [" + secret + "]}\n- {name: b, secrets: [" + secret + "]}\n", "a and b have the same secret"},
		"a bad label":             {"identities:\n- {name: a, secrets: [" + secret + "], labels: {job: x}}\n", "line 2: label job is"},
		"a label of each target":  {"identities:\n- {name: a, secrets: [" + secret + "], labels: {__scrape_interval__: 5s}}\n", "two leading underscores"},
		"an empty file":           {"# nothing\n", "the file is empty"},
		"two documents":           {"identities: []\n---\nidentities: []\n", "more than one document"},
		"too many secrets":        {"identities:\n- {name: a, secrets: [" + strings.Repeat(secret+", ", 17) + "]}\n", "17 secrets, want at most 16"},
		"no way to register":      {"shared_secret: false\nidentities: []\n", "no identity is left"},
		"other content":           {"[", "did not find expected"},
		"a pattern that is empty": {"identities:\n- {name: a, secrets: [" + secret + "], aliases: ['']}\n", "line 2: pattern of aliases"},
	} {
		if err := os.WriteFile(filepath.Join(dir, identitiesFile), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs, code := runCommand("identity", "list", "--storage.path="+dir)
		if code != cli.Failed || !strings.Contains(errs, c.says) || !strings.Contains(errs, identitiesFile) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %s", name, code, errs)
		}
		if strings.Contains(errs, secret[1:20]) {
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
