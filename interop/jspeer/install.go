package jspeer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
// "hyperdht@6.20.5 dht-prom-client@1.1.0".
const otherVersions = "DHTPROM_JS_VERSIONS"

// installOther installs peer.js with other versions of its packages in a folder of the user's cache, and returns that.
// Packages that are not named have the version of package.json.
func installOther(from string, versions []string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(versions, " ")))
	dir := filepath.Join(cache, "dhtprom-interop", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	release, err := lock(filepath.Join(dir, ".install.lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for another test to install the packages: %w", err)
	}
	defer release()
	for _, name := range []string{"peer.js", "package.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", append([]string{"install", "--save-exact", "--ignore-scripts", "--no-audit", "--no-fund"}, versions...)...)
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install %s: %w\n%s", strings.Join(versions, " "), err, out)
	}
	return dir, nil
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
