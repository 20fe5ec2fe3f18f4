package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/config"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

const (
	// apiTimeout bounds one request to a scraper.
	apiTimeout = 10 * time.Second
	// maxAnswer bounds the response's size: 10,000 aliases are a few megabytes.
	maxAnswer = 64 << 20
)

// aliasConfig has the values of the flags of the alias commands.
type aliasConfig struct {
	url     *url.URL // nil: that of the admin socket, or the default one
	storage string
	client  string // file
	format  string
	alias   string
	key     string
}

func (f *flags) addAlias() {
	c := f.app.Command("alias", "List, forget and pin the aliases of a running scraper.")
	c.Flag("url", "URL of the scraper's HTTP server, or unix:PATH. Default: the scraper's socket in the storage path, else http://"+defaultAddress+".").
		PlaceHolder("URL").SetValue(cli.Value("url", &f.alias.url, cli.ServerURL))
	c.Flag("storage.path", "Folder of the scraper, as for run, on the scraper's own machine. Its socket there, "+adminSocket+", needs no password and no --web.enable-lifecycle.").
		Default("dhtprom-data").StringVar(&f.alias.storage)
	c.Flag("http.config.file", "File with the password, certificates and TLS settings to use, in promtool's format.").
		PlaceHolder("FILE").StringVar(&f.alias.client)
	list := c.Command("list", "List the aliases and pins.")
	list.Flag("format", "One of: text, json.").Default("text").SetValue(cli.Value("format", &f.alias.format, func(s string) (string, error) {
		if s != "text" && s != "json" {
			return "", fmt.Errorf("want text or json, got %q", s)
		}
		return s, nil
	}))
	alias := func(c *kingpin.CmdClause) {
		c.Arg("alias", "The alias.").Required().SetValue(cli.Value("alias", &f.alias.alias, func(s string) (string, error) {
			_, err := domain.ParseAlias(s)
			return s, err
		}))
	}
	alias(c.Command("forget", "Remove an alias. A running client restores it with its next registration."))
	pin := c.Command("pin", "Pin an alias to a public key, so that no other key can register it.")
	alias(pin)
	pin.Arg("key", "The public key. Default: the alias's current one.").SetValue(cli.Value("key", &f.alias.key, func(s string) (string, error) {
		k, err := cli.Key(s)
		return k.String(), err
	}))
	alias(c.Command("unpin", "Remove a pin."))
}

// aliases runs one of the alias commands on a running scraper.
func aliases(ctx context.Context, command string, cfg aliasConfig, stdout io.Writer) error {
	api, err := newAPI(cfg)
	if err != nil {
		return err
	}
	at := "/" + domain.Alias(cfg.alias).PathForm()
	switch command {
	case "alias forget":
		err = api.do(ctx, http.MethodDelete, "aliases"+at, nil)
	case "alias pin":
		if cfg.key != "" {
			at += "?key=" + cfg.key
		}
		err = api.do(ctx, http.MethodPut, "pins"+at, nil)
	case "alias unpin":
		err = api.do(ctx, http.MethodDelete, "pins"+at, nil)
	default:
		return api.list(ctx, cfg.format, stdout)
	}
	if err == nil {
		_, err = fmt.Fprintln(stdout, "Done")
	}
	return err
}

// api is a client for a scraper's HTTP API.
type api struct {
	client *http.Client
	base   *url.URL
	at     string // for errors: base, or the socket
}

func newAPI(cfg aliasConfig) (*api, error) {
	var with config.HTTPClientConfig
	if cfg.client != "" {
		loaded, _, err := config.LoadHTTPConfigFile(cfg.client)
		if err != nil {
			return nil, &cli.UsageError{Err: fmt.Errorf("--http.config.file: %w", err)}
		}
		with = *loaded
	}
	var options []config.HTTPClientOption
	base := cfg.server()
	if base.Scheme == "unix" {
		options = append(options, config.WithDialContextFunc(unix.Dial(base.Path)))
		with.ProxyConfig = config.ProxyConfig{}
	}
	client, err := config.NewClientFromConfig(with, name, options...)
	if err != nil {
		return nil, &cli.UsageError{Err: fmt.Errorf("--http.config.file: %w", err)}
	}
	client.Timeout = apiTimeout
	a := &api{client: client, at: base.String(), base: base}
	if base.Scheme == "unix" {
		a.at, a.base = unix.Prefix+base.Path, &url.URL{Scheme: "http", Host: "localhost"}
	}
	return a, nil
}

// server returns the URL of the flags: without one, that of the socket in the storage path, or, if there is none, the default address.
func (c *aliasConfig) server() *url.URL {
	if c.url != nil {
		return c.url
	}
	path := filepath.Join(c.storage, adminSocket)
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		return &url.URL{Scheme: "unix", Path: path}
	}
	return &url.URL{Scheme: "http", Host: defaultAddress}
}

// do sends a request and, if data is not nil, decodes the data of the response.
func (a *api) do(ctx context.Context, method, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base.JoinPath("/api/v1/").String()+path, nil)
	if err != nil {
		return err
	}
	res, err := a.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return fmt.Errorf("--url: no answer from %s: %w", a.at, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("--url: the answer of %s: %w", a.at, err)
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	switch err := json.Unmarshal(body, &answer); {
	case res.StatusCode == http.StatusUnauthorized:
		return errors.New("the scraper requires authentication: set --http.config.file")
	case err != nil:
		return fmt.Errorf("--url: %s is not a dhtprom scraper: it answered %s", a.at, res.Status)
	case answer.Status != "success":
		return errors.New(answer.Error)
	}
	return nil
}

// reload makes the scraper read its files again.
func (a *api) reload(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base.JoinPath("/-/reload").String(), nil)
	if err != nil {
		return err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", a.at, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	return err
}

func (a *api) list(ctx context.Context, format string, stdout io.Writer) error {
	var list web.Aliases
	var pins web.Pins
	if err := a.do(ctx, http.MethodGet, "aliases", &list); err != nil {
		return err
	}
	if err := a.do(ctx, http.MethodGet, "pins", &pins); err != nil {
		return err
	}
	if format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			web.Aliases
			web.Pins
		}{list, pins})
	}
	pinned := map[string]string{}
	for _, p := range pins.Pins {
		pinned[p.Alias] = p.PublicKey
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ALIAS\tSERVICE\tHOSTNAME\tHEALTH\tSESSION\tPATH\tEXPIRES\tPINNED\tKEY")
	row := func(cells ...string) {
		for i, c := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(w, "\t")
			}
			if c == "" {
				c = "-"
			}
			_, _ = fmt.Fprint(w, c)
		}
		_, _ = fmt.Fprintln(w)
	}
	for _, e := range list.Aliases {
		pin := "no"
		if pinned[e.Alias] != "" {
			pin = "yes"
			delete(pinned, e.Alias)
		}
		row(e.Alias, e.Service, e.Hostname, e.Health, e.Session, e.Path, e.Expires.Local().Format(time.DateTime), pin, e.PublicKey)
	}
	for _, p := range pins.Pins {
		if pinned[p.Alias] != "" {
			row(p.Alias, "", "", "", "not registered", "", "", "yes", p.PublicKey)
		}
	}
	return w.Flush()
}
