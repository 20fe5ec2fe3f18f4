package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// echo runs a TCP server that sends back what it receives, with a prefix once its client has ended, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if b, err := io.ReadAll(c); err == nil {
					_, _ = c.Write(append([]byte("echo "), b...))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// exchange sends text to an address, ends that direction, and returns the whole answer.
func exchange(t *testing.T, network, address, text string) (string, error) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestTunnelsCarryBothDirectionsToTheirEnds(t *testing.T) {
	in := private(t)
	flag, key := newKey(t)
	server := runs(t, nil, in("tunnel", "server", flag, "--target="+echo(t))...)
	if got := server.line(); got != key {
		t.Errorf("the server printed %q", got)
	}
	client := runs(t, nil, in("tunnel", "client", key, "--listen-address=127.0.0.1:0")...)
	address := client.line()
	large := strings.Repeat("0123456789", 100_000)
	for _, text := range []string{"hello", "", large} {
		if got, err := exchange(t, "tcp", address, text); err != nil || got != "echo "+text {
			t.Errorf("%d bytes came back for %d: %v", len(got), len(text), err)
		}
	}
	if got := succeeds(t, "", in("ping", key)...); !strings.HasPrefix(got, "connected to "+key+" in ") || !strings.Contains(got, "address=127.0.0.1:") || strings.Contains(got, "path=none") || strings.Contains(got, "unknown") {
		t.Errorf("ping: %q", got)
	}
	server.stop()
	if code := server.end(); code != cli.OK {
		t.Errorf("the server ended with %d: %s", code, server.errs.String())
	}
}

func TestTunnelsAdmitAllowedKeysAlone(t *testing.T) {
	own, friend, other := id.PublicKey{1}, id.PublicKey{2}, id.PublicKey{3}
	for _, c := range []struct {
		name string
		cfg  serverConfig
		want [3]bool // own, friend, other
	}{
		{"all", serverConfig{}, [3]bool{true, true, true}},
		{"some", serverConfig{allow: []domain.PublicKey{domain.PublicKey(friend)}}, [3]bool{false, true, false}},
		{"private", serverConfig{private: true}, [3]bool{true, false, false}},
	} {
		admit := c.cfg.admit(own)
		for i, key := range []id.PublicKey{own, friend, other} {
			if got := admit == nil || admit(key, nil, netip.AddrPort{}); got != c.want[i] {
				t.Errorf("%s: key %d is admitted: %v", c.name, i+1, got)
			}
		}
	}
}

func TestTunnelsAdmitAnAllowedClient(t *testing.T) {
	in := private(t)
	flag, key := newKey(t)
	allowed, allowedKey := newKey(t)
	runs(t, nil, in("tunnel", "server", flag, "--allow="+allowedKey, "--target="+echo(t))...).line()
	address := runs(t, nil, in("tunnel", "client", key, allowed, "--listen-address=127.0.0.1:0")...).line()
	if got, err := exchange(t, "tcp", address, "x"); err != nil || got != "echo x" {
		t.Errorf("%q, %v", got, err)
	}
	isRejected(t, in("ping", key)...)
}

// isRejected checks that a ping gets no connection in a time that is long for one: a server does not answer callers that it rejects.
func isRejected(t *testing.T, ping ...string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	var out, errs bytes.Buffer
	if code := startWith(ctx, ping, nil, &out, &errs); code == cli.OK || !strings.Contains(errs.String(), context.DeadlineExceeded.Error()) {
		t.Errorf("a new key: code %d, %s%s", code, out.String(), errs.String())
	}
}

func TestTunnelsCloseConnectionsThatAreTooMany(t *testing.T) {
	in := private(t)
	flag, key := newKey(t)
	runs(t, nil, in("tunnel", "server", flag, "--target="+echo(t))...).line()
	address := runs(t, nil, in("tunnel", "client", key, "--max-connections=1", "--listen-address=127.0.0.1:0")...).line()
	first, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := io.WriteString(first, "x"); err != nil {
		t.Fatal(err)
	}
	if got, err := exchange(t, "tcp", address, "y"); err == nil && got != "" {
		t.Errorf("a second connection was carried: %q", got)
	}
	if err := first.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(first); err != nil || string(b) != "echo x" {
		t.Errorf("the first connection: %q, %v", b, err)
	}
}

func TestTunnelsCloseConnectionsWithoutATarget(t *testing.T) {
	in := private(t)
	flag, key := newKey(t)
	socket := filepath.Join(t.TempDir(), "absent.sock")
	runs(t, nil, in("tunnel", "server", flag, "--target=unix:"+socket)...).line()
	address := runs(t, nil, in("tunnel", "client", key, "--listen-address=127.0.0.1:0")...).line()
	if got, err := exchange(t, "tcp", address, "x"); err == nil && got != "" {
		t.Errorf("got %q", got)
	}
}

func TestPrivateTunnelsNeedTheSeed(t *testing.T) {
	in := private(t)
	flag, _ := newKey(t)
	runs(t, nil, in("tunnel", "server", flag, "--private", "--target="+echo(t))...).line()
	socket := "unix:" + filepath.Join(t.TempDir(), "tunnel.sock")
	if got := runs(t, nil, in("tunnel", "client", flag, "--private", "--listen-address="+socket)...).line(); got != socket {
		t.Errorf("the client printed %q", got)
	}
	if got, err := exchange(t, "unix", strings.TrimPrefix(socket, "unix:"), "x"); err != nil || got != "echo x" {
		t.Errorf("%q, %v", got, err)
	}
}
