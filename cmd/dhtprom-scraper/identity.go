package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

const (
	seedEnv   = "DHTPROM_IDENTITY_SEED"
	secretEnv = "DHTPROM_SECRET"
)

// identity is the scraper's key pair and the secrets that it accepts.
type identity struct {
	keys    domain.KeyPair
	secrets []domain.Secret   // of no identity of clients; none if they are revoked
	named   []domain.Identity // nil without a file of identities
	// secretAt is the place from which a client's secret can be copied.
	secretAt string
}

// loadIdentity loads seed and secret from the files of the flags, else from the environment, else from the storage path, where
// they are created at the first start.
func loadIdentity(cfg runConfig, log *slog.Logger) (id identity, err error) {
	seed, err := loadSeed(seedSource{
		file: cfg.seedFile, old: cfg.legacy, made: filepath.Join(cfg.storage, "identity.seed"), comment: "The seed of this dhtprom scraper's key pair. Keep it secret.",
	}, log)
	if err != nil {
		return id, err
	}
	id.keys = domain.KeyPairFromSeed(seed)
	return id, id.loadSecrets(cfg, log)
}

// loadSecrets loads the secrets and identities of clients. In a reload, a file that is missing is an error: it may have been removed by mistake.
func (id *identity) loadSecrets(cfg runConfig, log *slog.Logger) (err error) {
	set, err := readIdentities(cfg.storage, log)
	if err == nil {
		id.named, err = set.named()
	}
	if v := cfg.valid; err == nil && !set.found && v != nil && (len(v.named) > 0 || len(v.secrets) == 0) {
		err = fmt.Errorf("%s is missing: restore it, or write `identities: []` to it to remove all", filepath.Join(cfg.storage, identitiesFile))
	}
	if set.found && id.named == nil {
		id.named = []domain.Identity{}
	}
	for _, i := range id.named {
		warnWeak(i.Secrets, i.Name, log)
	}
	if err != nil || !set.shared() {
		return err
	}
	id.secrets, id.secretAt, err = loadSecrets(cfg, log)
	return err
}

// secretOf returns the secret of an identity, of the clients without one for an empty name, and what it allows to register.
func (id identity) secretOf(name string) (s domain.Secret, allows string, err error) {
	if name == domain.SharedIdentity {
		if len(id.secrets) == 0 {
			return s, "", errors.New("the scraper's own secret is revoked: set --identity to an identity that dhtprom-scraper identity list shows")
		}
		return id.secrets[0], "any alias", nil
	}
	i := slices.IndexFunc(id.named, func(i domain.Identity) bool { return i.Name == name })
	switch {
	case i < 0:
		return s, "", fmt.Errorf("--identity: there is no identity %s; dhtprom-scraper identity add adds it", name)
	case len(id.named[i].Aliases) == 0:
		allows = "any alias, as " + name + ","
	default:
		allows = fmt.Sprintf("the aliases %s, as %s,", id.named[i].Patterns(), name)
	}
	return id.named[i].Secrets[0], allows, nil
}

// secret returns a valid secret.
func (id identity) secret() domain.Secret {
	if len(id.secrets) > 0 {
		return id.secrets[0]
	}
	return id.named[0].Secrets[0] // one of both exists
}

// seedSource lists the places of a seed: a file, the environment, an older program's environment, or a file that is created once.
type seedSource struct {
	file    string
	old     *legacy // may be nil
	made    string
	comment string
}

func loadSeed(from seedSource, log *slog.Logger) (domain.Seed, error) {
	if from.file != "" {
		warnExposed(from.file, log)
		return keyfile.Seed(from.file)
	}
	if text := os.Getenv(seedEnv); text != "" {
		return keyfile.ParseSeed(seedEnv, text)
	}
	if from.old != nil && from.old.values[legacySeed] != "" {
		return keyfile.ParseSeed(from.old.names[legacySeed], from.old.values[legacySeed])
	}
	seed, made, err := keyfile.OwnSeed(from.made, from.comment)
	return seed, inStorage(from.made, made, err, log)
}

// loadSecrets loads the valid secrets and returns the place of the first.
func loadSecrets(cfg runConfig, log *slog.Logger) (secrets []domain.Secret, at string, err error) {
	secrets, at, err = readSecrets(cfg, log)
	unique := secrets[:0]
	for _, s := range secrets {
		if slices.ContainsFunc(unique, s.Equal) {
			continue
		}
		unique = append(unique, s)
	}
	warnWeak(unique, sharedIdentity, log)
	return unique, at, err
}

func warnWeak(secrets []domain.Secret, identity string, log *slog.Logger) {
	for _, s := range secrets {
		if s.Weak() {
			log.Warn("A secret has only one byte value and is easy to guess", "fingerprint", s.Fingerprint(), "identity", identity)
		}
	}
}

func readSecrets(cfg runConfig, log *slog.Logger) (secrets []domain.Secret, at string, err error) {
	if len(cfg.secretFiles) > 0 {
		for _, path := range cfg.secretFiles {
			warnExposed(path, log)
			some, err := keyfile.Secrets(path)
			if err != nil {
				return nil, "", err
			}
			secrets = append(secrets, some...)
		}
		return secrets, cfg.secretFiles[0], nil
	}
	if text := os.Getenv(secretEnv); text != "" {
		secrets, err = keyfile.ParseSecrets(secretEnv, text)
		return secrets, "FILE", err
	}
	if l := cfg.legacy; l != nil && l.values[legacySecret] != "" {
		secrets, err = keyfile.ParseSecrets(l.names[legacySecret], l.values[legacySecret])
		return secrets, "FILE", err
	}
	path := filepath.Join(cfg.storage, "secret")
	if v := cfg.valid; v != nil && len(v.secrets) > 0 { // a new one would lock out all clients
		warnExposed(path, log)
		secrets, err = keyfile.Secrets(path)
		return secrets, path, err
	}
	secrets, made, err := keyfile.OwnSecrets(path, "The secret that clients register with at this dhtprom scraper.")
	return secrets, path, inStorage(path, made, err, log)
}

// inStorage reports what came of a file of the storage path that is made at the first start.
func inStorage(path string, made bool, err error, log *slog.Logger) error {
	if err != nil {
		return fmt.Errorf("--storage.path: %w", err)
	}
	if made {
		log.Info("Created file", "path", path)
	}
	warnExposed(path, log)
	return nil
}

func warnExposed(path string, log *slog.Logger) {
	if keyfile.Exposed(path) {
		log.Warn("Secret file is readable by other users; run chmod 600 on it", "path", path)
	}
}

// greet prints how to register a client.
func (id identity) greet(w io.Writer, cfg runConfig) {
	if len(id.secrets) == 0 {
		_, _ = fmt.Fprintf(w, "Scraper %s\nA client registers with the output of `dhtprom-scraper invite --identity=NAME`.\n\n", id.keys.Public)
		return
	}
	_, _ = fmt.Fprintf(w, "Scraper %s\nA client registers with a copy of the secret:\n\n  %s\n\nor with the output of `dhtprom-scraper invite%s`, which is all of this in one string.\n\n",
		id.keys.Public, id.clientCommand(cfg, id.secretAt), inviteFlags(cfg))
}

// clientCommand returns the command that starts a client, with the secret in a file.
func (id identity) clientCommand(cfg runConfig, secretFile string) string {
	at := domain.Reference{Key: id.keys.Public, Addr: cfg.node.PublicAddress}
	command := fmt.Sprintf("dhtprom-client --scraper=%s --secret-file=%s --alias=NAME --service=NAME", at, secretFile)
	for _, b := range cfg.node.Bootstrap {
		command += " --dht.bootstrap=" + b
	}
	for _, r := range cfg.node.Relays {
		command += " --dht.relay=" + r.String()
	}
	return command
}

// inviteFlags are flags of invite that clients of a scraper need.
func inviteFlags(cfg runConfig) string {
	if cfg.node.PublicAddress.IsZero() {
		return ""
	}
	return " --dht.public-address=" + cfg.node.PublicAddress.String()
}
