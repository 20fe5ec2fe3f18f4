package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/etcd/client"
	"github.com/dhtprom/dhtprom/interop/etcd"
	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// put sets a key and returns the error.
func (w *world) put(s kv.Store, key string) (err error) {
	w.t.Helper()
	w.run(w.t, func(done func()) {
		s.Commit(kv.Txn{Then: []kv.Op{{Key: key, Value: []byte("x")}}}, func(_ kv.Result, failed error) {
			err = failed
			done()
		})
	})
	return err
}

func (w *world) connect(cfg client.Config) kv.Store {
	w.t.Helper()
	cfg.Endpoints = w.cluster.Endpoints()
	s, err := client.Open(w.host, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.run(w.t, s.Close) })
	return s
}

// A user has permission for the keys of its prefix only. Its proof is renewed when the server has forgotten it.
func TestUserIsAuthenticated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	request := func(path string, body map[string]any) {
		t.Helper()
		w.cluster.Request("/v3/auth/"+path, body)
	}
	request("user/add", map[string]any{"name": "root", "password": "root"})
	request("user/grant", map[string]any{"user": "root", "role": "root"})
	request("role/add", map[string]any{"name": "scraper"})
	request("role/grant", map[string]any{"name": "scraper", "perm": map[string]any{
		"permType": "READWRITE", "key": []byte(prefix), "range_end": []byte("/faults0"),
	}})
	request("user/add", map[string]any{"name": "dhtprom", "password": "secret"})
	request("user/grant", map[string]any{"user": "dhtprom", "role": "scraper"})
	request("enable", map[string]any{})
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret")
	s := w.connect(client.Config{Prefix: prefix, User: "dhtprom", PasswordFile: file})
	if err := w.put(s, prefix+"a"); err != nil {
		t.Error(err)
	}
	if err := w.put(s, "/other/a"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a key without permission: %v", err)
	}
	lease := w.hold(s, 2*time.Second)
	w.cluster.Kill(0)
	w.cluster.Restart(0)
	process.Until(t, "a key is set after the restart", func() error { return w.put(s, prefix+"b") })
	process.Until(t, "the lease is renewed after the restart", func() (err error) {
		w.do(func() {
			if lease.Until().Before(w.host.Now()) {
				err = errors.New("not yet")
			}
		})
		return err
	})
	write("wrong")
	wrong := w.connect(client.Config{Prefix: prefix, User: "dhtprom", PasswordFile: file})
	if err := w.put(wrong, prefix+"c"); err == nil || !strings.Contains(err.Error(), "invalid user ID or password") {
		t.Errorf("a wrong password: %v", err)
	}
	without := w.connect(client.Config{Prefix: prefix})
	if err := w.put(without, prefix+"c"); err == nil || errors.Is(err, kv.ErrUncertain) {
		t.Errorf("without a user: %v", err)
	}
}

// pair is a certificate with its key, in files.
type pair struct {
	cert, key string
	parsed    *x509.Certificate
	private   *ecdsa.PrivateKey
}

// certificate issues a certificate for a name. It signs itself without an issuer.
func certificate(t *testing.T, dir, name string, issuer *pair) *pair {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: issuer == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if name == "server" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	p := &pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key"), private: private}
	parent, signer := template, private
	if issuer != nil {
		parent, signer = issuer.parsed, issuer.private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if p.parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestBothSidesProveTheirCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certificate(t, dir, "authority", nil)
	server, own := certificate(t, dir, "server", ca), certificate(t, dir, "client", ca)
	stranger := certificate(t, dir, "stranger", nil)
	mine, err := tls.LoadX509KeyPair(own.cert, own.key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.parsed)
	w := newTLSWorld(t, &tls.Config{Certificates: []tls.Certificate{mine}, RootCAs: roots},
		"--cert-file="+server.cert, "--key-file="+server.key, "--client-cert-auth", "--trusted-ca-file="+ca.cert)
	good := client.Config{Prefix: prefix, CAFile: ca.cert, CertFile: own.cert, KeyFile: own.key}
	named := good
	named.ServerName = "server"
	for _, cfg := range []client.Config{good, named} {
		if err := w.put(w.connect(cfg), prefix+"a"); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	misnamed, anonymous, strange := good, good, good
	misnamed.ServerName = "other"
	anonymous.CertFile, anonymous.KeyFile = "", ""
	strange.CAFile = stranger.cert
	var stores []kv.Store
	for _, cfg := range []client.Config{misnamed, anonymous, strange} {
		stores = append(stores, w.connect(cfg))
	}
	w.run(t, func(done func()) {
		left := len(stores)
		for i, s := range stores {
			s.Commit(kv.Txn{Then: []kv.Op{{Key: prefix + "b"}}}, func(_ kv.Result, err error) {
				if !errors.Is(err, kv.ErrUnavailable) {
					t.Errorf("connection %d: %v, want %v", i, err, kv.ErrUnavailable)
				}
				t.Log(err)
				if left--; left == 0 {
					done()
				}
			})
		}
	})
}

func newTLSWorld(t *testing.T, cfg *tls.Config, flags ...string) *world {
	t.Helper()
	w := newHost(t)
	w.cluster = etcd.StartTLSCluster(t, 1, cfg, flags...)
	return w
}
