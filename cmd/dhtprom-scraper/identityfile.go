package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
)

const (
	// identitiesFile is the file of identities in the storage path.
	identitiesFile = "identities.yml"
	// identitiesSize bounds it: 4,096 identities with a few patterns each.
	identitiesSize = 4 << 20
)

// identitiesHead is the comment of a new file.
const identitiesHead = `# The identities of this dhtprom scraper, with their secrets: keep it secret. The identity commands write it; it may be edited, too.
`

// identitySet is the content of the file.
type identitySet struct {
	// Shared makes the secrets that are of no identity valid, too; nil does.
	Shared     *bool           `yaml:"shared_secret,omitempty"`
	Identities []identityEntry `yaml:"identities"`

	found   bool   // the file exists
	content []byte // of the file
}

// identityEntry is an identity in the file. The secrets are the last, so that the first part of a file that is being written has no identity
// without its patterns.
type identityEntry struct {
	Name    string                `yaml:"name"`
	ID      domain.IdentityID     `yaml:"id,omitempty"`
	Aliases []domain.AliasPattern `yaml:"aliases,omitempty"`
	Labels  map[string]string     `yaml:"labels,omitempty"`
	Secrets secretList            `yaml:"secrets"`
}

// secretList is a list of secrets in YAML.
type secretList []domain.Secret

// MarshalYAML implements yaml.Marshaler.
func (l secretList) MarshalYAML() (any, error) {
	texts := make([]string, len(l))
	for i, s := range l {
		texts[i] = s.RevealText()
	}
	return texts, nil
}

// readIdentities reads the file of identities in a storage path. There are none if it does not exist.
func readIdentities(storage string, log *slog.Logger) (set identitySet, err error) {
	path := filepath.Join(storage, identitiesFile)
	content, err := privatefile.Read(path, identitiesSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return set, nil
	case err == nil:
		warnExposed(path, log)
		set, err = parseIdentities(content)
		set.found, set.content = true, content
	}
	if err != nil {
		return set, fmt.Errorf("identities in %s: %w", path, err)
	}
	return set, nil
}

func (s *identitySet) shared() bool { return s.Shared == nil || *s.Shared }

// named returns the identities.
func (s *identitySet) named() (all []domain.Identity, err error) {
	for _, e := range s.Identities {
		labels, err := domain.ParseLabels(e.Labels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		all = append(all, domain.Identity{Name: e.Name, ID: e.ID, Secrets: e.Secrets, Aliases: e.Aliases, Labels: labels})
	}
	return all, nil
}

func (s *identitySet) index(name string) int {
	return slices.IndexFunc(s.Identities, func(e identityEntry) bool { return e.Name == name })
}

// write writes the file, readable by its owner only.
func (s *identitySet) write(storage string) error {
	text := bytes.NewBufferString(identitiesHead)
	enc := yaml.NewEncoder(text)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(s), enc.Close()); err != nil {
		return err
	}
	if _, err := parseIdentities(text.Bytes()); err != nil {
		return err
	}
	changed := false
	file := privatefile.Content{Text: text.String(), Limit: identitiesSize, OwnedAsFolder: true}
	err := privatefile.Replace(filepath.Join(storage, identitiesFile), file, func(old []byte) bool {
		old, err := privatefile.UTF8(old)
		changed = err != nil || !bytes.Equal(old, s.content)
		return !changed
	})
	if changed {
		return fmt.Errorf("another command has changed %s meanwhile: try again", identitiesFile)
	}
	return err
}
