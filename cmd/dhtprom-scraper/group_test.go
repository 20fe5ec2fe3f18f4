package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/tlsfiles"
)

func parsedGroup(t *testing.T, args ...string) (groupConfig, error) {
	t.Helper()
	f := newFlags(io.Discard)
	_, err := f.parse(append([]string{"run"}, args...))
	return f.run.group, err
}

func TestFlagsOfGroups(t *testing.T) {
	if g, err := parsedGroup(t); err != nil || g.configured() || g.member() != nil {
		t.Errorf("without flags: %v, %+v", err, g)
	}
	g, err := parsedGroup(t, "--group.etcd=http://127.0.0.1:2379", "--group.etcd=http://127.0.0.2:2379", "--group.advertise-url=http://a:30000/below", "--group.name=a")
	if err != nil {
		t.Fatal(err)
	}
	m := g.member()
	if m == nil || m.Member.Name != "a" || m.Member.URL != "http://a:30000/below" || m.Open == nil || len(g.etcd.Endpoints) != 2 || g.etcd.Prefix != "/dhtprom/" || g.etcd.Lease != 5*time.Second {
		t.Errorf("%+v", g)
	}
	if g, err := parsedGroup(t, "--group.etcd=http://127.0.0.1:2379", "--group.advertise-url=http://a:30000"); err != nil || g.member().Member.Name == "" {
		t.Errorf("no name without the flag: %v", err)
	}
}

func TestInvalidFlagsOfGroups(t *testing.T) {
	noCert := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCert, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--group.advertise-url=http://a:30000":                                                      "--group.advertise-url: set --group.etcd",
		"--group.etcd-user=me":                                                                      "--group.etcd-user: set --group.etcd",
		"--group.etcd=http://h:2379":                                                                "--group.advertise-url: want the URL",
		"--group.etcd=http://h:2379 --group.advertise-url=a:30000":                                  "--group.advertise-url: want a URL",
		"--group.etcd=h:2379 --group.advertise-url=http://a:30000":                                  "--group.etcd: etcd: endpoint",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.etcd-user=me":            "--group.etcd: etcd: authentication takes both",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.lease=1s":                "--group.lease: want at least 2s",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.lease=2m":                "--group.lease: want at most 1m0s",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.ca-file=/does/not/exist": "--group.ca-file: open",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.ca-file=" + noCert:       "has no certificate in PEM",
		"--group.key-file=x": "--group.key-file: set --group.etcd",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.cert-file=" + noCert:                             "want both",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.cert-file=" + noCert + " --group.key-file=/none": "--group.cert-file: certificate",
		"--group.etcd=https://h:2379 --group.advertise-url=http://a --group.etcd-ca-file=" + noCert:                         "--group.etcd: etcd: CA file",
		"--group.etcd=https://h:2379 --group.advertise-url=http://a --group.etcd-cert-file=/not/there":                      "--group.etcd: etcd: a client certificate takes both",
	} {
		if _, err := parsedGroup(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// Members whose HTTP servers require certificates of their clients are reached with that of the flags.
func TestMembersProveTheirCertificates(t *testing.T) {
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := tlsfiles.Roots(certFile)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	get := func(flags ...string) error {
		g, err := parsedGroup(t, append(flags, "--group.etcd=http://127.0.0.1:2379", "--group.advertise-url=https://a", "--group.ca-file="+certFile)...)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: g.member().TLS}
		defer transport.CloseIdleConnections()
		res, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, server.URL, nil))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	if err := get("--group.cert-file="+certFile, "--group.key-file="+keyFile); err != nil {
		t.Error(err)
	}
	if get() == nil {
		t.Error("a member without a certificate is served")
	}
}
