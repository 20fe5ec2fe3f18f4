package jspeer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	interop "github.com/dhtprom/dhtprom/interop/process"
)

// install checks for node and npm and installs the packages, once per process, and returns the folder of peer.js.
var install = sync.OnceValues(func() (string, error) {
	if err := installed("node"); err != nil {
		return "", err
	}
	dir, err := scripts()
	if err != nil {
		return "", err
	}
	if versions := strings.Fields(os.Getenv(otherVersions)); len(versions) > 0 {
		return installOther(dir, versions)
	}
	release, err := lock(filepath.Join(dir, ".install.lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for another test to install the packages: %w", err)
	}
	defer release()

	lockfile, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lockfile)
	want := hex.EncodeToString(sum[:])
	stamp := filepath.Join(dir, "node_modules", ".installed-from")
	if got, err := os.ReadFile(stamp); err == nil && string(got) == want {
		return dir, nil
	}
	if err := installed("npm"); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	// The packages include their native parts; nothing has to be built or run to install them.
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, os.WriteFile(stamp, []byte(want), 0o644)
})

// otherVersions is the variable that names other versions of the packages than those of the lock file, such as
// "hyperdht@6.20.5 dht-rpc@6.18.1". Packages that are not named have the version of package.json, or the newest one that
// their dependents accept.
const otherVersions = "DHTPROM_JS_VERSIONS"

// installOther installs peer.js with other versions of its packages in a folder of the user's cache, and returns that.
func installOther(from string, versions []string) (string, error) {
	named, err := parseVersions(versions)
	if err != nil {
		return "", fmt.Errorf("%s: %w", otherVersions, err)
	}
	manifest, err := os.ReadFile(filepath.Join(from, "package.json"))
	if err != nil {
		return "", err
	}
	if manifest, err = override(manifest, named); err != nil {
		return "", err
	}
	peer, err := os.ReadFile(filepath.Join(from, "peer.js"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(manifest)
	dir := filepath.Join(cache, "dhtprom-interop", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	release, err := lock(filepath.Join(dir, ".install.lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for another test to install the packages: %w", err)
	}
	defer release()
	for name, text := range map[string][]byte{"peer.js": peer, "package.json": manifest} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install of %s: %w\n%s", strings.Join(versions, " "), err, out)
	}
	lockfile, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return "", err
	}
	return dir, checkInstalled(lockfile, named)
}

// parseVersions reads names with versions, each NAME@VERSION or @SCOPE/NAME@VERSION.
func parseVersions(versions []string) (map[string]string, error) {
	named := map[string]string{}
	for _, v := range versions {
		at := strings.LastIndex(v, "@")
		if at <= 0 || at == len(v)-1 {
			return nil, fmt.Errorf("%q is not NAME@VERSION", v)
		}
		named[v[:at]] = v[at+1:]
	}
	return named, nil
}

// override returns a package.json with other versions of packages, wherever they are in the tree: dependents have to take them,
// even where they ask for a newer one, as every dht-prom-client does where hyperdht is 6.11.
func override(manifest []byte, named map[string]string) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(manifest, &fields); err != nil {
		return nil, fmt.Errorf("package.json: %w", err)
	}
	direct, _ := fields["dependencies"].(map[string]any)
	for name, version := range named {
		if _, ok := direct[name]; ok {
			direct[name] = version
		}
	}
	fields["overrides"] = named
	return json.MarshalIndent(fields, "", "  ")
}

// checkInstalled returns an error unless a package-lock.json has each named package, in its named version only.
func checkInstalled(lockfile []byte, named map[string]string) error {
	var tree struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(lockfile, &tree); err != nil {
		return fmt.Errorf("package-lock.json: %w", err)
	}
	for name, want := range named {
		found := false
		for path, is := range tree.Packages {
			if path != "node_modules/"+name && !strings.HasSuffix(path, "/node_modules/"+name) {
				continue
			}
			if found = true; is.Version != want {
				return fmt.Errorf("npm installed %s@%s at %s, want %s", name, is.Version, path, want)
			}
		}
		if !found {
			return fmt.Errorf("npm installed no %s, want %s", name, want)
		}
	}
	return nil
}

var errNotInstalled = errors.New("not installed")

func installed(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s is %w", program, errNotInstalled)
	}
	return nil
}

// scripts finds interop/js from the test's folder in the module.
func scripts() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		js := filepath.Join(dir, "interop", "js")
		if _, err := os.Stat(filepath.Join(js, "peer.js")); err == nil {
			return js, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("interop/js/peer.js is in no folder above the test")
		}
		dir = up
	}
}

// Require checks that peers can be started. Where they cannot it skips the test, or fails it if interop is required.
func Require(t testing.TB) string {
	t.Helper()
	dir, err := install()
	switch {
	case err == nil:
		return dir
	case errors.Is(err, errNotInstalled) && !interop.Required():
		t.Skip("INTEROP NOT TESTED: " + err.Error())
	default:
		t.Fatalf("interop peers: %v", err)
	}
	panic("unreachable")
}

// Seed returns a fixed seed for a name, as the hex that peer.js takes.
func Seed(name string) string {
	sum := sha256.Sum256([]byte("dhtprom interop seed: " + name))
	return hex.EncodeToString(sum[:])
}

// tail returns the last lines of a text.
func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
