package exporter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/config"
)

// credentialFile is a file with one password or token. It is read for each request, so that it can be replaced.
type credentialFile string

var _ config.SecretReader = credentialFile("")

// Fetch implements config.SecretReader.
func (f credentialFile) Fetch(context.Context) (string, error) { return readCredential(string(f)) }

// Description implements config.SecretReader.
func (f credentialFile) Description() string { return "file " + string(f) }

// Immutable implements config.SecretReader.
func (credentialFile) Immutable() bool { return false }

// secret returns the reader of a password or token: a text, or a file with it; nil without both.
func secret(text config.Secret, file string) config.SecretReader {
	switch {
	case text != "":
		return config.NewInlineSecret(string(text))
	case file != "":
		return credentialFile(file)
	}
	return nil
}

// oauthSecret returns the reader of the client's secret, or of the private key that takes its place.
func oauthSecret(c *config.OAuth2) config.SecretReader {
	switch {
	case c.GrantType != grantJWT:
		return secret(c.ClientSecret, c.ClientSecretFile)
	case c.ClientCertificateKey == "" && c.ClientCertificateKeyFile != "":
		return config.NewFileSecret(c.ClientCertificateKeyFile) // PEM, which has several lines
	}
	return secret(c.ClientCertificateKey, "")
}

const grantJWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// watched returns the reader of a file whose changes replace the connections; nil without one.
func watched(file string) config.SecretReader {
	if file == "" {
		return nil
	}
	return config.NewFileSecret(file)
}

// inline returns the values of a header that the configuration itself contains.
func inline(h config.Header) []string {
	var all []string
	all = append(all, h.Values...)
	for _, s := range h.Secrets {
		all = append(all, string(s))
	}
	return all
}

// values returns all values of a header.
func values(h config.Header) ([]string, error) {
	all := inline(h)
	for _, path := range h.Files {
		v, err := readCredential(path)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// CheckCredentials reads the files with passwords, tokens and headers and returns the first error, for a check before the first
// scrape.
func (c *Config) CheckCredentials() error {
	var readers []config.SecretReader
	if a := c.Client.BasicAuth; a != nil {
		readers = append(readers, secret("", a.UsernameFile), secret("", a.PasswordFile))
	}
	if a := c.Client.Authorization; a != nil {
		readers = append(readers, secret("", a.CredentialsFile))
	}
	readers = append(readers, secret("", c.Client.BearerTokenFile))
	if a := c.Client.OAuth2; a != nil {
		readers = append(readers, oauthSecret(a))
	}
	if c.Client.HTTPHeaders != nil {
		for _, h := range c.Client.HTTPHeaders.Headers {
			for _, path := range h.Files {
				readers = append(readers, secret("", path))
			}
		}
	}
	for _, r := range readers {
		if r == nil {
			continue
		}
		if _, err := r.Fetch(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

const credential = "want a file with one password or token, in UTF-8 and on one line"

// readCredential reads a file with one password or token. It trims white space and a byte order mark, as Windows editors
// write.
func readCredential(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return "", fmt.Errorf("%s is not a regular file: %s", path, credential)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(b), "\uFEFF"))
	switch {
	case len(b) > maxCredential:
		return "", fmt.Errorf("%s is larger than %d bytes: %s", path, maxCredential, credential)
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0: // UTF-16, as PowerShell writes it, is one or the other
		return "", fmt.Errorf("%s is not UTF-8: %s", path, credential)
	case text == "":
		return "", fmt.Errorf("%s is empty: %s", path, credential)
	case strings.ContainsAny(text, "\r\n"):
		return "", fmt.Errorf("%s has several lines: %s", path, credential)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%s has control characters, which are invalid in a header: %s", path, credential)
	}
	return text, nil
}
