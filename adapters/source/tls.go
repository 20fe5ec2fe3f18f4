package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSConfig configures connections to an https exporter. The zero value trusts the system's certificates.
type TLSConfig struct {
	CAFile string // PEM certificates that are trusted in place of the system's
	// CertFile and KeyFile are the client certificate and its key. They are read for each handshake, so that they can be
	// replaced.
	CertFile, KeyFile string
	ServerName        string // the name in the server's certificate, where it is not the URL's host
	// InsecureSkipVerify accepts any certificate: for exporters with a self-signed one, on a path that is trusted.
	InsecureSkipVerify bool
}

func (c TLSConfig) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no PEM certificate", c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("want both a client certificate and its key, or neither")
	}
	if c.CertFile == "" {
		return cfg, nil
	}
	read := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
		}
		return &cert, nil
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	return cfg, nil
}
