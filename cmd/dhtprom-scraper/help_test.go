package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// commands calls f with each command and its full name.
func commands(list []*kingpin.CmdModel, f func(full string, c *kingpin.CmdModel)) {
	for _, c := range list {
		if c.Name != "help" {
			f(c.FullCommand, c)
		}
		commands(c.Commands, f)
	}
}

func TestHelpOfACommandIsThatOfTheCommand(t *testing.T) {
	model := newFlags(io.Discard).app.Model()
	seen := map[string]bool{}
	commands(model.Commands, func(full string, c *kingpin.CmdModel) {
		seen[full] = true
		var out bytes.Buffer
		if code := start(context.Background(), append(strings.Fields(full), "--help"), &out, io.Discard); code != cli.OK {
			t.Fatalf("%s --help: %d", full, code)
		}
		help := out.String()
		example := examples[full]
		own, global, found := strings.Cut(help, "Global flags:")
		if !found || !strings.HasPrefix(help, "usage: "+name+" "+full) || example == "" || !strings.Contains(own, "Example:\n  "+example+"\n") {
			t.Errorf("%s --help:\n%s", full, help)
		}
		for _, f := range c.Flags {
			if !strings.Contains(own, "--"+f.Name) && !strings.Contains(own, "--[no-]"+f.Name) {
				t.Errorf("%s --help lacks --%s", full, f.Name)
			}
		}
		if strings.Contains(own, "--log.level") || !strings.Contains(global, "--log.level") {
			t.Errorf("%s --help has flags of the program among its own", full)
		}
		for _, foreign := range []string{"relay.max-pairs", "dht.listen-address"} {
			uses := full == "run" || full == "relay" || full == "doctor"
			if !uses && strings.Contains(help, foreign) {
				t.Errorf("%s --help has --%s", full, foreign)
			}
		}
		if full != "alias" {
			words := strings.Fields(example)
			if _, err := newFlags(io.Discard).parse(words[1:]); err != nil || words[0] != name {
				t.Errorf("the example of %s: %v", full, err)
			}
		}
	})
	for full := range examples {
		if !seen[full] {
			t.Errorf("an example for %q, which is no command", full)
		}
	}
}

func TestInviteIsWrittenForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(runConfig{storage: dir}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "laptop.invite")
	write := func() (int, string) {
		var out, errs bytes.Buffer
		code := start(context.Background(), []string{"invite", "--storage.path=" + dir, "--output=" + path}, &out, &errs)
		if strings.Contains(out.String(), domain.InvitePrefix) {
			t.Errorf("printed the invite: %s", out.String())
		}
		return code, errs.String()
	}
	check := func() {
		t.Helper()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := domain.ParseInvite(string(content)); err != nil {
			t.Errorf("%v: %s", err, content)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	if code, errs := write(); code != cli.OK {
		t.Fatal(errs)
	}
	check()
	// An older invite is replaced, whatever its mode was.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, errs := write(); code != cli.OK {
		t.Fatal(errs)
	}
	check()
	if err := os.WriteFile(path, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, errs := write(); code != cli.Failed || !strings.Contains(errs, "--output: "+path+" exists and has other content") {
		t.Errorf("%d %s", code, errs)
	}
	path = dir
	if code, errs := write(); code != cli.Failed || !strings.Contains(errs, "not a regular file") {
		t.Errorf("%d %s", code, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
