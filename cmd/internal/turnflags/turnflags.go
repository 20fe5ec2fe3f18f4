// Package turnflags has the flags of TURN servers, which both programs have.
package turnflags

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/net/http/httpproxy"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
)

// Flags are the values of the flags.
type Flags struct {
	servers     []string
	credentials string
	mode        dhtprom.TURNMode
	proxy       *url.URL
	ca          string
	modeFlag    *kingpin.FlagClause
	modeGiven   bool // on the command line
}

// flagger is a command, or the program.
type flagger interface {
	Flag(name, help string) *kingpin.FlagClause
}

// modes are the values of --turn.
var modes = map[string]dhtprom.TURNMode{"auto": dhtprom.TURNAuto, "always": dhtprom.TURNAlways, "never": dhtprom.TURNNever}

// Add adds the flags to a command. fallback is the default of the servers, as text.
func (f *Flags) Add(c flagger, fallback string) {
	f.modeFlag = c.Flag("turn", "Use of TURN servers. One of: auto (while no DHT node answers over UDP), always, never.").Default("auto").IsSetByUser(&f.modeGiven)
	f.modeFlag.SetValue(cli.Value("turn", &f.mode, mode))
	c.Flag("turn.server", "TURN server that carries all datagrams where no UDP gets out, as turns:HOST:443 for TLS, or turn:HOST:PORT?transport=tcp. Repeatable; tried in order. Default: "+fallback+".").
		PlaceHolder("URI").SetValue(cli.List("turn.server", &f.servers, Server))
	c.Flag("turn.credentials-file", "File with the user on its first line and the password on its second, for the servers of --turn.server.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.credentials-file", &f.credentials, cli.Text))
	c.Flag("turn.proxy", "HTTP proxy to connect to TURN servers through, as http://[USER:PASSWORD@]HOST:PORT, or none. Default: HTTPS_PROXY and NO_PROXY of the environment.").
		PlaceHolder("URL").SetValue(cli.Value("turn.proxy", &f.proxy, parseProxy))
	c.Flag("turn.ca-file", "File with the certificates, in PEM, that TURN servers are verified with. Default: those of the system.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.ca-file", &f.ca, cli.Text))
}

func mode(s string) (dhtprom.TURNMode, error) {
	m, ok := modes[s]
	if !ok {
		return m, fmt.Errorf("want auto, always or never, got %q", s)
	}
	return m, nil
}

// File is the part about TURN servers of a configuration file, whose fields are the flags of the same names. Empty fields are not set.
type File struct {
	Mode        string
	Servers     []string
	Credentials string // a file
	Proxy       string
	CA          string // a file
}

// CheckMode checks a mode.
func CheckMode(s string) (string, error) {
	_, err := mode(s)
	return s, err
}

// CheckProxy checks the URL of a proxy, or none.
func CheckProxy(s string) (string, error) {
	_, err := parseProxy(s)
	return s, err
}

// Take sets the flags to the checked values of a configuration file. It fails if one is set in both.
func (f *Flags) Take(file *File) error {
	if file == nil {
		return nil
	}
	if given := f.given(); len(given) > 0 {
		return fmt.Errorf("TURN servers are set in --config.file; remove %s from flags and environment", strings.Join(given, ", "))
	}
	f.servers, f.credentials, f.ca = file.Servers, file.Credentials, file.CA
	if file.Mode != "" {
		f.mode = modes[file.Mode]
	}
	if file.Proxy != "" {
		f.proxy, _ = parseProxy(file.Proxy)
	}
	return nil
}

// given returns the flags that are set, on the command line or in the environment, if only to their default.
func (f *Flags) given() (names []string) {
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"--turn", f.modeGiven || f.modeFlag.HasEnvarValue()},
		{"--turn.server", len(f.servers) > 0},
		{"--turn.credentials-file", f.credentials != ""},
		{"--turn.proxy", f.proxy != nil},
		{"--turn.ca-file", f.ca != ""},
	} {
		if flag.set {
			names = append(names, flag.name)
		}
	}
	return names
}

// Server checks the URI of a server.
func Server(s string) (string, error) {
	cfg := dhtprom.TURNConfig{Servers: []domain.TURNServer{{URI: s}}}
	if cfg.Check() != nil {
		return "", fmt.Errorf("want turns:HOST:PORT, or turn:HOST:PORT?transport=tcp or =udp, got %q", s)
	}
	return s, nil
}

// noProxy is the value of --turn.proxy for no proxy.
var noProxy = &url.URL{}

func parseProxy(s string) (*url.URL, error) {
	if s == "none" {
		return noProxy, nil
	}
	u, err := url.Parse(s)
	const want = "want http://[USER:PASSWORD@]HOST:PORT, https for TLS to the proxy, or none" // s is not quoted: it may have a password
	if err == nil && u.Host != "" && !isHTTP(u) {
		return nil, fmt.Errorf("the scheme %q is not supported: %s", u.Scheme, want)
	}
	if err != nil || u.Hostname() == "" {
		return nil, errors.New(want)
	}
	return u, nil
}

// isHTTP reports whether a proxy is one of HTTP, in the clear or over TLS.
func isHTTP(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

// Credentials reads a file with a user and a password.
func Credentials(path string) (user, password string, err error) {
	b, err := privatefile.Read(path, maxFile)
	if err != nil {
		return "", "", err
	}
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n"), "\n")
	if len(lines) != 2 || lines[0] == "" || lines[1] == "" {
		return "", "", fmt.Errorf("%s: want two lines, the user and the password", path)
	}
	return lines[0], lines[1], nil
}

// maxFile bounds the files of credentials and certificates, in bytes.
const maxFile = 1 << 20

// Config returns the configuration. invited are the servers of invites, used without --turn.server; memory is the file that keeps what
// worked, "" for none.
func (f *Flags) Config(invited []domain.TURNServer, memory string) (c dhtprom.TURNConfig, err error) {
	c = dhtprom.TURNConfig{Servers: invited, Mode: f.mode, Proxy: f.proxyFor, Memory: memory}
	if f.credentials != "" && len(f.servers) == 0 {
		return c, errors.New("--turn.credentials-file needs --turn.server: an invite has credentials of its own")
	}
	if len(f.servers) > 0 {
		if f.credentials == "" {
			return c, errors.New("--turn.server needs --turn.credentials-file")
		}
		user, password, err := Credentials(f.credentials)
		if err != nil {
			return c, fmt.Errorf("--turn.credentials-file: %w", err)
		}
		c.Servers = nil
		for _, uri := range f.servers {
			c.Servers = append(c.Servers, domain.TURNServer{URI: uri, Username: user, Password: password})
		}
	}
	if f.mode == dhtprom.TURNAlways && len(c.Servers) == 0 {
		return c, errors.New("--turn=always needs a --turn.server, or an invite with one")
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return c, fmt.Errorf("--turn.ca-file: %w", err)
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(pem) {
			return c, fmt.Errorf("--turn.ca-file: %s has no certificate in PEM", f.ca)
		}
	}
	if f.mode != dhtprom.TURNNever {
		err = c.Check()
	}
	return c, err
}

// proxyFor returns the proxy for a server at host:port.
func (f *Flags) proxyFor(addr string) (*url.URL, error) {
	switch f.proxy {
	case nil:
		u, err := httpproxy.FromEnvironment().ProxyFunc()(&url.URL{Scheme: "https", Host: addr})
		if err == nil && u != nil && !isHTTP(u) {
			return nil, fmt.Errorf("HTTPS_PROXY names a proxy with the scheme %q, want http or https: --turn.proxy names another one, or none", u.Scheme)
		}
		return u, err
	case noProxy:
		return nil, nil
	}
	return f.proxy, nil
}
