package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/domain"
)

// This file parses a file of identities. Its errors have the line and the expected content, and never a value or an unknown field: each could
// be a secret in the wrong place. So the YAML package parses the syntax only.

// field parses the value of a field.
type field func(value *yaml.Node) error

// parseIdentities parses and checks the content of a file of identities. All fields but shared_secret, id, aliases and labels must be there, and
// none may be empty, so that a file that is incomplete is not taken for one with fewer identities or with fewer limits.
func parseIdentities(content []byte) (set identitySet, err error) {
	root, err := parseYAML(content)
	if err != nil {
		return set, err
	}
	err = fields(root, map[string]field{"shared_secret": set.parseShared, "identities": set.parseList})
	if err == nil && set.Identities == nil {
		err = errors.New("the field identities is missing: want a list, [] for none")
	}
	if err != nil {
		return set, err
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

// parseYAML returns the only document of a file.
func parseYAML(content []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	switch err := dec.Decode(&document); {
	case errors.Is(err, io.EOF): // without this, all identities would be revoked
		return nil, errors.New("the file is empty: want the field identities, [] for none, or no file")
	case err != nil:
		return nil, syntaxError(err)
	}
	switch err := dec.Decode(new(yaml.Node)); {
	case err == nil:
		return nil, errors.New("there is more than one document")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	return document.Content[0], nil
}

// syntax matches the errors of the YAML scanner, which have no content of the file.
var syntax = regexp.MustCompile(`^yaml: (line \d+: )?(did not find|could not find|found|mapping values are|block \w+ entries are|control characters are)( [a-zA-Z,'":#-]+)*$`)

// syntaxError returns an error of the YAML package, without content of the file.
func syntaxError(err error) error {
	if syntax.MatchString(err.Error()) {
		return err
	}
	return errors.New("not valid YAML")
}

// at returns an error about a line.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...)
}

// fields parses a mapping.
func fields(n *yaml.Node, known map[string]field) error {
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	if n.Kind != yaml.MappingNode {
		return at(n, "want the fields %s", names)
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		parse := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || parse == nil:
			return at(key, "unknown field, want one of %s", names)
		case seen[key.Value]:
			return at(key, "%s is set twice", key.Value)
		}
		seen[key.Value] = true
		if err := parse(n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// list parses the items of a list.
func list(n *yaml.Node, want string, item field) error {
	if n.Kind != yaml.SequenceNode {
		return at(n, "%s", want)
	}
	for _, v := range n.Content {
		if err := item(v); err != nil {
			return err
		}
	}
	return nil
}

// isText reports whether a value is a scalar that is not null.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" }

// isSecret reports whether a value that is not to be one is.
func isSecret(text string) bool {
	_, err := domain.ParseSecret(text)
	return err == nil
}

func (s *identitySet) parseShared(n *yaml.Node) error {
	valid := n.Value == "true"
	if n.Kind != yaml.ScalarNode || !valid && n.Value != "false" {
		return at(n, "shared_secret: want true or false")
	}
	s.Shared = &valid
	return nil
}

func (s *identitySet) parseList(n *yaml.Node) error {
	s.Identities = []identityEntry{}
	return list(n, "identities: want a list, [] for none", func(v *yaml.Node) error {
		var e identityEntry
		err := fields(v, map[string]field{
			"name": e.parseName, "id": e.parseID, "secrets": e.parseSecrets, "aliases": e.parseAliases, "labels": e.parseLabels,
		})
		s.Identities = append(s.Identities, e)
		return err
	})
}

func (e *identityEntry) parseName(n *yaml.Node) error {
	if !isText(n) || domain.CheckIdentityName(n.Value) != nil {
		return at(n, "name: want 1 to %d letters, digits, dots, hyphens and underscores of ASCII, neither a secret nor %s", domain.MaxIdentityName, sharedIdentity)
	}
	e.Name = n.Value
	return nil
}

func (e *identityEntry) parseID(n *yaml.Node) error {
	if !isText(n) || e.ID.UnmarshalText([]byte(n.Value)) != nil {
		return at(n, "id: want 16 hexadecimal digits")
	}
	return nil
}

func (e *identityEntry) parseSecrets(n *yaml.Node) error {
	return list(n, "secrets: want a list", func(v *yaml.Node) error {
		secret, err := domain.ParseSecret(v.Value)
		if v.Kind != yaml.ScalarNode || err != nil || secret.IsZero() {
			return at(v, "not a secret: want 32 bytes as 64 hex digits or 52 z32 characters")
		}
		e.Secrets = append(e.Secrets, secret)
		return nil
	})
}

// parseAliases accepts no empty list: it would allow all.
func (e *identityEntry) parseAliases(n *yaml.Node) error {
	const want = "aliases: want a list of patterns, not empty; without the field, all aliases are allowed"
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return at(n, want)
	}
	return list(n, want, func(v *yaml.Node) error {
		pattern, err := domain.ParseAliasPattern(v.Value)
		switch {
		case !isText(v):
			return at(v, want)
		case isSecret(v.Value):
			return at(v, "aliases: the pattern is a secret")
		case err != nil:
			return at(v, "%w", err) // quotes nothing
		}
		e.Aliases = append(e.Aliases, pattern)
		return nil
	})
}

// shownLabel bounds the names of labels that errors have: no secret is as short.
const shownLabel = 24

func (e *identityEntry) parseLabels(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "labels: want NAME: VALUE")
	}
	e.Labels = map[string]string{}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		_, twice := e.Labels[name.Value]
		switch {
		case !isText(name) || !isText(value):
			return at(name, "labels: want NAME: VALUE")
		case isSecret(name.Value) || isSecret(value.Value):
			return at(name, "labels: the name or the value of a label is a secret")
		case domain.CheckLabel(name.Value, "") != nil && len(name.Value) > shownLabel:
			return at(name, "labels: the name of a label is not valid")
		case domain.CheckLabel(name.Value, "") != nil:
			return at(name, "%w", domain.CheckLabel(name.Value, ""))
		case domain.CheckLabel(name.Value, value.Value) != nil:
			return at(value, "labels: the value of a label is not valid")
		case twice:
			return at(name, "labels: a name is set twice")
		}
		e.Labels[name.Value] = value.Value
	}
	return nil
}
