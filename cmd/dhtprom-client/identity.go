package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
	"github.com/dhtprom/dhtprom/keyfile"
)

const (
	seedEnv   = "DHTPROM_IDENTITY_SEED"
	secretEnv = "DHTPROM_SECRET"

	// maxInviteFile bounds the size of an invite file; with comments it has a few hundred bytes.
	maxInviteFile = 64 << 10
)

func secretFromEnv() string { return os.Getenv(secretEnv) }

// loadSeed loads the identity's seed from its file or the environment. Zero means none.
func loadSeed(path string, log *slog.Logger) (domain.Seed, error) {
	if path != "" {
		warnExposed(path, log)
		return keyfile.Seed(path)
	}
	if text := os.Getenv(seedEnv); text != "" {
		return keyfile.ParseSeed(seedEnv, text)
	}
	return domain.Seed{}, nil
}

// loadSecrets loads one secret for each --scraper, from the files or the environment.
func (f *flags) loadSecrets(log *slog.Logger) (secrets []domain.Secret, err error) {
	if len(f.scrapers) == 0 {
		return nil, nil
	}
	for _, path := range f.secretFiles {
		s, err := loadSecret(path, log)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, s)
	}
	if len(f.secretFiles) > 0 {
		return secrets, nil
	}
	if secrets, err = keyfile.ParseSecrets(secretEnv, secretFromEnv()); err != nil {
		return nil, err
	}
	switch keys := len(f.scrapers); {
	case keys == 1 && len(secrets) > 1:
		warnFirst(secrets[0], log)
	case keys != len(secrets):
		return nil, fmt.Errorf("%s: want one secret for each --scraper, in the same order; got %d for %d", secretEnv, len(secrets), keys)
	}
	return secrets, nil
}

// loadSecret reads a file. A scraper's own secret file may have several during a rotation; the first is the new one.
func loadSecret(path string, log *slog.Logger) (domain.Secret, error) {
	warnExposed(path, log)
	secrets, err := keyfile.Secrets(path)
	if err != nil {
		return domain.Secret{}, err
	}
	if len(secrets) > 1 {
		warnFirst(secrets[0], log)
	}
	return secrets[0], nil
}

func warnFirst(s domain.Secret, log *slog.Logger) {
	log.Warn("Several secrets were given; the first is used", "fingerprint", s.Fingerprint())
}

// loadInvite reads an invite from a file or, as -, from standard input. Lines that start with # are comments.
func loadInvite(path string, stdin io.Reader, log *slog.Logger) (domain.Invite, error) {
	in, from := stdin, "standard input"
	if path != "-" || stdin == nil {
		f, err := os.Open(path)
		if err != nil {
			return domain.Invite{}, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return domain.Invite{}, fmt.Errorf("%s is a directory: want a file with an invite", path)
		}
		in, from = f, path
		warnExposed(path, log)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxInviteFile+1))
	if err == nil && len(b) > maxInviteFile {
		err = errors.New("is too long for an invite")
	}
	if err == nil {
		b, err = privatefile.UTF8(b)
	}
	if err != nil {
		return domain.Invite{}, fmt.Errorf("%s: %w", from, err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			text.WriteString(line)
		}
	}
	v, err := domain.ParseInvite(text.String())
	if err != nil {
		return v, fmt.Errorf("invite in %s %w", from, err)
	}
	return v, nil
}

func warnExposed(path string, log *slog.Logger) {
	if keyfile.Exposed(path) {
		log.Warn("Secret file is readable by other users; run chmod 600 on it", "path", path)
	}
}
