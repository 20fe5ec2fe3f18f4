// Package turn runs real TURN servers in tests: coturn, Debian's package coturn, and the one of node/turnserver.
package turn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
	"github.com/dhtprom/dhtprom/node/turnserver"
)

// The credentials of servers for tests.
const (
	Secret   = "a secret of the tests"
	Username = "alice"
	Password = "in wonderland"
)

// Server is a running TURN server on loopback. It ends with its test.
type Server struct {
	TCP, TLS, UDP string // as host:port
	TLS6          string // the port of TLS on the loopback address of IPv6, where the server listens there; relays are IPv4
	// Roots trust its certificate, which is that of the loopback addresses.
	Roots *x509.CertPool

	stop  func()
	start func()
	pid   func() int
}

// Pid returns the number of coturn's process.
func (s *Server) Pid() int { return s.pid() }

// Kill ends the server without a goodbye to its clients.
func (s *Server) Kill() { s.stop() }

// Restart starts it again, at the same addresses.
func (s *Server) Restart() { s.start() }

// loopback are the addresses of the servers.
var loopback = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}

// certificate writes a certificate for IP addresses and its key, and returns the pool that trusts it.
func certificate(t testing.TB, ips ...net.IP) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "turn"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: ips, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(name, kind string, der []byte) []byte {
		b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return b
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(write(certFile, "CERTIFICATE", der))
	write(keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile, roots
}

// Certificate returns the files of a certificate for an IP address, which clients verify it with as well, and of its key.
func Certificate(t testing.TB, ip net.IP) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, _ = certificate(t, ip)
	return certFile, keyFile
}

// newServer returns a server with free ports, first that of TCP and UDP, then that of TLS.
func newServer(t testing.TB, roots *x509.CertPool) (s *Server, ports [2]string) {
	t.Helper()
	s = &Server{TCP: process.FreeAddress(t), TLS: process.FreeAddress(t), Roots: roots}
	s.UDP = s.TCP
	_, secure, _ := net.SplitHostPort(s.TLS)
	s.TLS6 = net.JoinHostPort(net.IPv6loopback.String(), secure)
	for i, addr := range []string{s.TCP, s.TLS} {
		_, ports[i], _ = net.SplitHostPort(addr)
	}
	return s, ports
}

// StartCoturn starts coturn with flags of the caller's besides. Without it the test is skipped, or fails where interop is required.
func StartCoturn(t testing.TB, flags ...string) *Server {
	t.Helper()
	path := tool.Require(t, "turnserver")
	certFile, keyFile, roots := certificate(t, loopback...)
	s, ports := newServer(t, roots)
	args := append([]string{
		"-n", "--log-file=stdout", "--no-cli", "--listening-ip=127.0.0.1", "--listening-ip=::1", "--relay-ip=127.0.0.1", "--allow-loopback-peers",
		"--listening-port=" + ports[0], "--tls-listening-port=" + ports[1], "--cert=" + certFile, "--pkey=" + keyFile,
		"--lt-cred-mech", "--user=" + Username + ":" + Password, "--realm=dhtprom.test", "--pidfile=" + filepath.Join(t.TempDir(), "pid"),
		"--userdb=" + filepath.Join(t.TempDir(), "db"), "--no-dtls",
	}, flags...)
	var p *process.Process
	s.start = func() {
		p = process.Start(t, process.Command{Path: path, Args: args})
		awaitTCP(t, s.TCP)
		awaitTCP(t, s.TLS)
	}
	s.stop = func() { p.Kill() }
	s.pid = func() int { return p.Pid() }
	s.start()
	return s
}

// awaitTCP waits until a server accepts connections.
func awaitTCP(t testing.TB, addr string) {
	t.Helper()
	process.Until(t, "the server accepts connections", func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// StartPion starts the server of node/turnserver.
func StartPion(t testing.TB) *Server {
	t.Helper()
	certFile, keyFile, roots := certificate(t, loopback...)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newServer(t, roots)
	var running *turnserver.Server
	s.start = func() {
		tcp, err := net.Listen("tcp4", s.TCP)
		if err != nil {
			t.Fatal(err)
		}
		listeners := []net.Listener{tcp}
		for _, at := range []string{s.TLS, s.TLS6} {
			secure, err := tls.Listen("tcp", at, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, secure)
		}
		udp, err := net.ListenPacket("udp4", s.UDP)
		if err != nil {
			t.Fatal(err)
		}
		running, err = turnserver.New(turnserver.Config{
			Listeners: listeners, Packets: []net.PacketConn{udp}, Public: netip.MustParseAddr("127.0.0.1"),
			Users: map[string]string{Username: Password}, Secret: Secret, AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.stop = func() { _ = running.Close() } // twice where it was killed
	s.start()
	t.Cleanup(s.stop)
	return s
}
