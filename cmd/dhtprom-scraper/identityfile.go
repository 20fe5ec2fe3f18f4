package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/domain"
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

	content []byte // of the file
}

// identityEntry is an identity in the file.
type identityEntry struct {
	Name    string                `yaml:"name"`
	Secrets secretList            `yaml:"secrets"`
	Aliases []domain.AliasPattern `yaml:"aliases,omitempty"`
	Labels  map[string]string     `yaml:"labels,omitempty"`
}

// secretList is a list of secrets in YAML. Its errors do not quote them.
type secretList []domain.Secret

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *secretList) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: secrets: want a list", node.Line)
	}
	for _, n := range node.Content {
		s, err := domain.ParseSecret(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || s.IsZero() {
			return fmt.Errorf("line %d: not a secret: want 32 bytes as 64 hex digits or 52 z32 characters", n.Line)
		}
		*l = append(*l, s)
	}
	return nil
}

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
	content, err := keyfile.Read(path, identitiesSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return set, nil
	case err == nil:
		warnExposed(path, log)
		set, err = parseIdentities(content)
		set.content = content
	}
	if err != nil {
		return set, fmt.Errorf("identities in %s: %w", path, err)
	}
	return set, nil
}

// parseIdentities parses and checks the content of a file of identities.
func parseIdentities(content []byte) (set identitySet, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	switch err := dec.Decode(&set); {
	case errors.Is(err, io.EOF): // without this, all identities would be revoked
		return set, errors.New("the file is empty: want the field identities, or no file")
	case err != nil:
		return set, unquoted(err)
	case !errors.Is(dec.Decode(new(yaml.Node)), io.EOF):
		return set, errors.New("there is more than one document")
	}
	named, err := set.named()
	if err == nil {
		_, err = domain.NewIdentities(nil, named)
	}
	if err == nil && len(named) == 0 && !set.shared() {
		err = errors.New("shared_secret: no identity is left that could register")
	}
	return set, err
}

// unquoted returns an error of the YAML decoder without the content that it quotes, which may be a secret.
func unquoted(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var lines []string
	for _, e := range wrong.Errors {
		before, _, quotes := strings.Cut(e, " `")
		if quotes {
			before += " that value"
		}
		lines = append(lines, before)
	}
	return errors.New(strings.Join(lines, "; "))
}

func (s *identitySet) shared() bool { return s.Shared == nil || *s.Shared }

// named returns the identities.
func (s *identitySet) named() (all []domain.Identity, err error) {
	for _, e := range s.Identities {
		labels, err := domain.ParseLabels(e.Labels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		all = append(all, domain.Identity{Name: e.Name, Secrets: e.Secrets, Aliases: e.Aliases, Labels: labels})
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
	err := keyfile.Replace(filepath.Join(storage, identitiesFile), text.String(), identitiesSize, func(old []byte) bool {
		changed = !bytes.Equal(old, s.content)
		return !changed
	})
	if changed {
		return fmt.Errorf("another command has changed %s meanwhile: try again", identitiesFile)
	}
	return err
}
