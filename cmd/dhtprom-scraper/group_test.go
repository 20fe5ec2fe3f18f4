package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		"--group.advertise-url=http://a:30000":                                                         "--group.advertise-url: set --group.etcd",
		"--group.etcd-user=me":                                                                         "--group.etcd-user: set --group.etcd",
		"--group.etcd=http://h:2379":                                                                   "--group.advertise-url: want the URL",
		"--group.etcd=http://h:2379 --group.advertise-url=a:30000":                                     "--group.advertise-url: want a URL",
		"--group.etcd=h:2379 --group.advertise-url=http://a:30000":                                     "--group.etcd: etcd: endpoint",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.etcd-user=me":               "--group.etcd: etcd: authentication takes both",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.lease=1s":                   "--group.lease: want at least 2s",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.lease=2m":                   "--group.lease: want at most 1m0s",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.ca-file=/does/not/exist":    "--group.ca-file: open",
		"--group.etcd=http://h:2379 --group.advertise-url=http://a --group.ca-file=" + noCert:          "has no certificate in PEM",
		"--group.etcd=https://h:2379 --group.advertise-url=http://a --group.etcd-ca-file=" + noCert:    "--group.etcd: etcd: CA file",
		"--group.etcd=https://h:2379 --group.advertise-url=http://a --group.etcd-cert-file=/not/there": "--group.etcd: etcd: a client certificate takes both",
	} {
		if _, err := parsedGroup(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
