package hosts_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestNamesThatASiteCanHaveAreRefused(t *testing.T) {
	names := hosts.New("scraper.example.org", "*.lab.example", "Metrics.Example.COM.")
	for _, c := range []struct {
		host            string
		loopback, local bool // accepted where the server is on loopback, and where others reach it
	}{
		{"127.0.0.1:30000", true, true},
		{"192.0.2.7", true, true},
		{"[::1]:30000", true, true},
		{"[fe80::1%25eth0]:1", true, true},
		{"", true, true},
		{"localhost", true, true},
		{"LOCALHOST.:30000", true, true},
		{"demo.localhost:1", true, true},
		{"scraper.example.org:30000", true, true},
		{"metrics.example.com", true, true},
		{"a.lab.example", true, true},
		{"a.b.lab.example:1", true, true},

		{"dhtprom-scraper:30000", false, true},
		{"dhtprom-scraper.monitoring.svc:30000", false, true},
		{"dhtprom-scraper.monitoring.svc.cluster.local", false, true},
		{"host.docker.internal:30000", false, true},
		{"pi.home.arpa", false, true},

		{"evil.example", false, false},
		{"evil.example:30000", false, false},
		{"lab.example", false, false},
		{"evillab.example", false, false},
		{"scraper.example.org.evil.example", false, false},
		{"localhost.evil.example", false, false},
		{"127.0.0.1.evil.example", false, false},
		{"notlocalhost.example", false, false},
		{"svc.evil.example:1", false, false},
		{"other.local", false, false},
		{"dhtprom-scraper.monitoring", false, false},
	} {
		if got := names.Accepts(c.host, hosts.ThisMachine); got != c.loopback {
			t.Errorf("%q on loopback: %v", c.host, got)
		}
		if got := names.Accepts(c.host, hosts.OtherMachines); got != c.local {
			t.Errorf("%q where others reach it: %v", c.host, got)
		}
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(own, ".")
	for _, host := range []string{own, own + ":30000", first, first + ".local"} {
		if !names.Accepts(host, hosts.ThisMachine) {
			t.Errorf("this machine's name %q was refused", host)
		}
	}
	if !hosts.New("*").Accepts("evil.example", hosts.ThisMachine) {
		t.Error("* does not turn the protection off")
	}
}

func TestFormOfNamesIsChecked(t *testing.T) {
	for text, ok := range map[string]bool{
		"scraper": true, "a.example": true, "*.example": true, "*": true, "A.example.": true, "192.0.2.1": true, "under_score": true,
		"": false, "a.example:30000": false, "http://a.example": false, "a b": false, "*.": false, "*a.example": false, "a.*": false, "a..b": false,
		".example": false, "**": false, "[::1]": false, "ü.example": false, strings.Repeat("a", 254): false,
	} {
		if _, err := hosts.Parse(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoopbackListenersAreTold(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "[::ffff:127.0.0.1]:1": true} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := hosts.ReachOf(a) == hosts.ThisMachine; got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if hosts.ReachOf(&net.UnixAddr{Name: "/x", Net: "unix"}) == hosts.ThisMachine {
		t.Error("a Unix socket is taken for a loopback address")
	}
}

func TestGuardSaysWhatToSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		served := 0
		g := &hosts.Guard{Names: hosts.New(), Log: slog.New(slog.NewTextHandler(&log, nil)), Exempt: func(r *http.Request) bool { return r.Header.Get("X-Known") != "" }}
		h := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), hosts.ThisMachine)
		ask := func(host string, change func(*http.Request)) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Host = host
			if change != nil {
				change(r)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		w := ask("evil.example:30000", nil)
		if w.Code != http.StatusMisdirectedRequest || served != 0 || !strings.Contains(w.Body.String(), "--web.allowed-host") || !strings.Contains(w.Body.String(), `"evil.example"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for range 1000 {
			ask("evil.example", nil)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || g.Refused() != 1001 {
			t.Errorf("%d refused, %d lines: %s", g.Refused(), n, log.String())
		}
		time.Sleep(time.Minute)
		ask(strings.Repeat("\n\x1b", 5000), nil)
		if !strings.Contains(log.String(), "suppressed=1000") || strings.Count(log.String(), "\n") != 2 || log.Len() > 3000 {
			t.Errorf("logged %s", log.String())
		}
		ask("evil.example", func(r *http.Request) { r.Header.Set("X-Known", "yes") })
		ask("evil.example", func(r *http.Request) { r.TLS = &tls.ConnectionState{} })
		ask("localhost", nil)
		if served != 3 {
			t.Errorf("%d served", served)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("Scraper.example.org.")
	f.Add("*.example.org")
	f.Add("*")
	f.Add(strings.Repeat("\x80", 2000))
	f.Fuzz(func(t *testing.T, text string) {
		var name string
		var err error
		cost.Parsing.Check(t, len(text), func() { name, err = hosts.Parse(text) })
		if err != nil {
			return
		}
		if again, err := hosts.Parse(name); err != nil || again != name {
			t.Errorf("%q is read as %q, and that as %q, %v", text, name, again, err)
		}
	})
}
