package turnserver_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/node/turnserver"
)

const (
	secret   = "a secret of many characters"
	deadline = 20 * time.Second
)

var loopback = netip.MustParseAddr("127.0.0.1")

// start starts a server over TCP on loopback.
func start(t *testing.T, change func(*turnserver.Config)) (s *turnserver.Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := turnserver.Config{Listeners: []net.Listener{l}, Public: loopback, Secret: secret, AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if change != nil {
		change(&cfg)
	}
	if s, err = turnserver.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// quiet logs nothing.
func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.Writer = io.Discard
	return f
}

// login returns valid credentials.
func login(name string) (user, password string) {
	return turnserver.Credentials(secret, name, time.Now().Add(time.Hour))
}

// connect returns pion's client on a connection.
func connect(t *testing.T, conn net.Conn, user, password string) *turn.Client {
	t.Helper()
	c, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: conn.RemoteAddr().String(), Conn: turn.NewSTUNConn(conn), Username: user, Password: password, LoggerFactory: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		_ = conn.Close()
	})
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	return c
}

// allocate connects over TCP and allocates.
func allocate(t *testing.T, addr, user, password string) (net.PacketConn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, conn, user, password).Allocate()
}

// must is allocate, for valid credentials.
func must(t *testing.T, addr, name string) net.PacketConn {
	t.Helper()
	user, password := login(name)
	conn, err := allocate(t, addr, user, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exchange sends a datagram and waits for it.
func exchange(t *testing.T, from, to net.PacketConn, text string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	receive(t, to, text, from.LocalAddr())
}

func receive(t *testing.T, at net.PacketConn, text string, from net.Addr) {
	t.Helper()
	_ = at.SetReadDeadline(time.Now().Add(deadline))
	b := make([]byte, 2048)
	n, sender, err := at.ReadFrom(b)
	for err == nil && text != "opens" && string(b[:n]) == "opens" { // that came late
		n, sender, err = at.ReadFrom(b)
	}
	if err != nil || string(b[:n]) != text || sender.String() != from.String() {
		t.Fatalf("received %.40q from %v, %v; want %.40q from %v", b[:n], sender, err, text, from)
	}
}

func TestRelaysBetweenAClientAndAPeer(t *testing.T) {
	s, addr := start(t, nil)
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	client := must(t, addr, "a")
	exchange(t, client, peer, "to the peer")
	exchange(t, peer, client, "to the client")
	if st := s.Stats(); st.Allocations.Load() != 1 || st.Sent.Load() != 1 || st.ReceivedBytes.Load() != uint64(len("to the client")) || st.Connections.Load() != 1 {
		t.Errorf("%d allocations, %d sent, %d bytes received, %d connections",
			st.Allocations.Load(), st.Sent.Load(), st.ReceivedBytes.Load(), st.Connections.Load())
	}
}

// Two clients of one server reach each other, also where the public address is not one of the machine.
func TestRelaysBetweenTwoClients(t *testing.T) {
	for _, public := range []netip.Addr{loopback, netip.MustParseAddr("203.0.113.9")} {
		t.Run(public.String(), func(t *testing.T) {
			_, addr := start(t, func(c *turnserver.Config) {
				c.Public = public
				c.AllowPeers = append(c.AllowPeers, netip.PrefixFrom(public, 32))
			})
			a, b := must(t, addr, "a"), must(t, addr, "b")
			if host, _, _ := net.SplitHostPort(a.LocalAddr().String()); host != public.String() {
				t.Fatalf("relayed at %v", a.LocalAddr())
			}
			if _, err := b.WriteTo([]byte("opens"), a.LocalAddr()); err != nil { // a has no permission for it yet
				t.Fatal(err)
			}
			exchange(t, a, b, "from a")
			exchange(t, b, a, "from b")
		})
	}
}

func TestTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	_, addr := start(t, func(c *turnserver.Config) { c.Listeners[0] = tls.NewListener(c.Listeners[0], web.TLS) })
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is the test's
	if err != nil {
		t.Fatal(err)
	}
	user, password := login("a")
	if _, err := connect(t, conn, user, password).Allocate(); err != nil {
		t.Error(err)
	}
}

func TestCredentials(t *testing.T) {
	s, addr := start(t, func(c *turnserver.Config) { c.Users = map[string]string{"alice": "password"} })
	user, password := login("a")
	expired, itsPassword := turnserver.Credentials(secret, "a", time.Now().Add(-2*time.Second))
	tests := []struct {
		name, user, password string
		want                 string // of the error; empty for success
	}{
		{"of the secret", user, password, ""},
		{"of a user", "alice", "password", ""},
		{"wrong password", "alice", "passport", "401"},
		{"of another secret", user, "AAAA", "401"},
		{"expired", expired, itsPassword, "400"},
		{"no number", "bob", "password", "400"},
		{"nothing", "", "", "Unauthorized"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := allocate(t, addr, test.user, test.password)
			if ok := err == nil; ok != (test.want == "") {
				t.Errorf("%v", err)
			}
		})
	}
	if n := s.Stats().Allocated.Load(); n != 2 {
		t.Errorf("%d allocations", n)
	}
}

func TestAllocationsAreLimited(t *testing.T) {
	s, addr := start(t, func(c *turnserver.Config) { c.MaxAllocations, c.MaxUserAllocations = 3, 2 })
	must(t, addr, "a")
	last := must(t, addr, "a")
	try := func(name string) error {
		user, password := login(name)
		_, err := allocate(t, addr, user, password)
		return err
	}
	if err := try("a"); err == nil || !strings.Contains(err.Error(), "486") {
		t.Errorf("a third of one user: %v", err)
	}
	must(t, addr, "b")
	if err := try("c"); err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("a fourth: %v", err)
	}
	if n := s.Stats().Refused.Load(); n != 2 {
		t.Errorf("%d refused", n)
	}
	_ = last.Close()
	within(t, func() bool { return try("a") == nil })
}

// within waits until cond holds.
func within(t *testing.T, cond func() bool) {
	t.Helper()
	process.Until(t, "the condition holds", func() error {
		if !cond() {
			return errors.New("it does not")
		}
		return nil
	})
}

// A server is no way into the network that it is in.
func TestPrivatePeersAreForbidden(t *testing.T) {
	s, addr := start(t, func(c *turnserver.Config) { c.AllowPeers = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} })
	client := must(t, addr, "a")
	for peer, allowed := range map[string]bool{
		"127.0.0.1": false, "10.0.0.1": false, "10.1.2.3": true, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"224.0.0.1": false, "0.0.0.0": false, "255.255.255.255": false, "8.8.8.8": true,
	} {
		_, err := client.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP(peer), Port: 9})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", peer, err)
		}
	}
	if n := s.Stats().Forbidden.Load(); n != 8 {
		t.Errorf("%d forbidden", n)
	}
}

// A user cannot fill the memory of the server with permissions.
func TestPermissionsAreLimited(t *testing.T) {
	const most, batch = 16384, 64
	s, addr := start(t, func(c *turnserver.Config) { c.MaxUserAllocations = 1 })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	user, password := login("a")
	client := connect(t, conn, user, password)
	if _, err := client.Allocate(); err != nil {
		t.Fatal(err)
	}
	ask := func(from, to int) error {
		var peers []net.Addr
		for i := from; i < to; i++ {
			peers = append(peers, &net.UDPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i)), Port: 9})
		}
		return client.CreatePermission(peers...)
	}
	for i := 0; i < most; i += batch {
		if err := ask(i, i+batch); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
	if err := ask(most, most+1); err == nil || s.Stats().Forbidden.Load() != 1 {
		t.Errorf("one more: %v, %d forbidden", err, s.Stats().Forbidden.Load())
	}
	if err := ask(0, batch); err != nil {
		t.Errorf("those that it has are not renewed: %v", err)
	}
	_ = conn.Close() // which ends the permissions
	within(t, func() bool { return s.Stats().Allocations.Load() == 0 })
	if _, err := must(t, addr, "a").WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err != nil {
		t.Errorf("the user has no room after the end of the allocation: %v", err)
	}
}

// A client with many peers has channels to some of them, and reaches the others without.
func TestPeersBeyondTheChannelsAreReached(t *testing.T) {
	const most, more = 512, 8
	s, addr := start(t, nil)
	client := must(t, addr, "a")
	for i := range most + more {
		if _, err := client.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i)), Port: 9}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, func() bool { return s.Stats().Forbidden.Load() >= more })
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	exchange(t, client, peer, "to the peer")
	exchange(t, peer, client, "to the client")
}

func TestBandwidthIsLimited(t *testing.T) {
	s, addr := start(t, func(c *turnserver.Config) { c.Bandwidth = 16 << 10 })
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	client := must(t, addr, "a")
	exchange(t, client, peer, "opens")
	exchange(t, peer, client, "opens")
	for range 100 {
		if _, err := client.WriteTo(make([]byte, 1000), peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.WriteTo(make([]byte, 1000), client.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	within(t, func() bool { return s.Stats().Throttled.Load() >= 100 })
}

// Connections of strangers, on which nothing is sent, keep out no client.
func TestConnectionsThatWaitGiveWay(t *testing.T) {
	s, addr := start(t, func(c *turnserver.Config) { c.MaxAllocations = 2 })
	first := must(t, addr, "a")
	for range 1100 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	user, password := login("b")
	second, err := allocate(t, addr, user, password)
	if err != nil {
		t.Fatalf("a client beside strangers: %v", err)
	}
	if _, err := first.WriteTo([]byte("opens"), second.LocalAddr()); err != nil { // the second has no permission for it yet
		t.Fatal(err)
	}
	exchange(t, second, first, "to the first")
	if n := s.Stats().Crowded.Load(); n < 50 {
		t.Errorf("%d have given way", n)
	}
}

func TestConnectionsEndWithTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := turnserver.New(turnserver.Config{Listeners: []net.Listener{l}, Public: loopback, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	within(t, func() bool { return s.Stats().Connections.Load() == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(deadline))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the server has closed and its connection has not")
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good := turnserver.Config{Listeners: []net.Listener{l}, Public: loopback, Secret: secret}
	for want, change := range map[string]func(*turnserver.Config){
		"listen on":           func(c *turnserver.Config) { c.Listeners = nil },
		"public IPv4 address": func(c *turnserver.Config) { c.Public = netip.IPv6Loopback() },
		"secret or users":     func(c *turnserver.Config) { c.Secret = "" },
		"range of ports":      func(c *turnserver.Config) { c.FirstPort, c.LastPort = 2000, 1000 },
		"bandwidth":           func(c *turnserver.Config) { c.Bandwidth = 1 },
		"at least one":        func(c *turnserver.Config) { c.MaxAllocations = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := turnserver.New(cfg); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
