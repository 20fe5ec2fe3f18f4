package app_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

func TestEventLinesNameNoSourceFile(t *testing.T) {
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler {
			return slog.NewTextHandler(b, &slog.HandlerOptions{AddSource: true})
		},
		"JSON": func(b *bytes.Buffer) slog.Handler {
			return slog.NewJSONHandler(b, &slog.HandlerOptions{AddSource: true})
		},
	} {
		var out bytes.Buffer
		w := newWorld(t)
		app.LogEvents(w.loop, slog.New(handler(&out)))(domain.AliasesUpdated{Entries: 3})
		if !strings.Contains(out.String(), "aliases-updated") || strings.Contains(out.String(), "source") {
			t.Errorf("%s: %s", name, &out)
		}
	}
}

// logLines is a log and its number of lines by message.
type logLines struct{ bytes.Buffer }

func (l *logLines) count(message string) int {
	return strings.Count(l.String(), "msg="+message+" ") + strings.Count(l.String(), "msg="+message+"\n")
}

func key(n int) domain.PublicKey { return domain.PublicKey{byte(n), byte(n >> 8), byte(n >> 16), 1} }

// One scraper made a client write 39,267 lines in a second.
func TestPeerThatFloodsTheLogGetsAFewLinesAndASummary(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, nil)))
	flood := func() {
		for range 39267 {
			log(domain.MetricsError{Peer: domain.Peer{Key: key(7)}, Err: errors.New("page is too large")})
		}
		for range 3 {
			log(domain.MetricsError{Peer: domain.Peer{Key: key(8)}, Err: errors.New("another scraper")})
		}
	}
	flood()
	if n := out.count("metrics-error"); n != 13 || strings.Count(out.String(), "another scraper") != 3 {
		t.Errorf("%d lines, those of the quiet peer: %d", n, strings.Count(out.String(), "another scraper"))
	}
	w.loop.Advance(time.Minute)
	if want := "level=WARN msg=events-suppressed event=metrics-error suppressed=39257 in=1m0s peers=1 remote_key=" + key(7).String() + " of_this_key=39257\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("no summary %q at the end of %s", want, &out)
	}
	out.Reset()
	w.loop.Advance(time.Hour)
	if out.Len() > 0 {
		t.Errorf("a quiet hour is logged: %s", &out)
	}
	for range 10 {
		flood()
		w.loop.Advance(time.Minute)
	}
	if n := strings.Count(out.String(), "\n"); n > 70 {
		t.Errorf("%d lines of ten minutes of flood", n)
	}
}

// Keys are free, so a limit on each key bounds nothing.
func TestStrangersWithManyKeysFloodNoLog(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	n := 0
	flood := func() {
		for range 20000 {
			n++
			log(domain.FirewallBlock{RemoteKey: key(n)})
			log(domain.AliasUnauthorised{Peer: domain.Peer{Key: key(n)}})
			for _, side := range []domain.Side{domain.SideRegister, domain.SideScrape} {
				log(domain.ConnectionOpen{Side: side, Peer: domain.Peer{Key: key(n)}})
				log(domain.ConnectionError{Side: side, Peer: domain.Peer{Key: key(n)}})
				log(domain.ConnectionClose{Side: side, Peer: domain.Peer{Key: key(n)}})
			}
			log(domain.WriteAliasesError{What: "store", Err: errors.New("no space left on device")})
		}
	}
	flood()
	for message, want := range map[string]int{
		"firewall-block": 20, "alias-unauthorised": 20, "write-aliases-error": 20, "connection-open": 1000, "connection-error": 1000, "connection-close": 1000,
	} {
		if got := out.count(message); got != want {
			t.Errorf("%d lines %s, want %d", got, message, want)
		}
	}
	out.Reset()
	w.loop.Advance(time.Minute)
	if n, total := out.count("events-suppressed"), strings.Count(out.String(), "suppressed=19980 in=1m0s peers=0 of_other_keys=19980"); n != 9 || total != 3 {
		t.Errorf("the summary is %s", &out)
	}
	out.Reset()
	flood()
	if n := strings.Count(out.String(), "\n"); n > 6*120+3*6 {
		t.Errorf("%d lines of another minute", n)
	}
}

func TestManyHonestPeersAreLogged(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, nil)))
	for hour := range 3 {
		for n := range 5000 { // each registers once an hour
			log(domain.AliasSuccess{Peer: domain.Peer{Key: key(n)}})
			w.loop.Advance(time.Hour / 5000)
		}
		if got := out.count("alias-success"); got != 5000*(hour+1) || out.count("events-suppressed") > 0 {
			t.Fatalf("%d lines after %d h", got, hour+1)
		}
	}
}

func TestOperatorsChangesAreAllLogged(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, nil)))
	for range 2000 {
		log(domain.AliasPinned{})
		log(domain.AliasForgotten{})
		log(domain.SecretsChanged{})
	}
	if n := strings.Count(out.String(), "\n"); n != 6000 {
		t.Errorf("%d lines", n)
	}
}

// Events below the level of the log use no tokens of those above it.
func TestEventsThatAreNotLoggedAreNotCounted(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, nil)))
	for range 1000 {
		log(domain.MetricsRequest{Peer: domain.Peer{Key: key(1)}})
	}
	w.loop.Advance(2 * time.Minute)
	if out.Len() > 0 {
		t.Errorf("logged: %s", &out)
	}
}

func TestListenersOfOneLogShareItsLimits(t *testing.T) {
	var out logLines
	w := newWorld(t)
	log := app.NewEventLog(w.loop, slog.New(slog.NewTextHandler(&out, nil)))
	a, b := log.Listener("client", "a"), log.Listener("client", "b")
	for range 100 {
		a(domain.MetricsError{Peer: domain.Peer{Key: key(1)}})
		b(domain.MetricsError{Peer: domain.Peer{Key: key(1)}})
	}
	if got := out.count("metrics-error"); got != 10 || strings.Count(out.String(), "client=a") != 5 {
		t.Errorf("%d lines: %s", got, &out)
	}
}
