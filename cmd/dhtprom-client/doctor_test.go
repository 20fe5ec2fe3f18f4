package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
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

// doctorRuns runs the command and returns what it says.
func doctorRuns(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := command(ctx, append([]string{"doctor"}, args...), strings.NewReader(""), &out, &errs, machine.DHT)
	code = cli.Exit(name, err, &errs)
	return code, out.String(), errs.String()
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// startScraper runs a DHT of one node and a registration service on the loopback, which knows one secret.
func startScraper(t *testing.T, keys domain.KeyPair, secret domain.Secret) (bootstrap string) {
	t.Helper()
	h, cleanup := machine.Host()
	t.Cleanup(cleanup)
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	at := netip.AddrPortFrom(loopback, freePort(t))
	announced := make(chan error, 1)
	_, err := machine.On(h, func() (*hyperdht.Node, error) {
		return hyperdht.New(h, hyperdht.Config{Bootstrap: []string{}, Listen: at, PublicAddr: at, Mode: hyperdht.Persistent, Reachable: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = machine.On(h, func() (struct{}, error) {
		node, err := hyperdht.New(h, hyperdht.Config{
			Bootstrap: []string{at.String()}, Listen: netip.AddrPortFrom(loopback, freePort(t)), Reachable: true,
		})
		if err != nil {
			return struct{}{}, err
		}
		_, err = dht.New(h, node, dht.Config{}).ListenAliases(ports.AliasListen{
			Keys: keys,
			OnOpen: func(ports.Conn) ports.AliasHandlers {
				return ports.AliasHandlers{OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
					if !req.Secret.Equal(secret) {
						reply(ports.AliasReply{Message: "Unauthorised"})
						return
					}
					reply(ports.AliasReply{Success: true})
				}}
			},
		}, func(err error) { announced <- err })
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-announced:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the scraper is not announced")
	}
	return at.String()
}

func TestDoctorTellsByItsExitCodeWhetherSomethingIsBroken(t *testing.T) {
	keys, secret := domain.KeyPairFromSeed(keyfile.NewSeed()), keyfile.NewSecret()
	bootstrap := startScraper(t, keys, secret)
	right := secretFile(t, secret.RevealText())
	wrong := secretFile(t, keyfile.NewSecret().RevealText())
	nobody := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"all is well", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + right}, cli.OK, ""},
		{"with the client's other flags", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + right, "--alias=a", "--target=http://localhost:1/"}, cli.OK, ""},
		{"secret refused", []string{"--scraper=" + keys.Public.String(), "--secret-file=" + wrong}, cli.Failed, "secret_refused"},
		{"wrong key", []string{"--scraper=" + nobody, "--secret-file=" + right}, cli.Failed, "not_announced"},
		{"one of two", []string{"--scraper=" + nobody, "--secret-file=" + right, "--scraper=" + keys.Public.String(), "--secret-file=" + right}, cli.Failed, "not_announced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, text, errs := doctorRuns(append(tt.args, "--dht.bootstrap="+bootstrap)...)
			if code != tt.code || strings.Contains(text, "All is well.") != (code == cli.OK) || (errs == "") != (code == cli.OK) || strings.Contains(text, secret.RevealText()) {
				t.Errorf("code %d, %q\n%s", code, errs, text)
			}
			code, text, _ = doctorRuns(append(tt.args, "--dht.bootstrap="+bootstrap, "--json")...)
			var r struct {
				OK       bool
				Findings []struct{ Level, Code string }
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			if code != tt.code || r.OK != (code == cli.OK) || tt.says != "" && (len(r.Findings) == 0 || r.Findings[0].Code != tt.says) {
				t.Errorf("code %d, %+v", code, r)
			}
		})
	}
}

func TestDoctorRefusesNonsense(t *testing.T) {
	key := domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String()
	secret := secretFile(t, keyfile.NewSecret().RevealText())
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, cli.Usage, "--invite-file, or --scraper and --secret-file"},
		{[]string{"--scraper=" + key}, cli.Usage, "--secret-file"},
		{[]string{"--scraper=nonsense", "--secret-file=" + secret}, cli.Usage, "--scraper"},
		{[]string{"--scraper=" + key, "--secret-file=" + secret, "--timeout=soon"}, cli.Usage, "--timeout"},
		{[]string{"--scraper=" + key, "--secret-file=" + secret, "more"}, cli.Usage, "more"},
		{[]string{"--scraper=" + key, "--secret-file=/nowhere/secret"}, cli.Failed, "/nowhere/secret"},
		{[]string{"--help"}, cli.OK, ""},
	} {
		code, _, errs := doctorRuns(tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.says) {
			t.Errorf("%q: code %d, %q", tt.args, code, errs)
		}
	}
}
