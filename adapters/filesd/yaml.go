package filesd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// decodeYAML reads the groups of a YAML file, with anchors, aliases and merge keys. It takes what Prometheus takes, except that a
// merged mapping has no merge key itself, and that there is one document at most.
func decodeYAML(content []byte) ([]group, *fault) {
	in := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil
	case err != nil:
		return nil, yamlFault(err)
	}
	if err := in.Decode(&more); err == nil {
		return nil, faultf(more.Line, "a second document")
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlFault(err)
	}
	r := &yamlReader{}
	return r.groups(doc.Content[0]), r.fault
}

// yamlLine is the beginning of a syntax error of package yaml.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func yamlFault(err error) *fault {
	text := err.Error()
	found := yamlLine.FindStringSubmatch(text)
	if found == nil {
		return &fault{err: err}
	}
	line, _ := strconv.Atoi(found[1]) // 0 without one
	return faultf(line, "%s", text[len(found[0]):])
}

// yamlReader reads the nodes of a file. It keeps the first fault.
type yamlReader struct {
	targets int
	fault   *fault
}

func (r *yamlReader) fail(n *yaml.Node, format string, args ...any) {
	if r.fault == nil {
		r.fault = faultf(n.Line, format, args...)
	}
}

func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func nodeKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a scalar"
}

// is reports whether a node is of a kind, and false for null.
func (r *yamlReader) is(n *yaml.Node, kind yaml.Kind, what string) bool {
	if n.Kind == kind {
		return true
	}
	if !isNull(n) {
		r.fail(n, "%s: found %s, want %s", what, nodeKind(n), nodeKind(&yaml.Node{Kind: kind}))
	}
	return false
}

// text returns the text of a scalar, "" for null.
func (r *yamlReader) text(n *yaml.Node, what string) string {
	if n = resolved(n); !r.is(n, yaml.ScalarNode, what) || isNull(n) {
		return ""
	}
	return n.Value
}

func (r *yamlReader) groups(n *yaml.Node) (groups []group) {
	if n = resolved(n); !r.is(n, yaml.SequenceNode, "the file") {
		return nil
	}
	for _, n := range n.Content {
		if r.fault != nil {
			return nil
		}
		groups = append(groups, r.group(n, fmt.Sprintf("group %d", len(groups)+1)))
	}
	return groups
}

func (r *yamlReader) group(n *yaml.Node, what string) (g group) {
	g.line = n.Line
	fields := r.mapping(n, what)
	if isNull(resolved(n)) {
		r.fail(n, "%s: found null, want a mapping", what)
	}
	for _, f := range fields {
		switch f.key {
		case "targets":
			g.targets = r.list(f.value, what+": targets")
		case "labels":
			for _, l := range r.mapping(f.value, what+": labels") {
				g.labels = append(g.labels, pair{l.key, r.text(l.value, what+": labels: "+clip(l.key)), l.value.Line})
			}
		default:
			r.fail(f.value, "%s: unknown field %q, want targets or labels", what, clip(f.key))
		}
	}
	return g
}

func (r *yamlReader) list(n *yaml.Node, what string) (list []scalar) {
	if n = resolved(n); !r.is(n, yaml.SequenceNode, what) {
		return nil
	}
	for _, n := range n.Content {
		if r.targets++; r.targets > maxTargets {
			r.fail(n, "%w", errTooMany)
			return nil
		}
		list = append(list, scalar{r.text(n, what), n.Line})
	}
	return list
}

// entry is an entry of a mapping.
type entry struct {
	key   string
	value *yaml.Node
}

// mapping returns the entries of a mapping, with those that it merges; its own ones take precedence.
func (r *yamlReader) mapping(n *yaml.Node, what string) (entries []entry) {
	given := map[string]bool{}
	add := func(key string, value *yaml.Node) {
		if len(entries) == maxPairs {
			r.fail(value, "%s: more than %d", what, maxPairs)
			return
		}
		given[key] = true
		entries = append(entries, entry{key, value})
	}
	var merged []*yaml.Node
	r.eachEntry(n, what, func(key *yaml.Node, name string, value *yaml.Node) {
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, mergedInto(value)...)
		case given[name]:
			r.fail(key, "%s: %s is given twice", what, clip(name))
		default:
			add(name, value)
		}
	})
	for i, n := range merged {
		if i == maxPairs {
			r.fail(n, "%s: more than %d merged mappings", what, maxPairs)
		}
		r.eachEntry(n, what+": <<", func(key *yaml.Node, name string, value *yaml.Node) {
			if key.Tag == "!!merge" {
				r.fail(key, "%s: a merged mapping has a merge key itself", what)
			} else if !given[name] {
				add(name, value)
			}
		})
	}
	return entries
}

// mergedInto returns the mappings that the value of a merge key names.
func mergedInto(value *yaml.Node) []*yaml.Node {
	if n := resolved(value); n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{value}
}

// eachEntry calls f with the entries of a mapping until there is a fault.
func (r *yamlReader) eachEntry(n *yaml.Node, what string, f func(key *yaml.Node, name string, value *yaml.Node)) {
	if n = resolved(n); !r.is(n, yaml.MappingNode, what) {
		return
	}
	for i := 0; i+1 < len(n.Content) && r.fault == nil; i += 2 {
		key := n.Content[i]
		f(key, r.text(key, what), n.Content[i+1])
	}
}
