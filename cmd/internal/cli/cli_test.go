package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

func TestEnvironmentTwinsReplaceDotsAndDashes(t *testing.T) {
	for flag, want := range map[string]string{
		"storage.path": "DHTPROM_STORAGE_PATH", "web.listen-address": "DHTPROM_WEB_LISTEN_ADDRESS", "log.level": "DHTPROM_LOG_LEVEL",
	} {
		if got := cli.EnvName(flag); got != want {
			t.Errorf("%s: %s", flag, got)
		}
	}
}

// parsed is a program with a flag of each kind.
type parsed struct {
	app   *cli.App
	wait  time.Duration
	nodes []string
	plain string
	out   bytes.Buffer
}

func newParsed() *parsed {
	p := &parsed{}
	p.app = cli.New("prog", "A program.", &p.out)
	p.app.Flag("wait.time", "x").Default("1h").SetValue(cli.Value("wait.time", &p.wait, cli.Duration(time.Second)))
	p.app.Flag("dht.bootstrap", "x").SetValue(cli.List("dht.bootstrap", &p.nodes, cli.Bootstrap))
	p.app.Command("run", "x").Default().Flag("plain", "x").StringVar(&p.plain)
	return p
}

func TestFlagBeatsEnvironmentBeatsDefault(t *testing.T) {
	p := newParsed()
	if command, err := p.app.Parse(nil); err != nil || command != "run" || p.wait != time.Hour {
		t.Errorf("default: %s, %s, %v", command, p.wait, err)
	}
	t.Setenv("DHTPROM_WAIT_TIME", "5m")
	t.Setenv("DHTPROM_DHT_BOOTSTRAP", "a.example:1,b.example:2\n49737")
	t.Setenv("DHTPROM_PLAIN", "from env")
	p = newParsed()
	if _, err := p.app.Parse(nil); err != nil || p.wait != 5*time.Minute || p.plain != "from env" || fmt.Sprint(p.nodes) != "[a.example:1 b.example:2 127.0.0.1:49737]" {
		t.Errorf("environment: %s, %q, %v, %v", p.wait, p.plain, p.nodes, err)
	}
	p = newParsed()
	if _, err := p.app.Parse([]string{"--wait.time=1d", "--dht.bootstrap=c.example:3", "--dht.bootstrap=d.example:4"}); err != nil || p.wait != 24*time.Hour || len(p.nodes) != 2 {
		t.Errorf("flags: %s, %v, %v", p.wait, p.nodes, err)
	}
}

// An image with two programs has an environment for both.
func TestVariablesOfOneProgramAreNotReadByOthers(t *testing.T) {
	t.Setenv("PROG_PLAIN", "of this program")
	t.Setenv("OTHER_PLAIN", "of another")
	t.Setenv("PROG_WAIT_TIME", "5m")
	t.Setenv("DHTPROM_WAIT_TIME", "6m")
	p := newParsed()
	if _, err := p.app.Parse(nil); err != nil || p.plain != "of this program" || p.wait != 6*time.Minute {
		t.Errorf("%q, %s, %v", p.plain, p.wait, err)
	}
}

func TestErrorsNameTheFlagWhereverTheValueComesFrom(t *testing.T) {
	for _, args := range [][]string{{"--wait.time=soon"}, {"--log.level=loud"}, {"--log.format=xml"}, {"--dht.bootstrap=x"}} {
		flag, _, _ := strings.Cut(args[0], "=")
		_, err := newParsed().app.Parse(args)
		if err == nil || !strings.Contains(err.Error(), flag) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
	t.Setenv("DHTPROM_WAIT_TIME", "soon")
	if _, err := newParsed().app.Parse(nil); err == nil || !strings.Contains(err.Error(), "--wait.time: want") || !strings.Contains(err.Error(), "DHTPROM_WAIT_TIME in the environment") {
		t.Errorf("from the environment: %v", err)
	}
	if _, err := newParsed().app.Parse([]string{"--wait.time=later"}); err == nil || strings.Contains(err.Error(), "environment") {
		t.Errorf("from a flag: %v", err)
	}
}

// Kubernetes gives every pod the addresses of its neighbours, in variables that are called after their services.
func TestServiceLinksOfKubernetesAreNoSettings(t *testing.T) {
	const link = "tcp://10.96.0.1:30000"
	t.Setenv("DHTPROM_WAIT_TIME", link)
	t.Setenv("PROG_PLAIN", link)
	p := newParsed()
	if _, err := p.app.Parse(nil); err != nil || p.wait != time.Hour || p.plain != "" {
		t.Errorf("%s, %q, %v", p.wait, p.plain, err)
	}
	t.Setenv("DHTPROM_PLAIN", link)
	t.Setenv("PROG_WAIT_TIME", "5m")
	p = newParsed()
	if _, err := p.app.Parse(nil); err != nil || p.wait != 5*time.Minute || p.plain != "" {
		t.Errorf("beside settings: %s, %q, %v", p.wait, p.plain, err)
	}
}

func TestHelpAndVersionEndWell(t *testing.T) {
	for _, arg := range []string{"--help", "-h", "--version"} {
		p := newParsed()
		_, err := p.app.Parse([]string{arg})
		if !errors.Is(err, cli.ErrHelpShown) || cli.Exit("prog", err, io.Discard) != cli.OK || !strings.Contains(p.out.String(), "prog") {
			t.Errorf("%s: %v %q", arg, err, p.out.String())
		}
	}
}

func TestExitSaysOneLine(t *testing.T) {
	var out bytes.Buffer
	err := errors.Join(errors.New("first\r\nthing"), errors.New("second"))
	if code := cli.Exit("prog", err, &out); code != cli.Failed || out.String() != "prog: error: first; thing; second\n" {
		t.Errorf("%d %q", code, out.String())
	}
	out.Reset()
	if code := cli.Exit("prog", &cli.UsageError{Err: err}, &out); code != cli.Usage || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "--help") {
		t.Errorf("%d %q", code, out.String())
	}
}

func TestValuesAreReadOrRefused(t *testing.T) {
	duration, number := cli.Duration(time.Second), cli.Int(1, 10)
	for _, c := range []struct {
		kind  string
		read  func(string) (any, error)
		good  map[string]string
		wrong []string
	}{
		{"duration", func(s string) (any, error) { return duration(s) },
			map[string]string{"90s": "1m30s", "1h30m": "1h30m0s", "1d": "24h0m0s", "1.5h": "1h30m0s", "2w": "336h0m0s"},
			[]string{"", "soon", "5", "-1h", "10ms", "1e9h"}},
		{"bootstrap", func(s string) (any, error) { return cli.Bootstrap(s) },
			map[string]string{
				"49737": "127.0.0.1:49737", ":49737": "127.0.0.1:49737", "node1.example:1": "node1.example:1",
				"1.2.3.4@node1.example:49737": "1.2.3.4@node1.example:49737",
			},
			[]string{"", "x", "x:", "x:0", "x:65536", "x:port", "0", "65536", "-1", "[::1]:1", "http://x:1", "a b:1", "x@y:1", "1.2.3.4@:1"}},
		{"listen", func(s string) (any, error) { return cli.ListenAddr(s) },
			map[string]string{"0.0.0.0:0": "0.0.0.0:0", ":49737": "0.0.0.0:49737", "127.0.0.1:1": "127.0.0.1:1"},
			[]string{"", "49737", "[::]:0", "host:1", "1.2.3.4", "1.2.3.4:99999"}},
		{"IPv4", func(s string) (any, error) { return cli.IPv4(s) }, map[string]string{"192.0.2.1": "192.0.2.1"}, []string{"", "::1", "0.0.0.0", "host", "1.2.3"}},
		{"number", func(s string) (any, error) { return number(s) }, map[string]string{"1": "1", "10": "10"}, []string{"", "0", "11", "x", "1.5"}},
		{"TCP", func(s string) (any, error) { return cli.TCPAddr(s) },
			map[string]string{":0": ":0", "[::1]:9100": "[::1]:9100", "localhost:1": "localhost:1", "vsock://:1": "vsock://:1"},
			[]string{"", "x", "30000", ":port", ":99999", "http://x:1/"}},
	} {
		for in, want := range c.good {
			if got, err := c.read(in); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s %q: %v, %v", c.kind, in, got, err)
			}
		}
		for _, in := range c.wrong {
			if got, err := c.read(in); err == nil {
				t.Errorf("%s %q was read as %v", c.kind, in, got)
			}
		}
	}
}

func TestLinesNameTheirSourceUnlessTheyHaveNone(t *testing.T) {
	for _, format := range []string{"logfmt", "json"} {
		p := newParsed()
		if _, err := p.app.Parse([]string{"--log.format=" + format}); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log := p.app.Logger(&out).With("a", 1)
		log.Info("here")
		if !strings.Contains(out.String(), "cli_test.go:") {
			t.Errorf("%s: %s", format, &out)
		}
		out.Reset()
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "anywhere", 0)
		r.AddAttrs(slog.Duration("took", time.Second))
		if err := log.Handler().Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "source") || !strings.Contains(text, "1s") || !strings.Contains(text, "anywhere") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// A secret that was pasted into the wrong flag must not end up in a log.
func TestWhatIsNoKeyIsNotQuoted(t *testing.T) {
	for _, none := range []string{"02" + strings.Repeat("00", 31), "01" + strings.Repeat("00", 31)} { // no point, and one of small order
		if _, err := cli.Key(none); err == nil || !strings.Contains(err.Error(), "is not a valid one") || strings.Contains(err.Error(), none) {
			t.Errorf("%s: %v", none, err)
		}
	}
	if _, err := cli.Key("hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestHelpEndsWellWhenItsReaderHasExited(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	a := cli.New("prog", "Help.", w)
	if _, err := a.Parse([]string{"--help"}); !errors.Is(err, cli.ErrHelpShown) {
		t.Error(err)
	}
}
