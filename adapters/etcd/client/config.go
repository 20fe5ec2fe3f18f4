package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/dhtprom/dhtprom/internal/tlsfiles"
)

// Config configures a connection to etcd.
type Config struct {
	// Endpoints are URLs of members of the cluster: https://HOST:PORT, or http://HOST:PORT without encryption.
	Endpoints []string
	// Prefix begins all keys that are used. The user needs permission for it.
	Prefix string
	// CAFile has certificates in PEM that sign those of the members; the system's if empty.
	CAFile string
	// CertFile and KeyFile have this client's certificate and key in PEM, if etcd requires one. They are read for each connection.
	CertFile, KeyFile string
	// ServerName replaces the host of the endpoints in the check of their certificates.
	ServerName string
	// User and PasswordFile authenticate at an etcd with authentication.
	User, PasswordFile string
}

// Check returns an error if the configuration is invalid, files included.
func (c Config) Check() error {
	_, err := c.read()
	return err
}

// settings are the content of the files of a configuration.
type settings struct {
	tls      *tls.Config // nil for none
	password string
}

func (c Config) read() (settings, error) {
	var s settings
	encrypted, err := c.scheme()
	if err != nil {
		return s, err
	}
	switch {
	case c.Prefix == "":
		return s, errors.New("etcd: the prefix of keys is empty; want one such as /dhtprom/")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return s, errors.New("etcd: a client certificate takes both its file and its key's file")
	case (c.User == "") != (c.PasswordFile == ""):
		return s, errors.New("etcd: authentication takes both a user and a password file")
	case !encrypted && (c.CAFile != "" || c.CertFile != "" || c.ServerName != ""):
		return s, fmt.Errorf("etcd: TLS is configured, but endpoint %q is not encrypted; want https://HOST:PORT", c.Endpoints[0])
	}
	if encrypted {
		if s.tls, err = c.readTLS(); err != nil {
			return s, err
		}
	}
	if c.PasswordFile != "" {
		s.password, err = readPassword(c.PasswordFile)
	}
	return s, err
}

// scheme checks the endpoints and reports whether they are encrypted.
func (c Config) scheme() (encrypted bool, err error) {
	if len(c.Endpoints) == 0 {
		return false, errors.New("etcd: no endpoints; want one or more of https://HOST:PORT")
	}
	for i, endpoint := range c.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
			return false, fmt.Errorf("etcd: endpoint %q is invalid; want https://HOST:PORT or http://HOST:PORT", endpoint)
		}
		if host, port, err := net.SplitHostPort(u.Host); err != nil || host == "" || port == "" {
			return false, fmt.Errorf("etcd: endpoint %q has no host or no port; want https://HOST:PORT, with etcd's port 2379", endpoint)
		}
		if i > 0 && encrypted != (u.Scheme == "https") {
			return false, errors.New("etcd: some endpoints are https and others http; want the same scheme for all")
		}
		encrypted = u.Scheme == "https"
	}
	return encrypted, nil
}

func (c Config) readTLS() (cfg *tls.Config, err error) {
	cfg = &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		if cfg.RootCAs, err = tlsfiles.Roots(c.CAFile); err != nil {
			return nil, fmt.Errorf("etcd: CA file: %w", err)
		}
	}
	if c.CertFile != "" {
		if cfg.GetClientCertificate, err = tlsfiles.Certificate(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("etcd: client %w", err)
		}
	}
	return cfg, nil
}

func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("etcd: password file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	password := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		return "", fmt.Errorf("etcd: password file: %w", err)
	case password == "":
		return "", fmt.Errorf("etcd: password file %s is empty", path)
	case len(text) > maxPassword:
		return "", fmt.Errorf("etcd: password file %s has more than %d bytes", path, maxPassword)
	}
	return password, nil
}
