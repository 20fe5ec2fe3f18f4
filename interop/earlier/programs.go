package earlier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// Programs returns the folder with dhtprom-client and dhtprom-scraper of Commit, built on the first call if the cache does not have them.
// Without the history it skips the test, or fails it if interop is required.
func Programs(t testing.TB) string {
	t.Helper()
	top := process.Top(t)
	dir, err := built(top)
	switch {
	case err == nil:
		return dir
	case errors.Is(err, errNoHistory) && !process.Required():
		t.Skip("INTEROP NOT TESTED: the version before: " + err.Error())
	default:
		t.Fatalf("the version before: %v", err)
	}
	panic("unreachable")
}

var (
	errNoHistory = errors.New("no history")

	building sync.Mutex
)

// built returns the folder of the programs.
func built(top string) (string, error) {
	building.Lock()
	defer building.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "dhtprom-interop")
	dir := filepath.Join(cache, fmt.Sprintf("%.12s-%s-%s", Commit, runtime.GOOS, runtime.GOARCH))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := hasHistory(top); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	bin := filepath.Join(work, "bin")
	if err := build(top, filepath.Join(work, "src"), bin); err != nil {
		return "", err
	}
	// The folder appears with all that is in it, or another process was first.
	if err := os.Rename(bin, dir); err != nil {
		if _, missing := os.Stat(dir); missing != nil {
			return "", err
		}
	}
	return dir, nil
}

// git returns a git command in a repository, also in one of another owner, as containers of CI have it.
func git(ctx context.Context, repository string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*", "-C", repository}, args...)...)
}

// hasHistory checks that the repository has Commit. The error is an errNoHistory, and says how to get it.
func hasHistory(top string) error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("%w: git is not installed", errNoHistory)
	}
	if out, err := git(context.Background(), top, "rev-parse", "--git-dir").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s is not in a clone of the repository: %w: %s", errNoHistory, top, err, out)
	}
	if err := git(context.Background(), top, "cat-file", "-e", Commit+"^{commit}").Run(); err != nil {
		return fmt.Errorf("%w: this clone does not have commit %.7s; if it is shallow, run: git fetch --unshallow", errNoHistory, Commit)
	}
	return nil
}

// build builds the programs of Commit into bin, from sources that it extracts into src.
func build(top, src, bin string) error {
	for _, dir := range []string{src, bin} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	archive := src + ".tar"
	if out, err := git(ctx, top, "archive", "--format=tar", "--output="+archive, Commit).CombinedOutput(); err != nil {
		return fmt.Errorf("git archive: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "tar", "-x", "-f", archive, "-C", src).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	// Without paths of folders, the build cache has the packages that have not changed since.
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "./cmd/dhtprom-client", "./cmd/dhtprom-scraper")
	compile.Dir = src
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
