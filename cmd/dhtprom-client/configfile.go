package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/adapters/filesd"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/adapters/source/families"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/turnflags"
	"github.com/dhtprom/dhtprom/domain"
)

// maxConfigFile bounds the configuration file, in bytes: 5,000 targets with 800 each fit.
const maxConfigFile = 4 << 20

// fileConfig is the content of the --config.file. Its fields are named as in Prometheus's configuration.
type fileConfig struct {
	scrapers []fileScraper
	targets  []target
	labels   map[string]string
	fileSD   []fileSD
	turn     *turnflags.File // nil without
}

// fileScraper is a scraper of the file: a key with a secret file, or an invite file.
type fileScraper struct {
	where      string
	key        domain.Reference
	secretFile string
	inviteFile string
}

// readConfigFile reads and checks a file. Errors have the form FILE:LINE: FIELD: problem; all of them are returned.
func readConfigFile(path string) (fileConfig, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileConfig{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return fileConfig{}, err
	}
	if len(b) > maxConfigFile {
		return fileConfig{}, fmt.Errorf("%s is larger than %d bytes", path, maxConfigFile)
	}
	return parseConfigFile(path, b)
}

func parseConfigFile(path string, b []byte) (fileConfig, error) {
	r := &fileReader{path: path, types: map[reflect.Type]map[string]reflect.Type{}}
	in := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return fileConfig{}, fmt.Errorf("%s:1: the file is empty, want targets", path)
	case err != nil:
		return fileConfig{}, r.syntax(err)
	}
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return fileConfig{}, fmt.Errorf("%s:%d: want one YAML document, found another", path, max(more.Line, 1))
	}
	var c fileConfig
	targets := newTargetReader(r)
	r.mapping(doc.Content[0], "", map[string]func(*yaml.Node, string){
		"scrapers": func(n *yaml.Node, field string) {
			r.sequence(n, field, func(n *yaml.Node, field string) { c.scrapers = append(c.scrapers, r.scraper(n, field)) })
		},
		"targets": func(n *yaml.Node, field string) {
			r.sequence(n, field, func(n *yaml.Node, field string) { c.targets = append(c.targets, targets.read(n, field)) })
		},
		"turn":   func(n *yaml.Node, field string) { c.turn = r.turn(n, field) },
		"labels": func(n *yaml.Node, field string) { c.labels = r.labels(n, field) },
		"file_sd_configs": func(n *yaml.Node, field string) {
			r.sequence(n, field, func(n *yaml.Node, field string) { c.fileSD = append(c.fileSD, targets.fileSD(n, field)) })
		},
	})
	first := map[domain.Alias]int{}
	for _, t := range c.targets {
		line, twice := first[t.alias]
		if twice && t.alias != "" {
			r.errs = append(r.errs, fmt.Errorf("%s: alias: duplicate %q, first in line %d", t.where, t.alias, line))
			continue
		}
		first[t.alias] = t.line
	}
	return c, errors.Join(r.errs...)
}

// fileReader walks over a file and collects its errors.
type fileReader struct {
	path string
	errs []error

	types map[reflect.Type]map[string]reflect.Type // their fields
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax moves the parser's line number to the front, as in the other errors.
func (r *fileReader) syntax(err error) error {
	text, line := err.Error(), "1"
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[1] != "" {
			line = m[1]
		}
	}
	return fmt.Errorf("%s:%s: %s", r.path, line, text)
}

func (r *fileReader) fail(n *yaml.Node, field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", r.where(n, field), fmt.Sprintf(format, args...)))
}

func (r *fileReader) where(n *yaml.Node, field string) string {
	if field != "" {
		field = ": " + field
	}
	return fmt.Sprintf("%s:%d%s", r.path, n.Line, field)
}

// resolved follows a YAML alias to its anchor.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return "one value"
	}
}

// mapping passes each field of a mapping to its reader.
func (r *fileReader) mapping(n *yaml.Node, field string, known map[string]func(*yaml.Node, string)) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, field, "want a mapping with some of %s; got %s", names(known), kind(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		inner := name
		if field != "" {
			inner = field + "." + name
		}
		read := known[name]
		switch {
		case read == nil:
			r.fail(key, field, "unknown field %q, want some of %s", name, names(known))
		case seen[name]:
			r.fail(key, inner, "duplicate field")
		default:
			seen[name] = true
			read(value, inner)
		}
	}
}

func names(known map[string]func(*yaml.Node, string)) string {
	all := make([]string, 0, len(known))
	for name := range known {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *fileReader) sequence(n *yaml.Node, field string, each func(*yaml.Node, string)) {
	n = resolved(n)
	if n.Kind != yaml.SequenceNode {
		r.fail(n, field, "want a list, got %s", kind(n))
		return
	}
	for i, e := range n.Content {
		each(e, fmt.Sprintf("%s[%d]", field, i))
	}
}

// read reads one value. The parser's errors quote no value that may be a secret.
func read[T any](r *fileReader, into *T, parse func(string) (T, error)) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		n = resolved(n)
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.fail(n, field, "want one value, got %s", kind(n))
			return
		}
		v, err := parse(n.Value)
		if err != nil {
			r.fail(n, field, "%s", err)
			return
		}
		*into = v
	}
}

// list reads a list of values.
func list[T any](r *fileReader, into *[]T, parse func(string) (T, error)) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		r.sequence(n, field, func(n *yaml.Node, field string) {
			before := len(r.errs)
			var v T
			if read(r, &v, parse)(n, field); len(r.errs) == before {
				*into = append(*into, v)
			}
		})
	}
}

// file reads a file name, relative to the configuration file's folder.
func (r *fileReader) file(into *string) func(*yaml.Node, string) {
	return read(r, into, func(s string) (string, error) {
		if s == "" {
			return "", errors.New("want a file name")
		}
		if !filepath.IsAbs(s) {
			s = filepath.Join(filepath.Dir(r.path), s)
		}
		return s, nil
	})
}

func (r *fileReader) scraper(n *yaml.Node, field string) fileScraper {
	s := fileScraper{where: r.where(n, field)}
	before := len(r.errs)
	r.mapping(n, field, map[string]func(*yaml.Node, string){
		"key":         read(r, &s.key, parseKey),
		"secret_file": r.file(&s.secretFile),
		"invite_file": r.file(&s.inviteFile),
	})
	byKey := !s.key.Key.IsZero() && s.secretFile != ""
	byInvite := s.key.Key.IsZero() && s.secretFile == ""
	if len(r.errs) == before && (s.inviteFile == "" && !byKey || s.inviteFile != "" && !byInvite) {
		r.fail(n, field, "want key and secret_file, or invite_file")
	}
	return s
}

func (r *fileReader) turn(n *yaml.Node, field string) *turnflags.File {
	t := &turnflags.File{}
	before := len(r.errs)
	r.mapping(n, field, map[string]func(*yaml.Node, string){
		"mode":             read(r, &t.Mode, turnflags.CheckMode),
		"servers":          list(r, &t.Servers, turnflags.Server),
		"credentials_file": r.file(&t.Credentials),
		"proxy":            read(r, &t.Proxy, turnflags.CheckProxy),
		"ca_file":          r.file(&t.CA),
	})
	if len(r.errs) == before && (len(t.Servers) > 0) != (t.Credentials != "") {
		r.fail(n, field, "want servers and credentials_file together")
	}
	return t
}

// targetReader reads targets, one after the other.
type targetReader struct {
	r      *fileReader
	known  map[string]func(*yaml.Node, string) // read a field into the next three
	target target
	http   exporter.Config
	client *clientFields
	all    map[*yaml.Node]target // by their mappings, which several YAML aliases may share
}

func newTargetReader(r *fileReader) *targetReader {
	t := &targetReader{r: r, all: map[*yaml.Node]target{}}
	h := &t.http
	t.known = map[string]func(*yaml.Node, string){
		"alias":           read(r, &t.target.alias, domain.ParseAlias),
		"service":         read(r, &t.target.service, cli.Checked(domain.CheckService)),
		"hostname":        read(r, &t.target.hostname, cli.Checked(domain.CheckHostname)),
		"url":             read(r, &h.Target, exporter.ParseTarget),
		"unix_socket":     r.file(&h.Socket),
		"timeout":         read(r, &h.Timeout, parseTimeout),
		"body_size_limit": read(r, &h.MaxBytes, parseSize),
		"check":           read(r, &h.Check, parseBool),
		"allow_params":    list(r, &h.AllowParams, parseParam),
		"keep":            list(r, &h.Families.Keep, families.Compile),
		"drop":            list(r, &h.Families.Drop, families.Compile),
		"headers":         func(n *yaml.Node, field string) { r.headers(n, field, h.Header) },
		"instance":        read(r, &t.target.instance, cli.Checked(domain.CheckInstanceLabel)),
		"labels":          func(n *yaml.Node, field string) { t.target.labels = r.labels(n, field) },

		"allow_headers":       list(r, &t.target.allowHeaders, parseField),
		"allow_authorization": read(r, &t.target.allowAuthorization, parseBool),
	}
	t.client = newClientFields(r, t.known)
	return t
}

// read reads a target. A mapping that several YAML aliases share is read, and its errors are reported, once.
func (t *targetReader) read(n *yaml.Node, field string) target {
	got, again := t.all[resolved(n)]
	if !again {
		got = t.parse(n, field)
		t.all[resolved(n)] = got
	}
	got.where, got.line = t.r.where(n, field), n.Line
	return got
}

func (t *targetReader) parse(n *yaml.Node, field string) target {
	before := len(t.r.errs)
	t.target, t.http = target{named: true}, exporter.Config{Header: http.Header{}}
	t.client.reset()
	t.r.mapping(n, field, t.known)
	got := t.target
	if len(t.r.errs) > before {
		return got
	}
	t.http.Client = t.client.decode(n, field)
	h := t.http
	got.http = &h
	switch {
	case got.alias == "":
		t.r.fail(n, field+".alias", "missing")
	case h.URL == nil:
		t.r.fail(n, field+".url", "missing")
	}
	return got
}

// fileSD reads one of the file_sd_configs: the fields of Prometheus's, and those of a target that apply to all targets of the files.
func (t *targetReader) fileSD(n *yaml.Node, field string) fileSD {
	r, before := t.r, len(t.r.errs)
	sd := fileSD{where: r.where(n, field)}
	known := map[string]func(*yaml.Node, string){
		"files":            list(r, &sd.files, r.glob),
		"refresh_interval": read(r, &sd.every, cli.Duration(time.Second)),
	}
	for name, f := range t.known {
		if !slices.Contains([]string{"alias", "url", "unix_socket", "instance"}, name) {
			known[name] = f
		}
	}
	t.target, t.http = target{named: true, where: sd.where}, exporter.Config{Header: http.Header{}}
	t.client.reset()
	r.mapping(n, field, known)
	sd.all = t.target
	if len(r.errs) > before {
		return sd
	}
	t.http.Client = t.client.decode(n, field)
	h := t.http
	sd.all.http = &h
	if len(sd.files) == 0 {
		r.fail(n, field+".files", "missing")
	}
	return sd
}

// glob reads the name of files with targets, relative to the configuration file's folder.
func (r *fileReader) glob(s string) (string, error) {
	if !filepath.IsAbs(s) {
		s = filepath.Join(filepath.Dir(r.path), s)
	}
	return s, filesd.CheckGlob(s)
}

// labels reads labels, each of which is checked at its line.
func (r *fileReader) labels(n *yaml.Node, field string) map[string]string {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, field, "want a mapping of names to values, got %s", kind(n))
		return nil
	}
	all := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolved(n.Content[i+1])
		_, twice := all[name.Value]
		switch err := domain.CheckLabel(name.Value, value.Value); {
		case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
			r.fail(value, field, "%s: want one value, got %s", strconv.Quote(name.Value), kind(value))
		case err != nil:
			r.fail(name, field, "%s", err)
		case twice:
			r.fail(name, field, "duplicate name %s", name.Value)
		default:
			all[name.Value] = value.Value
		}
	}
	if _, err := domain.ParseLabels(all); err != nil {
		r.fail(n, field, "%s", err)
	}
	return all
}

func parseField(s string) (string, error) {
	_, err := domain.ParseFields([]string{s})
	if err == nil && strings.EqualFold(s, "Authorization") {
		err = errors.New("want allow_authorization: true for the field Authorization")
	}
	return s, err
}

func (r *fileReader) headers(n *yaml.Node, field string, into http.Header) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, field, "want a mapping of names to values, got %s", kind(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolved(n.Content[i+1])
		switch err := exporter.CheckHeader(name.Value, value.Value); {
		case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
			r.fail(value, field, "%s: want one value, got %s", strconv.Quote(name.Value), kind(value))
		case err != nil:
			r.fail(name, field, "%s", err)
		case into.Get(name.Value) != "":
			r.fail(name, field, "duplicate name %s", name.Value)
		default:
			into.Set(name.Value, value.Value)
		}
	}
}

func parseParam(s string) (string, error) {
	if s == "" {
		return "", errors.New("want the name of a parameter, such as target")
	}
	return s, nil
}

func parseTimeout(s string) (time.Duration, error) {
	d, err := cli.Duration(time.Millisecond)(s)
	if err == nil && d > time.Hour {
		err = fmt.Errorf("want at most 1h, got %s", s)
	}
	return d, err
}

// parseSize reads a size as Prometheus does: KB, MB and GB are powers of 1024, and so are KiB, MiB and GiB.
func parseSize(s string) (int, error) {
	n, err := units.ParseBase2Bytes(s)
	if plain, bad := strconv.Atoi(s); bad == nil {
		n, err = units.Base2Bytes(plain), nil
	}
	if err != nil || n < 1 {
		return 0, fmt.Errorf("want a size like 4MB, got %q", s)
	}
	if n > exporter.MaxPage {
		return 0, fmt.Errorf("want at most %d bytes, got %s", exporter.MaxPage, s)
	}
	return int(n), nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, got %q", s)
}
