package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/domain"
)

const (
	seedEnv   = "DHTPROM_IDENTITY_SEED"
	secretEnv = "DHTPROM_SECRET"
)

// identity is who the scraper is and who may register with it.
type identity struct {
	keys    domain.KeyPair
	secrets []domain.Secret
	// secretAt says where a client's secret can be copied from.
	secretAt string
}

// loadIdentity takes seed and secret from the files that the flags name, else from the environment, else from the
// storage path, where they are made once.
func loadIdentity(cfg runConfig, log *slog.Logger) (id identity, err error) {
	seed, err := loadSeed(cfg, log)
	if err != nil {
		return id, err
	}
	id.keys = domain.KeyPairFromSeed(seed)
	id.secrets, id.secretAt, err = loadSecrets(cfg, log)
	for _, s := range id.secrets {
		if s.Weak() {
			log.Warn("A secret has only one byte value and is easy to guess", "fingerprint", s.Fingerprint())
		}
	}
	return id, err
}

func loadSeed(cfg runConfig, log *slog.Logger) (domain.Seed, error) {
	if cfg.seedFile != "" {
		warnExposed(cfg.seedFile, log)
		return keyfile.Seed(cfg.seedFile)
	}
	if text := os.Getenv(seedEnv); text != "" {
		return keyfile.ParseSeed(seedEnv, text)
	}
	path := filepath.Join(cfg.storage, "identity.seed")
	err := makeOnce(path, "The seed of this dhtprom scraper's key pair. Keep it secret.", keyfile.NewSeed().RevealText, log)
	if err != nil {
		return domain.Seed{}, err
	}
	return keyfile.Seed(path)
}

func loadSecrets(cfg runConfig, log *slog.Logger) (secrets []domain.Secret, at string, err error) {
	if cfg.secretFile != "" {
		warnExposed(cfg.secretFile, log)
		secrets, err = keyfile.Secrets(cfg.secretFile)
		return secrets, cfg.secretFile, err
	}
	if text := os.Getenv(secretEnv); text != "" {
		secrets, err = keyfile.ParseSecrets(secretEnv, text)
		return secrets, "FILE", err
	}
	path := filepath.Join(cfg.storage, "secret")
	err = makeOnce(path, "The secret that clients register with at this dhtprom scraper.", keyfile.NewSecret().RevealText, log)
	if err != nil {
		return nil, "", err
	}
	secrets, err = keyfile.Secrets(path)
	return secrets, path, err
}

// makeOnce makes a file of the storage path unless it is there.
func makeOnce(path, comment string, value func() string, log *slog.Logger) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = keyfile.Write(path, comment, value()); err == nil {
			log.Info("Made a file", "path", path)
		}
		if errors.Is(err, fs.ErrExist) {
			err = nil // another process was quicker
		}
	}
	if err != nil {
		return fmt.Errorf("--storage.path: %w", err)
	}
	warnExposed(path, log)
	return nil
}

func warnExposed(path string, log *slog.Logger) {
	if keyfile.Exposed(path) {
		log.Warn("Others than the owner can read a file with a secret; chmod 600 it", "path", path)
	}
}

// greet prints how a client registers here.
func (id identity) greet(w io.Writer, bootstrap []string) {
	command := fmt.Sprintf("dhtprom-client --scraper=%s --secret-file=%s --alias=NAME --service=NAME", id.keys.Public, id.secretAt)
	for _, b := range bootstrap {
		command += " --dht.bootstrap=" + b
	}
	_, _ = fmt.Fprintf(w, "Scraper %s\nA client registers with a copy of the secret:\n\n  %s\n\n", id.keys.Public, command)
}
