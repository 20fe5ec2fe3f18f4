package main

import (
	"log/slog"
	"os"

	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/domain"
)

const (
	seedEnv   = "DHTPROM_IDENTITY_SEED"
	secretEnv = "DHTPROM_SECRET"
)

// identity is who the client is, and what it proves itself with.
type identity struct {
	keys   domain.KeyPair // zero: made for this process
	secret domain.Secret
}

func loadIdentity(cfg config, log *slog.Logger) (id identity, err error) {
	secrets, err := loadSecrets(cfg, log)
	if err != nil {
		return id, err
	}
	id.secret = secrets[0]
	if len(secrets) > 1 {
		log.Warn("Several secrets were given; the first is used", "fingerprint", id.secret.Fingerprint())
	}
	var seed domain.Seed
	switch text := os.Getenv(seedEnv); {
	case cfg.seedFile != "":
		warnExposed(cfg.seedFile, log)
		seed, err = keyfile.Seed(cfg.seedFile)
	case text != "":
		seed, err = keyfile.ParseSeed(seedEnv, text)
	default:
		return id, nil
	}
	if err == nil {
		id.keys = domain.KeyPairFromSeed(seed)
	}
	return id, err
}

func loadSecrets(cfg config, log *slog.Logger) ([]domain.Secret, error) {
	if cfg.secretFile != "" {
		warnExposed(cfg.secretFile, log)
		return keyfile.Secrets(cfg.secretFile)
	}
	return keyfile.ParseSecrets(secretEnv, os.Getenv(secretEnv))
}

func warnExposed(path string, log *slog.Logger) {
	if keyfile.Exposed(path) {
		log.Warn("Others than the owner can read a file with a secret; chmod 600 it", "path", path)
	}
}
