package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// clientFields are the fields of a target that configure its HTTP client, with the names and types of config.HTTPClientConfig. The types
// decode and validate them; before that, they are checked for unknown fields and values of the wrong kind, so that errors have a line, and
// quote no secret.
type clientFields struct {
	r     *fileReader
	nodes []*yaml.Node // names and values
	paths []string     // of the values
}

// newClientFields adds the readers of these fields to those of a target.
func newClientFields(r *fileReader, known map[string]func(*yaml.Node, string)) *clientFields {
	c := &clientFields{r: r}
	for name, typ := range r.fields(reflect.TypeFor[promconfig.HTTPClientConfig]()) {
		known[name] = func(n *yaml.Node, field string) {
			r.typed(n, field, typ)
			c.nodes = append(c.nodes, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, n)
			c.paths = append(c.paths, field)
		}
	}
	return c
}

// reset prepares for the next target.
func (c *clientFields) reset() { c.nodes, c.paths = nil, nil }

// decode returns the configuration of the target n. Unlike in a scrape_config, the default of follow_redirects and enable_http2 is false.
func (c *clientFields) decode(n *yaml.Node, field string) (client promconfig.HTTPClientConfig) {
	if len(c.nodes) == 0 {
		return client
	}
	err := decodeClient(c.nodes, &client)
	if err == nil {
		dir := filepath.Dir(c.r.path)
		client.SetDirectory(dir)
		if o := client.OAuth2; o != nil {
			o.ClientCertificateKeyFile = promconfig.JoinDir(dir, o.ClientCertificateKeyFile)
		}
		return client
	}
	// If one field alone has the same error, the error is at that field.
	for i, path := range c.paths {
		var alone promconfig.HTTPClientConfig
		if e := decodeClient(c.nodes[2*i:2*i+2], &alone); e != nil && e.Error() == err.Error() {
			n, field = c.nodes[2*i+1], path
			break
		}
	}
	c.r.fail(n, field, "%s", err)
	return client
}

func decodeClient(fields []*yaml.Node, into *promconfig.HTTPClientConfig) error {
	all := &yaml.Node{Kind: yaml.MappingNode, Content: append([]*yaml.Node(nil), fields...)}
	for _, name := range []string{"follow_redirects", "enable_http2"} {
		given := false
		for i := 0; i < len(fields); i += 2 {
			given = given || fields[i].Value == name
		}
		if !given {
			all.Content = append(all.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &yaml.Node{Kind: yaml.ScalarNode, Value: "false"})
		}
	}
	return decode(all, into)
}

// decode decodes a node whose values have been checked. The errors of the YAML package itself quote values, which may be secrets.
func decode(n *yaml.Node, into any) error {
	err := n.Decode(into)
	if err != nil && strings.HasPrefix(err.Error(), "yaml: ") {
		return errors.New("invalid value")
	}
	return err
}

// yamlFields returns the fields of a struct by their names in YAML. Those for a secret manager, *_ref, are left out: there is none.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || strings.HasSuffix(name, "_ref"):
		case options == "inline":
			for name, typ := range yamlFields(f.Type) {
				fields[name] = typ
			}
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

// fields returns yamlFields, once for each type.
func (r *fileReader) fields(t reflect.Type) map[string]reflect.Type {
	if r.types[t] == nil {
		r.types[t] = yamlFields(t)
	}
	return r.types[t]
}

// typed checks a value that will be decoded into a type: its kind and fields, and what its parts reject.
func (r *fileReader) typed(n *yaml.Node, field string, t reflect.Type) {
	n = resolved(n)
	before := len(r.errs)
	switch t = deref(t); {
	case t == reflect.TypeFor[promconfig.URL](), t.Kind() == reflect.Bool, t.Kind() == reflect.String, t.Kind() == reflect.Uint16:
		r.scalar(n, field, t)
		return
	case t == reflect.TypeFor[promconfig.Headers]():
		r.entries(n, field, reflect.TypeFor[promconfig.Header]())
	case t.Kind() == reflect.Map:
		r.entries(n, field, t.Elem())
	case t.Kind() == reflect.Slice:
		r.sequence(n, field, func(n *yaml.Node, field string) { r.typed(n, field, t.Elem()) })
	case t.Kind() == reflect.Struct:
		known := map[string]func(*yaml.Node, string){}
		for name, typ := range r.fields(t) {
			known[name] = func(n *yaml.Node, field string) { r.typed(n, field, typ) }
		}
		r.mapping(n, field, known)
		if empty := n.Kind == yaml.MappingNode && len(n.Content) == 0; empty && t == reflect.TypeFor[promconfig.BasicAuth]() {
			r.fail(n, field, "want username or username_file, and password or password_file")
		}
	}
	if len(r.errs) > before {
		return
	}
	if err := decode(n, reflect.New(t).Interface()); err != nil {
		r.fail(n, field, "%s", err)
	}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// entries checks a mapping with any names.
func (r *fileReader) entries(n *yaml.Node, field string, elem reflect.Type) {
	n = resolved(n)
	known := map[string]func(*yaml.Node, string){}
	if n.Kind != yaml.MappingNode {
		r.fail(n, field, "want a mapping of names to values, got %s", kind(n))
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		known[n.Content[i].Value] = func(n *yaml.Node, field string) { r.typed(n, field, elem) }
	}
	r.mapping(n, field, known)
}

// scalar checks one value.
func (r *fileReader) scalar(n *yaml.Node, field string, t reflect.Type) {
	read(r, new(string), func(s string) (string, error) {
		err := decode(n, reflect.New(t).Interface())
		switch {
		case s == "" && strings.HasSuffix(field, "_file"):
			return "", errors.New("want a file name")
		case err == nil:
			return "", nil
		case t.Kind() == reflect.Bool:
			return "", fmt.Errorf("want true or false, got %q", s)
		case t == reflect.TypeFor[promconfig.URL](): // the parser's error quotes the URL, which may have a password
			return "", errors.New("invalid URL: want something like http://localhost:3128")
		}
		return "", err
	})(n, field)
}
