package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
)

// nfpm builds packages from the same descriptions as goreleaser, which contains it. .ci/run compiles it before the tests.
const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.41.3"

// build builds the packages of one format and version, as a release does, and returns their paths by name.
func build(t *testing.T, format, version string) map[string]string {
	t.Helper()
	process.Need(t, "gzip")
	if !strings.Contains(content(t, ".ci/run"), "go run "+nfpm+" ") {
		t.Error(".ci/run compiles another version of nfpm")
	}
	if !process.Required() {
		t.Skip("NOT TESTED: DHTPROM_REQUIRE_INTEROP=1 fetches and compiles nfpm")
	}
	var release struct {
		Before struct{ Hooks []string }
		Nfpms  []map[string]any
	}
	if err := yaml.Unmarshal([]byte(content(t, ".goreleaser.yml")), &release); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"packaging", "examples", "mixin", "LICENSE"} {
		run(t, dir, "cp", "-r", filepath.Join(process.Top(t), name), dir)
	}
	for _, hook := range release.Before.Hooks {
		run(t, dir, "sh", "-ec", hook)
	}
	packages := map[string]string{}
	for _, p := range release.Nfpms {
		name := p["package_name"].(string)
		for _, key := range []string{"id", "ids", "package_name", "file_name_template", "formats"} { // goreleaser's own
			delete(p, key)
		}
		p["name"], p["version"], p["arch"] = name, version, runtime.GOARCH
		p["deb"] = map[string]any{"compression": "none"} // for the test's speed
		p["contents"] = append(p["contents"].([]any), map[string]any{
			"src": filepath.Join(process.Programs(t), name), "dst": "/usr/bin/" + name, "file_info": map[string]any{"mode": 0o755},
		})
		description, err := yaml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "nfpm.yml"), description, 0o644); err != nil {
			t.Fatal(err)
		}
		packages[name] = filepath.Join(dir, name+"."+format)
		run(t, dir, "go", "run", nfpm, "package", "--config=nfpm.yml", "--packager="+format, "--target="+packages[name])
	}
	return packages
}

// run runs a command to its end and returns its output.
func run(t *testing.T, dir string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// machine is an empty root with dpkg's database, on which systemd seems to run.
type machine struct {
	t    *testing.T
	root string
	bin  string // with the systemctl that is called
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	process.Need(t, "dpkg")
	m := &machine{t: t, root: t.TempDir(), bin: t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "run/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.write("var/lib/dpkg/status", "")
	m.systemctl(0)
	return m
}

// systemctl makes the machine's systemctl one that records its calls and exits with a code.
func (m *machine) systemctl(code int) {
	m.t.Helper()
	fake := fmt.Sprintf("#!/bin/sh\necho \"systemctl $*\" >>%s/calls\nexit %d\n", m.root, code)
	if err := os.WriteFile(filepath.Join(m.bin, "systemctl"), []byte(fake), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(name, content string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// dpkg runs dpkg on the root and returns the calls of systemctl. Scripts run outside of the root, since it has no shell.
func (m *machine) dpkg(args ...string) string {
	m.t.Helper()
	run(m.t, m.root, append([]string{"env", "PATH=" + m.bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "dpkg", "--root=" + m.root,
		"--force-script-chrootless", "--force-not-root", "--force-bad-path", "--log=/dev/null"}, args...)...)
	calls, err := os.ReadFile(filepath.Join(m.root, "calls"))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(m.root, "calls"))
	return strings.TrimSpace(string(calls))
}

func (m *machine) has(name string) bool {
	_, err := os.Stat(filepath.Join(m.root, name))
	return err == nil
}

func TestDebianPackagesAreInstalledUpgradedRemovedAndPurged(t *testing.T) {
	first, second := build(t, "deb", "1.0.0"), build(t, "deb", "1.1.0")
	for name, p := range map[string]struct {
		units, restarted string
		data, settings   []string
	}{
		"dhtprom-scraper": {
			"dhtprom-scraper.socket dhtprom-bootstrap.service dhtprom-scraper.service", "dhtprom-bootstrap.service dhtprom-scraper.service",
			[]string{"var/lib/private/dhtprom-scraper/identity.seed"}, []string{"etc/default/dhtprom-scraper", "etc/default/dhtprom-bootstrap"},
		},
		"dhtprom-client": {
			"dhtprom-client.service", "dhtprom-client.service",
			[]string{"var/cache/private/dhtprom-client/nodes.json", "etc/dhtprom/client.invite"}, []string{"etc/default/dhtprom-client"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			check := func(when, calls, want string, installed, kept bool) {
				t.Helper()
				if calls != want {
					t.Errorf("%s: called\n%s\nwant\n%s", when, calls, want)
				}
				for _, file := range []string{"usr/bin/" + name, "usr/lib/systemd/system/" + name + ".service", "usr/share/man/man1/" + name + ".1.gz"} {
					if m.has(file) != installed {
						t.Errorf("%s: %s is there: %v", when, file, !installed)
					}
				}
				for _, file := range slices.Concat(p.data, p.settings) {
					if m.has(file) != kept {
						t.Errorf("%s: %s is there: %v", when, file, !kept)
					}
				}
			}
			for _, file := range p.data {
				m.write(file, "data")
			}
			check("installed", m.dpkg("--install", first[name]), "systemctl daemon-reload", true, true)
			m.write(p.settings[0], "# changed\n")
			check("upgraded", m.dpkg("--install", second[name]), "systemctl daemon-reload\nsystemctl try-restart "+p.restarted, true, true)
			if b, err := os.ReadFile(filepath.Join(m.root, p.settings[0])); err != nil || string(b) != "# changed\n" {
				t.Errorf("the upgrade changed %s to %q, %v", p.settings[0], b, err)
			}
			run(t, m.root, "gzip", "-t", "usr/share/man/man1/"+name+".1.gz")
			check("removed", m.dpkg("--remove", name), "systemctl disable --now "+p.units+"\nsystemctl daemon-reload", false, true)
			check("purged", m.dpkg("--purge", name), "systemctl daemon-reload", false, false)

			// Where systemctl fails, dpkg goes on.
			m.systemctl(1)
			m.dpkg("--install", first[name])
			m.dpkg("--install", second[name])
			m.dpkg("--purge", name)
			m.systemctl(0)

			// In an image, nothing calls systemctl.
			if err := os.RemoveAll(filepath.Join(m.root, "run/systemd")); err != nil {
				t.Fatal(err)
			}
			if calls := m.dpkg("--install", first[name]) + m.dpkg("--install", second[name]) + m.dpkg("--purge", name); calls != "" {
				t.Errorf("called %s where systemd does not run", calls)
			}
		})
	}
}

// rpm calls the same scripts with the number of installed versions.
func TestScriptsKnowTheArgumentsOfRPM(t *testing.T) {
	for _, name := range names {
		m := newMachine(t)
		for _, c := range []struct{ script, versions, want string }{
			{"postinst", "1", "systemctl daemon-reload"},
			{"postinst", "2", "systemctl daemon-reload systemctl try-restart"},
			{"prerm", "1", ""},
			{"prerm", "0", "systemctl disable --now"},
			{"postrm", "1", ""},
			{"postrm", "0", "systemctl daemon-reload"},
		} {
			run(t, m.root, "env", "DPKG_ROOT="+m.root, "PATH="+m.bin+":"+os.Getenv("PATH"), "sh",
				filepath.Join(process.Top(t), "packaging/scripts", name+"."+c.script), c.versions)
			calls, err := os.ReadFile(filepath.Join(m.root, "calls"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(m.root, "calls"))
			if got := strings.Join(strings.Fields(string(calls)), " "); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s.%s %s calls %q, want %q", name, c.script, c.versions, got, c.want)
			}
		}
	}
}

func TestRPMPackagesHaveTheFilesAndScripts(t *testing.T) {
	process.Need(t, "rpm")
	for name, path := range build(t, "rpm", "1.0.0") {
		files := strings.Fields(run(t, filepath.Dir(path), "rpm", "--query", "--package", "--list", path))
		for _, want := range []string{
			"/usr/bin/" + name, "/usr/lib/systemd/system/" + name + ".service", "/usr/share/man/man1/" + name + ".1.gz", "/etc/default/" + name,
			"/usr/share/zsh/site-functions/_" + name,
		} {
			if !slices.Contains(files, want) {
				t.Errorf("%s lacks %s: %q", name, want, files)
			}
		}
		scripts := run(t, filepath.Dir(path), "rpm", "--query", "--package", "--scripts", path)
		for _, want := range []string{"postinstall", "preuninstall", "postuninstall"} {
			if !strings.Contains(scripts, want+" scriptlet") {
				t.Errorf("%s has no %s script:\n%s", name, want, scripts)
			}
		}
		if config := run(t, filepath.Dir(path), "rpm", "--query", "--package", "--configfiles", path); !strings.Contains(config, "/etc/default/"+name) {
			t.Errorf("%s replaces its settings: %q", name, config)
		}
	}
}

var setting = regexp.MustCompile(`(?m)^(ExecStart|Environment)=(.*)$`)

// service starts what a unit does, on a machine, with more settings.
func (m *machine) service(unit string, settings ...string) *process.Process {
	m.t.Helper()
	content, err := os.ReadFile(filepath.Join(m.root, "usr/lib/systemd/system", unit+".service"))
	if err != nil {
		m.t.Fatal(err)
	}
	c := process.Command{}
	for _, line := range setting.FindAllStringSubmatch(string(content), -1) {
		value := strings.NewReplacer("/var/lib/", m.root+"/var/lib/", "%C", m.root+"/var/cache", "%d/invite", m.root+"/etc/dhtprom/client.invite").Replace(line[2])
		if line[1] == "Environment" {
			c.Env = append(c.Env, value)
			continue
		}
		words := strings.Fields(value)
		c.Path, c.Args = m.root+words[0], words[1:]
	}
	c.Env = append(c.Env, settings...)
	return process.Start(m.t, c)
}

// A newcomer with two machines: a package on each, an invite from one to the other.
func TestPackagesOnTwoMachinesScrape(t *testing.T) {
	packages := build(t, "deb", "1.0.0")
	server, laptop := newMachine(t), newMachine(t)
	arrived := process.TwoPackages.Begin(t)
	server.dpkg("--install", packages["dhtprom-scraper"])
	laptop.dpkg("--install", packages["dhtprom-client"])
	port := process.FreePorts(t, 4)
	web := process.FreeAddress(t)
	bootstrap := fmt.Sprintf("DHTPROM_DHT_BOOTSTRAP=127.0.0.1:%d", port)
	server.service("dhtprom-bootstrap", "DHTPROM_HOST=127.0.0.1", fmt.Sprintf("DHTPROM_PORT=%d", port)).Await("Running DHT nodes")
	server.service("dhtprom-scraper", "DHTPROM_WEB_LISTEN_ADDRESS="+web, "DHTPROM_DHT_LISTEN_ADDRESS=127.0.0.1:0", bootstrap).Await("Accepting registrations")
	invite := run(t, server.root, "env", bootstrap, server.root+"/usr/bin/dhtprom-scraper", "invite", "--storage.path="+server.root+"/var/lib/dhtprom-scraper",
		"--output="+laptop.root+"/etc/dhtprom/client.invite")
	if !laptop.has("etc/dhtprom/client.invite") {
		t.Fatal(invite)
	}
	laptop.service("dhtprom-client", "DHTPROM_ALIAS=laptop").Await("Serving metrics")
	process.Until(t, "the client's metrics", func() error {
		_, err := process.Get("http://" + web + "/scrape/laptop/metrics")
		return err
	})
	arrived()
}
