package docs

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// needs are the external programs that pages call.
var needs = []string{"bash", "curl", "prometheus", "promtool", "prometheus-node-exporter"}

// pages returns the names of all pages.
func pages(t *testing.T) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(process.Top(t), "docs", "*.md"))
	if err != nil || len(found) < 5 {
		t.Fatalf("found the pages %v (%v)", found, err)
	}
	for _, path := range append(found, filepath.Join(process.Top(t), "README.md")) {
		name, err := filepath.Rel(process.Top(t), path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestPagesDoWhatTheySay(t *testing.T) {
	process.Need(t, needs...)
	for _, name := range pages(t) {
		steps, err := Read(filepath.Join(process.Top(t), name))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(steps) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, name)
			if !slices.ContainsFunc(steps, func(s Step) bool { return strings.Contains(s.Text, "dhtprom-scraper bootstrap") }) {
				r.joinPublic()
			}
			for _, s := range steps {
				r.follow(s)
			}
		})
	}
}

// reader executes a page.
type reader struct {
	t       *testing.T
	page    string
	dir     string
	env     []string
	here    *strings.Replacer // replaces values of the page by those of this machine
	started map[string]*process.Process
}

func newReader(t *testing.T, page string) *reader {
	r := &reader{t: t, page: page, dir: t.TempDir(), started: map[string]*process.Process{}}
	_, web, err := net.SplitHostPort(process.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	r.env = []string{
		"PATH=" + r.programs(web) + ":" + process.Programs(t) + ":" + os.Getenv("PATH"), "HOME=" + r.dir, "TOP=" + process.Top(t),
		"DHTPROM_URL=http://127.0.0.1:" + web,
		// Go keeps its build and module caches.
		"GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOFLAGS=-mod=mod",
	}
	port := func() string {
		_, port, err := net.SplitHostPort(process.FreeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	r.here = strings.NewReplacer(
		"go run ./cmd/", "", "192.0.2.10", "127.0.0.1", "49737", fmt.Sprint(process.FreePorts(t, 4)),
		":30000", ":"+web, ":30001", ":"+port(), ":9090", ":"+port(), ":9100", ":"+port(), ":8080", ":"+port(),
	)
	return r
}

// joinPublic makes a private DHT the public one; commands of the page run unchanged.
func (r *reader) joinPublic() {
	public := process.FreePorts(r.t, 4)
	process.Start(r.t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", public), "--nodes=4",
	}}).Await("Running DHT nodes")
	r.env = append(r.env, fmt.Sprintf("DHTPROM_DHT_BOOTSTRAP=127.0.0.1:%d", public))
}

// programs returns a folder with a scraper whose default port is free. An environment variable would affect clients as
// well.
func (r *reader) programs(web string) (dir string) {
	dir = r.t.TempDir()
	script := `#!/bin/sh
export DHTPROM_WEB_LISTEN_ADDRESS=127.0.0.1:` + web + `
if [ -n "$DHT_PROM_HTTP_PORT$HYPERDHT_PROM_HTTP_PORT" ]; then unset DHTPROM_WEB_LISTEN_ADDRESS; fi
exec "` + filepath.Join(process.Programs(r.t), "dhtprom-scraper") + `" "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "dhtprom-scraper"), []byte(script), 0o755); err != nil {
		r.t.Fatal(err)
	}
	return dir
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (r *reader) bash(text string) process.Command {
	return process.Command{Path: "bash", Args: []string{"-euo", "pipefail", "-c", r.here.Replace(text)}, Env: r.env, Dir: r.dir}
}

// try runs a text to its end.
func (r *reader) try(text string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), process.Patience)
	defer stop()
	c := r.bash(text)
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return string(out), err
}

func (r *reader) follow(s Step) {
	r.t.Helper()
	where := fmt.Sprintf("%s:%d", r.page, s.Line)
	switch s.Do {
	case "run":
		if _, err := r.try(s.Text); err != nil {
			r.t.Fatalf("%s: %v", where, err)
		}
	case "setup":
		if _, err := r.try(s.Argument); err != nil {
			r.t.Fatalf("%s: %v", where, err)
		}
	case "wait":
		process.Until(r.t, where, func() error {
			_, err := r.try(s.Argument)
			return err
		})
	case "run until":
		want := regexp.MustCompile(r.here.Replace(s.Argument))
		process.Until(r.t, where, func() error {
			out, err := r.try(s.Text)
			if err == nil && !want.MatchString(out) {
				err = fmt.Errorf("it prints\n%s", out)
			}
			return err
		})
	case "start":
		p := process.Start(r.t, r.bash("exec "+strings.TrimSpace(s.Text)))
		p.Await(s.Argument)
		r.started[s.Name] = p
	case "background":
		process.Start(r.t, r.bash("exec "+s.Argument))
	case "stop":
		r.started[s.Name].Stop()
	case "file":
		r.write(s)
	case "same as":
		content, err := os.ReadFile(filepath.Join(process.Top(r.t), s.Argument))
		if err != nil {
			r.t.Fatalf("%s: %v", where, err)
		}
		if got, want := uncommented(s.Text), uncommented(string(content)); got != want {
			r.t.Errorf("%s: the page says\n%s\nand %s\n%s", where, got, s.Argument, want)
		}
		s.Argument = filepath.Base(s.Argument)
		r.write(s)
	}
}

func (r *reader) write(s Step) {
	r.t.Helper()
	path := filepath.Join(r.dir, s.Argument)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(r.here.Replace(s.Text)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// uncommented removes comments and empty lines.
func uncommented(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
