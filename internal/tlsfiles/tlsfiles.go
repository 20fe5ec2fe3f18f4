// Package tlsfiles reads the certificates of a TLS client from files in PEM.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Roots returns the CA certificates in a file.
func Roots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return roots, nil
}

// Certificate returns a function for tls.Config that reads the client's certificate and its key for each connection, so that renewed ones
// take effect. The error is that of the present files.
func Certificate(certFile, keyFile string) (get func(*tls.CertificateRequestInfo) (*tls.Certificate, error), err error) {
	get = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", certFile, err)
		}
		return &cert, nil
	}
	_, err = get(nil)
	return get, err
}
