package earlier

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// A repository without the commit, as a shallow clone is one, of the same owner and of another.
func TestMissingHistoryIsReportedWithItsRemedy(t *testing.T) {
	process.Need(t, "git")
	empty := t.TempDir()
	err := hasHistory(empty)
	if !errors.Is(err, errNoHistory) || !strings.Contains(err.Error(), "not in a clone") {
		t.Errorf("outside of a repository: %v", err)
	}
	if out, err := exec.Command("git", "init", "-q", empty).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	for _, another := range []string{"0", "1"} {
		t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", another)
		if err := hasHistory(empty); !errors.Is(err, errNoHistory) || !strings.Contains(err.Error(), "git fetch --unshallow") {
			t.Errorf("a repository without the commit: %v", err)
		}
	}
}
