//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/domain"
)

func TestHTTPServerListensOnASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "dp") // its path leaves room for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "web")
	b := newBench(t)
	r := b.run(t, "", "--alias=own", "--web.listen-address=unix:"+socket,
		"--scraper="+b.keys.Public.String(), "--secret-file="+secretFile(t, b.secret.RevealText()))
	event[domain.AliasSuccess](t, b)
	if info, err := os.Stat(socket); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("%v, %v", info, err)
	}
	c := http.Client{Transport: &http.Transport{DialContext: unix.Dial(socket), DisableKeepAlives: true}}
	for path, want := range map[string]string{"/-/healthy": "Healthy", "/metrics": "dhtprom_client_registered", "/": "dhtprom-client"} {
		res, err := c.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s, %v", path, res.StatusCode, body, err)
		}
	}
	r.end(b.secret.RevealText())
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
