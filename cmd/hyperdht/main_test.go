package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/node"
)

// private starts a private DHT that ends with the test. in adds the flags of a node in it to a command.
func private(t *testing.T) (in func(args ...string) []string) {
	t.Helper()
	dht, err := node.NewDHT(node.DHTConfig{})
	for tries := 0; err != nil && tries < 3; tries++ { // another test may have taken one of the free ports meanwhile
		dht, err = node.NewDHT(node.DHTConfig{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dht.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(args ...string) []string {
		cfg, err := dht.Config()
		if err != nil {
			t.Fatal(err)
		}
		return append(args, "--dht.bootstrap="+cfg.Bootstrap[0], "--dht.listen-address="+cfg.Listen.String(), "--log.level=error")
	}
}

// outcome is the exit code and the output of a command.
type outcome struct {
	code      int
	out, errs string
}

// does runs a command to its end.
func does(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := startWith(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

// succeeds is does for a command that succeeds, and returns its output without the last newline.
func succeeds(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	o := does(t, stdin, args...)
	if o.code != cli.OK || o.errs != "" {
		t.Fatalf("%q: code %d, %s", args, o.code, o.errs)
	}
	return strings.TrimSuffix(o.out, "\n")
}

// running is a command that runs until it is stopped.
type running struct {
	t    *testing.T
	out  *bufio.Reader
	stop context.CancelFunc
	errs said
	code chan int
}

// runs starts a command that the end of the test stops.
func runs(t *testing.T, stdin io.Reader, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	p := &running{t: t, out: bufio.NewReader(r), stop: stop, code: make(chan int, 1), errs: said{changed: make(chan struct{})}}
	go func() {
		code := startWith(ctx, args, stdin, w, &p.errs)
		_ = w.Close()
		p.code <- code
	}()
	t.Cleanup(func() {
		stop()
		_ = r.Close()
		if code := p.end(); code != cli.OK {
			t.Errorf("%q ended with code %d: %s", args, code, p.errs.String())
		}
	})
	return p
}

// line returns the next line of the output.
func (r *running) line() string {
	r.t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		r.t.Fatalf("%v after %q: %s", err, line, r.errs.String())
	}
	return strings.TrimSuffix(line, "\n")
}

// end waits until the command has ended, and returns its exit code.
func (r *running) end() int {
	code := <-r.code
	r.code <- code
	return code
}

// newKey makes a file with a seed, and returns the flag with it and the public key.
func newKey(t *testing.T) (flag, key string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "identity.seed")
	return "--identity.seed-file=" + file, succeeds(t, "", "keygen", file)
}

func TestWrongArgumentsGetOneLineAndTheRightCode(t *testing.T) {
	malformed := filepath.Join(t.TempDir(), "malformed")
	if err := os.WriteFile(malformed, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	// 32 bytes that are no point of the curve.
	const noKey = "0200000000000000000000000000000000000000000000000000000000000000"
	_, key := newKey(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nonsense"}, cli.Usage, "nonsense"},
		{[]string{"keygen"}, cli.Usage, "file"},
		{[]string{"keygen", malformed}, cli.Failed, malformed},
		{[]string{"announce"}, cli.Usage, "topic"},
		{[]string{"announce", "x"}, cli.Failed, "--identity.seed-file"},
		{[]string{"announce", "x", "--identity.seed-file=" + malformed}, cli.Failed, malformed},
		{[]string{"announce", "x", "--dht.bootstrap=x"}, cli.Usage, "--dht.bootstrap"},
		{[]string{"lookup", ""}, cli.Usage, "want a name or a hash"},
		{[]string{"lookup", "x", "--stun.server=none", "--stun.server=192.0.2.1:3478"}, cli.Usage, "--stun.server"},
		{[]string{"put", "x", "--seq=1"}, cli.Usage, "--mutable"},
		{[]string{"put", "x", "--mutable", "--seq=-1"}, cli.Usage, "whole number"},
		{[]string{"put", "x", "--mutable"}, cli.Failed, "--identity.seed-file"},
		{[]string{"put", strings.Repeat("x", valueSize+1)}, cli.Failed, "1000 bytes"},
		{[]string{"get", "x"}, cli.Usage, "64 hex digits or 52 z32 characters"},
		{[]string{"get", "--mutable", noKey}, cli.Usage, "not a valid one"},
		{[]string{"ping", "x"}, cli.Usage, "52 z32 characters, or IPv4 address and port"},
		{[]string{"ping", noKey}, cli.Usage, "not a valid one"},
		{[]string{"ping", "[::1]:1"}, cli.Usage, "192.0.2.1:49737"},
		{[]string{"ping", "127.0.0.1:0"}, cli.Usage, "192.0.2.1:49737"},
		{[]string{"pipe", "hunter2"}, cli.Usage, "passphrase: want the 52 letters and digits"},
		{[]string{"tunnel"}, cli.Usage, "command"},
		{[]string{"tunnel", "server"}, cli.Usage, "--target"},
		{[]string{"tunnel", "server", "--target=127.0.0.1"}, cli.Usage, "127.0.0.1:8080"},
		{[]string{"tunnel", "server", "--target=127.0.0.1:0"}, cli.Usage, "the port of the target"},
		{[]string{"tunnel", "server", "--target=127.0.0.1:70000"}, cli.Usage, "65535"},
		{[]string{"tunnel", "server", "--target=127.0.0.1:1", "--allow=x"}, cli.Usage, "--allow"},
		{[]string{"tunnel", "server", "--target=127.0.0.1:1", "--private", "--allow=" + key}, cli.Usage, "--allow"},
		{[]string{"tunnel", "server", "--target=127.0.0.1:1"}, cli.Failed, "--identity.seed-file"},
		{[]string{"tunnel", "client", key}, cli.Usage, "--listen-address"},
		{[]string{"tunnel", "client", "--listen-address=127.0.0.1:0"}, cli.Usage, "public key of the server"},
		{[]string{"tunnel", "client", "--listen-address=127.0.0.1:0", "--private", key}, cli.Usage, "not both"},
		{[]string{"tunnel", "client", "--listen-address=127.0.0.1:0", "--private"}, cli.Failed, "--identity.seed-file"},
		{[]string{"tunnel", "client", "--listen-address=127.0.0.1:0", "--max-connections=0", key}, cli.Usage, "--max-connections"},
		{[]string{"tunnel", "client", "--listen-address=unix:" + malformed, key}, cli.Failed, "--listen-address"},
	} {
		o := does(t, "", c.args...)
		if o.code != c.code || strings.Count(o.errs, "\n") != 1 || !strings.Contains(o.errs, c.says) {
			t.Errorf("%.80q: code %d, %q", c.args, o.code, o.errs)
		}
		if strings.Contains(o.errs+o.out, "hunter2") {
			t.Errorf("%q quotes a secret", c.args)
		}
	}
}

func TestHelpIsShownWithoutACommand(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}} {
		if got := succeeds(t, "", args...); !strings.Contains(got, "announce") || !strings.Contains(got, "--dht.bootstrap") {
			t.Errorf("%q: %s", args, got)
		}
	}
}

func TestKeygenCreatesAFileAndPrintsItsKey(t *testing.T) {
	flag, key := newKey(t)
	path := strings.TrimPrefix(flag, "--identity.seed-file=")
	seed, err := keyfile.Seed(path)
	if err != nil || domain.KeyPairFromSeed(seed).Public.String() != key {
		t.Errorf("%q, %v", key, err)
	}
	if keyfile.Exposed(path) {
		t.Error("others can read the file")
	}
}

func TestAnnouncedKeysAreFoundUntilTheEnd(t *testing.T) {
	in := private(t)
	flag, key := newKey(t)
	announcer := runs(t, nil, in("announce", "weather stations", flag)...)
	if got := announcer.line(); got != key {
		t.Errorf("announced %s", got)
	}
	topic, err := parseTopic("weather stations")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"weather stations", topic.String(), fmt.Sprintf("%x", topic.target[:])} {
		if got := succeeds(t, "", in("lookup", name)...); got != key {
			t.Errorf("%s: %s", name, got)
		}
	}
	announcer.stop()
	if code := announcer.end(); code != cli.OK {
		t.Errorf("announce ended with %d: %s", code, announcer.errs.String())
	}
	if o := does(t, "", in("lookup", "weather stations")...); o.code != cli.Failed || !strings.Contains(o.errs, topic.String()) {
		t.Errorf("after the end: %+v", o)
	}
}

func TestValuesAreStoredUnderHashesAndKeys(t *testing.T) {
	in := private(t)
	hash := succeeds(t, "", in("put", "hello")...)
	if got := succeeds(t, "", in("get", hash)...); got != "hello" {
		t.Errorf("got %q", got)
	}
	if got := succeeds(t, "not this", in("get", succeeds(t, "not this", in("put", "")...))...); got != "" {
		t.Errorf("got %q", got)
	}
	large := strings.Repeat("x", valueSize)
	if got := succeeds(t, "", in("get", succeeds(t, large, in("put")...))...); got != large {
		t.Errorf("the largest value came back with %d bytes", len(got))
	}

	flag, key := newKey(t)
	for i, value := range []string{"rain", "sun"} {
		if got, want := succeeds(t, "", in("put", "--mutable", flag, value)...), fmt.Sprintf("%s %d", key, i); got != want {
			t.Errorf("put: %q, want %q", got, want)
		}
	}
	if got := succeeds(t, "", in("get", "--mutable", key)...); got != "sun" {
		t.Errorf("got %q", got)
	}
	if got := succeeds(t, "", in("put", "--mutable", "--seq=7", flag, large)...); got != key+" 7" {
		t.Errorf("put: %q", got)
	}
	if o := does(t, "", in("put", "--mutable", "--seq=3", flag, "late")...); o.code != cli.Failed || !strings.Contains(o.errs, "sequence number 3") {
		t.Errorf("an old sequence number: %+v", o)
	}
	if o := does(t, "", in("get", key)...); o.code != cli.Failed || !strings.Contains(o.errs, "not found") {
		t.Errorf("an unknown hash: %+v", o)
	}
}

func TestPingMeasuresNodesAndServers(t *testing.T) {
	in := private(t)
	first := strings.TrimPrefix(in()[0], "--dht.bootstrap=")
	if got := succeeds(t, "", "ping", first, in()[1], "--log.level=error"); !strings.HasPrefix(got, "answer from "+first+": rtt=") || !strings.Contains(got, " seen-as=127.0.0.1:") {
		t.Errorf("a node: %q", got)
	}
}

func TestPingReportsAnAbsentNode(t *testing.T) {
	t.Parallel()
	in := private(t)
	listen := strings.TrimPrefix(in()[1], "--dht.listen-address=") // of no node
	if o := does(t, "", "ping", listen, in()[1], "--log.level=error"); o.code != cli.Failed || !strings.Contains(o.errs, "no answer from "+listen) {
		t.Errorf("%+v", o)
	}
}

// A machine may start before its network does: services wait for it, and other commands fail.
func TestServicesWaitForAnAbsentNetwork(t *testing.T) {
	t.Parallel()
	in := private(t)
	absent := netip.MustParseAddrPort(strings.TrimPrefix(in()[1], "--dht.listen-address="))
	of := func(args ...string) []string {
		return append(args, "--dht.bootstrap="+absent.String(), in()[1], "--log.level=error")
	}
	flag, key := newKey(t)
	announcer := runs(t, nil, of("announce", "x", flag)...)
	if o := does(t, "", of("lookup", "x")...); o.code != cli.Failed || !strings.Contains(o.errs, "NO_DHT_NODE") {
		t.Errorf("%+v", o)
	}
	dht, err := node.NewDHT(node.DHTConfig{Port: absent.Port(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dht.Close()
	if got := announcer.line(); got != key {
		t.Errorf("announced %s", got)
	}
	if got := succeeds(t, "", of("lookup", "x")...); got != key {
		t.Errorf("found %s", got)
	}
	announcer.stop()
	announcer.end()
}
