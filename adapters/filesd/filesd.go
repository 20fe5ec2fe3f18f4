// Package filesd reads the targets of a site from files in the format of Prometheus's file service discovery, JSON or YAML, so that
// files which were written for Prometheus serve a client:
//
//   - targets: [db1:9187, db2:9187]
//     labels: {__metrics_path__: /probe, __param_module: fast, rack: "7"}
//
// Each string of targets is a HOST:PORT. Of the labels,
//
//   - __scheme__ is http or https, and http without the label; __metrics_path__ is the path, and /metrics without it;
//     __param_NAME is the parameter NAME of the query;
//   - __dhtprom_alias__ is the alias of the target, and CLIENT/HOST:PORT without it, with the name of the client, its host name;
//   - instance becomes the instance of the target, and is HOST:PORT without it;
//   - all others are labels of the target, as package domain allows them.
//
// A Watcher reads the files again when something changes in their directories, and at an interval, as a mounted volume may
// be changed without a notification. A file with a fault counts as unchanged until it is repaired.
package filesd

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
)

const (
	// maxTargets bounds the targets of all files together, the number that a scraper accepts behind one client.
	maxTargets = 5000

	// maxFile bounds the size of a file in bytes: maxTargets targets with 3 KB each fit.
	maxFile = 16 << 20

	// maxPairs bounds the labels of a group in a file: those of a target, and parameters beside them.
	maxPairs = 64
)

// Target is a target of the site.
type Target struct {
	Alias    domain.Alias
	URL      *url.URL // must not be changed
	Instance string
	Labels   domain.Labels
	Place    string // in the files, for messages: "site.yml:12 (group 2, target 1)"
}

// same reports whether two targets differ in their places at most.
func (t Target) same(other Target) bool {
	return t.Alias == other.Alias && *t.URL == *other.URL && t.Instance == other.Instance && t.Labels == other.Labels
}

// Set is all targets of a site, in the order of the files' names and of the targets in a file. No alias is in it twice.
type Set []Target

// FileError is the fault of a file, or of a directory with files.
type FileError struct {
	Path string
	Line int // from 1; 0 for the file as a whole
	Err  error
}

// Error returns the place and the fault.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns the fault.
func (e *FileError) Unwrap() error { return e.Err }

// Parse returns the targets in a file's content. The end of the path decides on JSON or YAML. Its errors are of type *FileError.
func Parse(path string, content []byte, client string) ([]Target, error) {
	decode := decodeYAML
	if isJSON(path) {
		decode = decodeJSON
	}
	groups, fault := decode(content)
	if fault == nil {
		var targets []Target
		if targets, fault = build(groups, path, client); fault == nil {
			return targets, nil
		}
	}
	return nil, &FileError{Path: path, Line: fault.line, Err: fault.err}
}

// isJSON reports whether a file has the name of a JSON file, which is what Prometheus goes by.
func isJSON(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".json") }

// fault is an error on a line of a file.
type fault struct {
	line int
	err  error
}

func faultf(line int, format string, args ...any) *fault {
	return &fault{line, fmt.Errorf(format, args...)}
}

// group is a group of targets as it is in a file.
type group struct {
	line    int
	targets []scalar
	labels  []pair
}

// scalar is a string in a file.
type scalar struct {
	text string
	line int
}

// pair is a label in a file.
type pair struct {
	name, value string
	line        int
}

// Labels of a group with a meaning of their own.
const (
	labelAddress  = "__address__"
	labelScheme   = "__scheme__"
	labelPath     = "__metrics_path__"
	labelParam    = "__param_"
	labelAlias    = "__dhtprom_alias__"
	labelInstance = "instance"
)

// shared has the properties of all targets of a group.
type shared struct {
	scheme, path, alias, instance string
	query                         url.Values
	labels                        domain.Labels
}

// build makes targets of the groups in a file.
func build(groups []group, path, client string) (targets []Target, f *fault) {
	seen := map[domain.Alias]int{}
	for i, g := range groups {
		if len(g.targets) == 0 {
			continue
		}
		common, f := g.shared()
		if f != nil {
			return nil, &fault{f.line, fmt.Errorf("group %d: %w", i+1, f.err)}
		}
		for j, address := range g.targets {
			t, err := common.target(address.text, client)
			if err != nil {
				return nil, faultf(address.line, "group %d, target %d: %w", i+1, j+1, err)
			}
			t.Place = fmt.Sprintf("%s:%d (group %d, target %d)", path, address.line, i+1, j+1)
			if k, ok := seen[t.Alias]; ok {
				return nil, &fault{address.line, duplicate(targets[k], t)}
			}
			seen[t.Alias] = len(targets)
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// duplicate is the error for two targets with the same alias.
func duplicate(first, second Target) error {
	return fmt.Errorf("alias %q is the one of two targets, at %s and at %s: want another address, or a label %s for one of them", first.Alias, first.Place, second.Place, labelAlias)
}

var errTooMany = fmt.Errorf("more than %d targets, the most of one client", maxTargets)

func (g group) shared() (s shared, f *fault) {
	s = shared{scheme: "http", path: "/metrics", query: url.Values{}}
	own := map[string]string{}
	for _, p := range g.labels {
		if err := s.set(p, own); err != nil {
			return s, &fault{p.line, err}
		}
	}
	var err error
	if s.labels, err = domain.ParseLabels(own); err != nil {
		return s, &fault{g.line, err}
	}
	return s, nil
}

// set applies a label of the group. A label of the targets goes into own.
func (s *shared) set(p pair, own map[string]string) error {
	if len(p.value) > domain.MaxLabelValue {
		return fmt.Errorf("label %s is %d bytes long, want at most %d", clip(p.name), len(p.value), domain.MaxLabelValue)
	}
	param, isParam := strings.CutPrefix(p.name, labelParam)
	switch {
	case p.name == labelAddress:
		return fmt.Errorf("label %s comes from targets and cannot be set", labelAddress)
	case p.value == "": // the same as none
	case p.name == labelScheme:
		s.scheme = p.value
		if p.value != "http" && p.value != "https" {
			return fmt.Errorf("label %s: %q, want http or https", labelScheme, clip(p.value))
		}
	case p.name == labelPath:
		s.path = "/" + strings.TrimPrefix(p.value, "/")
	case isParam && param != "":
		s.query.Set(param, p.value)
	case p.name == labelAlias:
		s.alias = p.value
	case p.name == labelInstance:
		s.instance = p.value
		return domain.CheckInstanceLabel(p.value)
	default:
		own[p.name] = p.value
		return domain.CheckLabel(p.name, p.value)
	}
	return nil
}

// target returns the target of an address.
func (s *shared) target(address, client string) (t Target, err error) {
	u := &url.URL{Scheme: s.scheme, Host: address, Path: s.path, RawQuery: s.query.Encode()}
	if err := checkAddress(address); err != nil {
		return t, err
	}
	t = Target{URL: u, Instance: s.instance, Labels: s.labels}
	if t.Instance == "" {
		t.Instance = address
	}
	name := s.alias
	if name == "" {
		name = client + "/" + address
	}
	if t.Alias, err = domain.ParseAlias(name); err != nil {
		return t, fmt.Errorf("%w; the label %s sets another", err, labelAlias)
	}
	return t, nil
}

// longestAddress is the length of the longest DNS name with a port.
const longestAddress = domain.MaxHostname + len(":65535")

// checkAddress checks that a string is a host, and a port where there is one.
func checkAddress(text string) error {
	u, err := url.Parse("http://" + text)
	ok := err == nil && len(text) <= longestAddress && u.Host == text && u.User == nil && u.Hostname() != "" && !strings.HasSuffix(text, ":")
	if ok && u.Port() != "" {
		_, err = strconv.ParseUint(u.Port(), 10, 16)
		ok = err == nil
	}
	if !ok || strings.Contains(u.Hostname(), ":") && text[0] != '[' {
		return fmt.Errorf("%q, want HOST:PORT; scheme, path and query are labels", clip(text))
	}
	return nil
}

// clip shortens a text from a file for a message.
func clip(text string) string {
	const shown = 80
	if len(text) <= shown {
		return text
	}
	return strings.ToValidUTF8(text[:shown], "")
}
