package turn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/pipes"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/adapters/udp"
	serverof "github.com/dhtprom/dhtprom/interop/turn"
	"github.com/dhtprom/dhtprom/node/turnserver"
	"github.com/dhtprom/dhtprom/ports/host"
)

// patience bounds every wait.
const patience = 20 * time.Second

// servers are the real servers.
var servers = []struct {
	name  string
	start func(*testing.T) *serverof.Server
}{
	{"coturn", func(t *testing.T) *serverof.Server { return serverof.StartCoturn(t) }},
	{"pion", func(t *testing.T) *serverof.Server { return serverof.StartPion(t) }},
}

// relayed is a host whose datagrams a server relays.
type relayed struct {
	t    *testing.T
	base *udp.Host
	*turn.Host
	up   chan netip.AddrPort
	down chan error
}

// relay allocates at servers.
func relay(t *testing.T, servers func(h *udp.Host) []turn.Server) *relayed {
	t.Helper()
	r := &relayed{t: t, base: udp.New(udp.Options{}), up: make(chan netip.AddrPort, 16), down: make(chan error, 1024)}
	t.Cleanup(r.base.Close)
	list := servers(r.base)
	r.base.Do(func() {
		var err error
		r.Host, err = turn.New(r.base, turn.Config{
			Servers: list, OnUp: func(a netip.AddrPort) { r.up <- a }, OnDown: func(err error) { r.down <- err },
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		closed := make(chan struct{})
		r.base.Post(func() { r.Close(func() { close(closed) }) })
		<-closed
	})
	return r
}

// via returns a server by one of its ways.
func via(t testing.TB, h *udp.Host, s *serverof.Server, way string) turn.Server {
	t.Helper()
	server := turn.Server{Name: way, Username: serverof.Username, Password: serverof.Password}
	cfg := pipes.Config{Server: s.TCP}
	switch way {
	case "UDP":
		server.Addr = s.UDP
		return server
	case "TLS over IPv6":
		uri, err := turn.ParseURI("turns:" + s.TLS6)
		if err != nil {
			t.Fatal(err)
		}
		cfg = pipes.Config{Server: uri.Addr(), TLS: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
	case "TLS":
		cfg = pipes.Config{Server: s.TLS, TLS: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
	}
	d, err := pipes.New(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server.Dialer = d
	return server
}

func (r *relayed) awaitUp() netip.AddrPort {
	r.t.Helper()
	select {
	case a := <-r.up:
		return a
	case <-time.After(patience):
		r.t.Fatal("no server relays in time")
		return netip.AddrPort{}
	}
}

// socket opens a socket whose datagrams go to a channel.
func (r *relayed) socket() (s host.Socket, received chan []byte) {
	r.t.Helper()
	received = make(chan []byte, 1024)
	r.base.Do(func() {
		var err error
		if s, err = r.OpenSocket(netip.AddrPort{}); err != nil {
			r.t.Error(err)
			return
		}
		s.OnReceive(func(_ netip.AddrPort, b []byte) { received <- bytes.Clone(b) })
	})
	return s, received
}

func (r *relayed) send(s host.Socket, to netip.AddrPort, b []byte) {
	r.base.Do(func() { s.Send(to, 0, b) })
}

func expect(t *testing.T, received chan []byte, want []byte) {
	t.Helper()
	select {
	case b := <-received:
		if !bytes.Equal(b, want) {
			t.Fatalf("received %d bytes, %.20q; want %d, %.20q", len(b), b, len(want), want)
		}
	case <-time.After(patience):
		t.Fatalf("%d bytes did not arrive", len(want))
	}
}

func TestDatagramsOfAllSizesArrive(t *testing.T) {
	for _, server := range servers {
		s := server.start(t)
		for _, way := range []string{"UDP", "TCP", "TLS", "TLS over IPv6"} {
			t.Run(server.name+" over "+way, func(t *testing.T) {
				r := relay(t, func(h *udp.Host) []turn.Server { return []turn.Server{via(t, h, s, way)} })
				at := r.awaitUp()
				peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
				sock, received := r.socket()
				b := make([]byte, 2048)
				_ = peer.SetReadDeadline(time.Now().Add(patience))
				for i := range 60 { // the first as indications, the others by a channel
					size := i * 25
					if i%3 == 0 {
						size = i % 8
					}
					sent := bytes.Repeat([]byte{byte(i)}, min(size, 1400))
					r.send(sock, to, sent)
					n, from, err := peer.ReadFromUDPAddrPort(b)
					if err != nil || !bytes.Equal(b[:n], sent) || from != at {
						t.Fatalf("datagram %d of %d bytes: %d bytes from %v, want %v; %v", i, len(sent), n, from, at, err)
					}
					if _, err := peer.WriteToUDPAddrPort(b[:n], from); err != nil {
						t.Fatal(err)
					}
					expect(t, received, sent)
				}
				r.base.Do(func() {
					if st := r.Stats(); st.Channels != 1 || st.Permissions != 1 || st.Malformed+st.Unexpected+st.Forged+st.Refused > 0 {
						t.Errorf("%+v", st)
					}
				})
			})
		}
	}
}

func TestTwoRelayedHostsReachEachOther(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			a := relay(t, func(h *udp.Host) []turn.Server { return []turn.Server{via(t, h, s, "TLS")} })
			b := relay(t, func(h *udp.Host) []turn.Server { return []turn.Server{via(t, h, s, "TCP")} })
			atA, atB := a.awaitUp(), b.awaitUp()
			sockA, toA := a.socket()
			sockB, toB := b.socket()
			arrived := false
			for i := byte(0); !arrived; i++ { // until both have permissions
				a.send(sockA, atB, []byte{1, i})
				b.send(sockB, atA, []byte{2, i})
				select {
				case <-toA:
					arrived = true
				case <-time.After(100 * time.Millisecond):
				}
			}
			a.send(sockA, atB, []byte("hello"))
			for {
				got := <-toB
				if string(got) == "hello" {
					break
				}
			}
		})
	}
}

func TestServersThatRefuseAreReportedWithTheRemedy(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			r := relay(t, func(h *udp.Host) []turn.Server {
				wrong := via(t, h, s, "TCP")
				wrong.Password = "of another"
				return []turn.Server{wrong}
			})
			err := <-r.down
			if refused, ok := errors.AsType[*turn.RefusedError](err); !ok || refused.Code != 401 || !strings.Contains(err.Error(), "the password is wrong") {
				t.Errorf("%v", err)
			}
		})
	}
}

// coturn takes the credentials that invites have, made of a secret.
func TestCoturnTakesCredentialsOfASecret(t *testing.T) {
	s := serverof.StartCoturn(t, "--use-auth-secret", "--static-auth-secret="+serverof.Secret)
	r := relay(t, func(h *udp.Host) []turn.Server {
		server := via(t, h, s, "TCP")
		server.Username, server.Password = turnserver.Credentials(serverof.Secret, "site7", time.Now().Add(time.Hour))
		return []turn.Server{server}
	})
	r.awaitUp()
}

// A server that is killed is noticed, the other one takes over, and the first is used again when that one fails.
func TestLossesAreHealed(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			first, second := server.start(t), serverof.StartPion(t)
			r := relay(t, func(h *udp.Host) []turn.Server {
				return []turn.Server{via(t, h, first, "TCP"), via(t, h, second, "TLS")}
			})
			one := r.awaitUp()
			first.Kill()
			if err := <-r.down; err == nil {
				t.Error("lost without a reason")
			}
			if two := r.awaitUp(); two == one {
				t.Errorf("relayed at %v again", two)
			}
			first.Restart()
			second.Kill()
			<-r.down
			r.awaitUp()
		})
	}
}

// coturn refuses a request for the permissions of several peers of which it forbids one, and drops what was sent meanwhile.
func TestFirstDatagramArrivesBesideAForbiddenPeer(t *testing.T) {
	s := serverof.StartCoturn(t, "--denied-peer-ip=127.0.0.9")
	for _, way := range []string{"UDP", "TCP"} {
		r := relay(t, func(h *udp.Host) []turn.Server { return []turn.Server{via(t, h, s, way)} })
		r.awaitUp()
		peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		sock, _ := r.socket()
		r.base.Do(func() {
			sock.Send(netip.MustParseAddrPort("127.0.0.9:9"), 0, []byte("forbidden"))
			sock.Send(peer.LocalAddr().(*net.UDPAddr).AddrPort(), 0, []byte("first"))
		})
		b := make([]byte, 64)
		_ = peer.SetReadDeadline(time.Now().Add(patience))
		if n, err := peer.Read(b); err != nil || string(b[:n]) != "first" {
			t.Fatalf("%s: %q, %v", way, b[:n], err)
		}
		r.base.Do(func() {
			if st := r.Stats(); st.Refused != 1 || st.Permissions != 1 || st.Losses > 0 {
				t.Errorf("%s: %+v", way, st)
			}
		})
	}
}
