package interop_test

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// Tunnels of the program hyperdht with those of the package hypertele.

// tunnel is the two ends of a tunnel under test.
type tunnel struct {
	t      *testing.T
	net    testnet
	dir    string // of the files
	target string // address of a server that answers
}

func newTunnel(t *testing.T) tunnel {
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
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return tunnel{t: t, net: goTestnet(t), dir: t.TempDir(), target: l.Addr().String()}
}

// file writes a file, and returns its path.
func (tu tunnel) file(name, content string) string {
	tu.t.Helper()
	path := filepath.Join(tu.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tu.t.Fatal(err)
	}
	return path
}

// port returns the port of an address.
func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// js starts a program of hypertele, and returns the first group of the pattern in its output.
func (tu tunnel) js(script, pattern string, args ...string) string {
	tu.t.Helper()
	args = append([]string{filepath.Join(jspeer.Require(tu.t), "node_modules", "hypertele", script), "--bootstrap", port(tu.net.bootstrap[0])}, args...)
	return process.Start(tu.t, process.Command{Path: "node", Args: args}).Await(pattern)[1]
}

// local starts a tunnel of the program hyperdht, and returns the first line of its output.
func (tu tunnel) local(args ...string) string {
	tu.t.Helper()
	args = append(args, "--dht.bootstrap="+tu.net.bootstrap[0], "--dht.listen-address=127.0.0.1:0", "--log.level=warn")
	return process.Start(tu.t, process.Command{Path: "hyperdht", Args: append([]string{"tunnel"}, args...)}).Await(`^([^ ]+)$`)[1]
}

// carries sends bytes through the tunnel and back.
func (tu tunnel) carries(address string) {
	tu.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		tu.t.Fatal(err)
	}
	defer c.Close()
	text := strings.Repeat("through the tunnel ", 10_000)
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if b, err := io.ReadAll(c); err != nil || string(b) != text {
		tu.t.Errorf("%d bytes came back for %d: %v", len(b), len(text), err)
	}
}

const (
	teleServes  = `hypertele: ([0-9a-f]{64})`
	telePrivate = `hypertele \(private\): .*listening on ([0-9a-f]{64})`
	teleListens = `Server ready @(.+)`
)

func TestTunnelServersOfHypertele(t *testing.T) {
	t.Parallel()
	seed, client := jspeer.Seed("tunnel server"), keys(t, "tunnel client")
	t.Run("public", func(t *testing.T) {
		tu := newTunnel(t)
		key := tu.js("server.js", teleServes, "-l", port(tu.target), "--seed", seed)
		tu.carries(tu.local("client", key, "--listen-address=127.0.0.1:0"))
	})
	t.Run("with an allow list", func(t *testing.T) {
		tu := newTunnel(t)
		config, err := json.Marshal(map[string]any{"seed": seed, "allow": []string{client.Public.Hex()}})
		if err != nil {
			t.Fatal(err)
		}
		key := tu.js("server.js", teleServes, "-l", port(tu.target), "-c", tu.file("server.json", string(config)))
		tu.carries(tu.local("client", key, "--listen-address=127.0.0.1:0", "--identity.seed-file="+tu.file("client.seed", jspeer.Seed("tunnel client"))))
	})
	t.Run("private", func(t *testing.T) {
		tu := newTunnel(t)
		tu.js("server.js", telePrivate, "-l", port(tu.target), "--private", "--seed", seed)
		tu.carries(tu.local("client", "--private", "--listen-address=127.0.0.1:0", "--identity.seed-file="+tu.file("server.seed", seed)))
	})
}

func TestTunnelClientsOfHypertele(t *testing.T) {
	t.Parallel()
	server, client := keys(t, "tunnel server"), keys(t, "tunnel client")
	seed := jspeer.Seed("tunnel server")
	serve := func(tu tunnel, args ...string) {
		tu.t.Helper()
		if got := tu.local(append([]string{"server", "--target=" + tu.target, "--identity.seed-file=" + tu.file("server.seed", seed)}, args...)...); got != server.Public.String() {
			tu.t.Errorf("the server printed %s", got)
		}
	}
	t.Run("public", func(t *testing.T) {
		tu := newTunnel(t)
		serve(tu)
		tu.carries(tu.js("client.js", teleListens, "-p", "0", "-s", server.Public.Hex()))
	})
	t.Run("with an allow list", func(t *testing.T) {
		tu := newTunnel(t)
		serve(tu, "--allow="+client.Public.String())
		pair, err := json.Marshal(map[string]string{"publicKey": client.Public.Hex(), "secretKey": hex.EncodeToString(client.Secret[:])})
		if err != nil {
			t.Fatal(err)
		}
		tu.carries(tu.js("client.js", teleListens, "-p", "0", "-s", server.Public.Hex(), "-i", tu.file("client.json", string(pair))))
	})
	t.Run("private", func(t *testing.T) {
		tu := newTunnel(t)
		serve(tu, "--private")
		tu.carries(tu.js("client.js", teleListens, "-p", "0", "--private", "-s", seed))
	})
}
