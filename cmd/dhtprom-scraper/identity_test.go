package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/tempfile"
)

// A program that is killed while it creates seed and secret leaves temporary files, which hold secrets. The next start removes
// them, whether it has to create the files or finds them.
func TestLeftoversOfSecretsAreRemovedAtTheStart(t *testing.T) {
	t.Setenv(seedEnv, "")
	t.Setenv(secretEnv, "")
	cfg := runConfig{storage: t.TempDir()}
	for range 2 {
		for _, name := range []string{"identity.seed", "secret"} {
			leftover, old := tempfile.Name(filepath.Join(cfg.storage, name)), time.Now().Add(-time.Hour)
			if err := errors.Join(os.WriteFile(leftover, []byte("x"), 0o600), os.Chtimes(leftover, old, old)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := loadIdentity(cfg, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(cfg.storage)
		if err != nil || len(files) != 2 {
			t.Errorf("there are %v, %v", files, err)
		}
	}
}
