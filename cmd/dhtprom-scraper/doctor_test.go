package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

func doctorRuns(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code = start(ctx, append([]string{"doctor"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func freeUDPPort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// lab is a DHT of one node on the loopback, with a registration service and a client.
type lab struct {
	bootstrap, storage string
	scraper, client    domain.KeyPair
}

func newLab(t *testing.T) *lab {
	t.Helper()
	h, cleanup := machine.Host()
	t.Cleanup(cleanup)
	l := &lab{
		scraper: domain.KeyPairFromSeed(keyfile.NewSeed()), client: domain.KeyPairFromSeed(keyfile.NewSeed()),
		storage: t.TempDir(),
	}
	secret := keyfile.NewSecret()
	for file, text := range map[string]string{"identity.seed": l.scraper.Seed.RevealText(), "secret": secret.RevealText()} {
		if err := keyfile.Write(filepath.Join(l.storage, file), "For a test.", text); err != nil {
			t.Fatal(err)
		}
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	at := netip.AddrPortFrom(loopback, freeUDPPort(t))
	l.bootstrap = at.String()
	announced := make(chan error, 2)
	_, err := machine.On(h, func() (struct{}, error) {
		_, err := hyperdht.New(h, hyperdht.Config{Bootstrap: []string{}, Listen: at, PublicAddr: at, Mode: hyperdht.Persistent, Reachable: true})
		if err != nil {
			return struct{}{}, err
		}
		node, err := hyperdht.New(h, hyperdht.Config{
			Bootstrap: []string{l.bootstrap}, Listen: netip.AddrPortFrom(loopback, freeUDPPort(t)), Reachable: true,
		})
		if err != nil {
			return struct{}{}, err
		}
		transport := dht.New(h, node, dht.Config{})
		ready := func(err error) { announced <- err }
		_, err = transport.ListenAliases(ports.AliasListen{
			Keys: l.scraper,
			OnOpen: func(ports.Conn) ports.AliasHandlers {
				return ports.AliasHandlers{OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
					if !req.Secret.Equal(secret) {
						reply(ports.AliasReply{Message: "Unauthorised"})
						return
					}
					reply(ports.AliasReply{Success: true})
				}}
			},
		}, ready)
		if err != nil {
			return struct{}{}, err
		}
		_, err = transport.ListenMetrics(ports.MetricsListen{
			Keys: l.client,
			Admit: func(k domain.PublicKey, _ domain.HandshakePayload, _ netip.AddrPort) bool {
				return k == l.scraper.Public
			},
			OnOpen: func(ports.Conn) ports.MetricsHandlers { return ports.MetricsHandlers{} },
		}, ready)
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case err := <-announced:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("not announced")
		}
	}
	return l
}

type finding struct{ Code string }

func TestDoctorTellsByItsExitCodeWhetherSomethingIsBroken(t *testing.T) {
	l := newLab(t)
	wrong := filepath.Join(t.TempDir(), "secret")
	if err := keyfile.Write(wrong, "For a test.", keyfile.NewSecret().RevealText()); err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(t.TempDir(), "seed")
	if err := keyfile.Write(stranger, "For a test.", keyfile.NewSeed().RevealText()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string // a finding
	}{
		{"the scraper runs", nil, cli.OK, "own_machine"},
		{"and so does a client", []string{"--client=" + l.client.Public.String()}, cli.OK, "own_machine"},
		{"it has another secret", []string{"--secret-file=" + wrong}, cli.Failed, "secret_refused"},
		{"it does not run", []string{"--identity.seed-file=" + stranger}, cli.Failed, "not_announced"},
		{"the client is another", []string{"--client=" + domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()}, cli.Failed, "not_announced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append(tt.args, "--storage.path="+l.storage, "--dht.bootstrap="+l.bootstrap, "--dht.listen-address=127.0.0.1:"+strconv.Itoa(int(freeUDPPort(t))))
			code, text, errs := doctorRuns(args...)
			if code != tt.code || strings.Contains(text, "All is well.") != (code == cli.OK) || (errs == "") != (code == cli.OK) {
				t.Errorf("code %d, %q\n%s", code, errs, text)
			}
			code, text, _ = doctorRuns(append(args, "--json")...)
			var r struct {
				OK       bool
				Findings []finding
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			if code != tt.code || r.OK != (code == cli.OK) || !slices.Contains(r.Findings, finding{tt.says}) {
				t.Errorf("code %d, %+v", code, r)
			}
		})
	}
}

func TestDoctorRefusesNonsenseAndMakesNoFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "data")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Failed, "identity.seed"},
		{[]string{"--client=nonsense"}, cli.Usage, "--client"},
		{[]string{"--timeout=0s"}, cli.Usage, "--timeout"},
		{[]string{"--stun.server=:"}, cli.Usage, "--stun.server"},
		{[]string{"more"}, cli.Usage, "more"},
	} {
		code, _, errs := doctorRuns(append(tt.args, "--storage.path="+empty)...)
		if code != tt.code || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: code %d, %q", tt.args, code, errs)
		}
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("a folder was made")
	}
}
