package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/members"
	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrape"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

var groupSeed = domain.SeedFrom([32]byte{7})

// serveMember serves a scraper that is in a group, below a prefix.
func serveMember(t *testing.T, s *scraper) (*httptest.Server, *web.Handler) {
	t.Helper()
	prefix := "/below"
	s.group = domain.Group{Self: "1", Leader: "1", Members: []domain.Member{{ID: "1", Name: "b"}}, Connected: true}
	h := handlerWith(t, newLoop(t), s, func(c *web.Config) {
		c.Members, c.RoutePrefix = passon.NewKey(groupSeed), &prefix
		c.Authenticated = func(*http.Request) bool { return true } // as with passwords, which members need none of
	})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server, h
}

// passTo passes a scrape of an alias on to a member.
func passTo(t *testing.T, server *httptest.Server, alias domain.Alias, r domain.ScrapeRequest) (*scrapeio.Response, string, error) {
	t.Helper()
	l := make(loop, 1024) // stays open: a cancelled request ends later
	go func() {
		for f := range l {
			f()
		}
	}()
	m := members.New(members.Config{Loop: l, Seed: groupSeed})
	t.Cleanup(m.Close)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	res, err := scrapeio.Open(ctx, l, func(h ports.ScrapeHandlers) ports.Scrape {
		return m.Source(domain.Member{Name: "b", URL: server.URL + "/below"}, alias).Scrape(r, h)
	})
	if err != nil {
		return nil, "", err
	}
	defer res.Close()
	body, err := io.ReadAll(res)
	return res, string(body), err
}

func TestMembersPassScrapesOn(t *testing.T) {
	s := newScraper()
	page := strings.Repeat("a_metric 1\n", 1<<16)
	s.bodies["my web"] = page
	s.bodies["teapot"], s.answers["teapot"] = "", scrape.Page{ScrapeHead: domain.ScrapeHead{Status: 418, ContentType: "text/x", Length: 5}, Body: []byte("short")}
	server, _ := serveMember(t, s)
	header := []domain.HeaderField{{Name: "Accept", Value: "text/plain"}, {Name: "Authorization", Value: "Bearer x"}}
	_, body, err := passTo(t, server, "my web", domain.ScrapeRequest{Within: 4 * time.Second, Query: "a=1", Header: header})
	if err != nil || body != page {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	if within := <-s.within; within > 4*time.Second || within < 3*time.Second {
		t.Errorf("the other member takes %s", within)
	}
	asked := s.asked
	asked.Header = slices.DeleteFunc(asked.Header, func(f domain.HeaderField) bool { return !slices.Contains(header, f) })
	if !asked.PassedOn || asked.Query != "a=1" || !slices.Equal(asked.Header, header) || s.asked.Field("Dhtprom-Authorization") != "" {
		t.Errorf("asked for %+v", s.asked)
	}
	if res, body, err := passTo(t, server, "teapot", domain.ScrapeRequest{Within: 4 * time.Second}); err != nil || res.Status != 418 || body != "short" {
		t.Errorf("the status of an exporter: %q, %v", body, err)
	}
	s.errs["failing"] = &domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter refused the connection"}
	var failed *domain.ScrapeError
	if _, _, err := passTo(t, server, "failing", domain.ScrapeRequest{Within: 4 * time.Second}); !errors.As(err, &failed) || failed.Fault != domain.FaultExporter {
		t.Errorf("the failure of an exporter: %v", err)
	}
	if _, _, err := passTo(t, server, "unknown", domain.ScrapeRequest{Within: 4 * time.Second}); !errors.Is(err, domain.ErrNoAnswer) {
		t.Errorf("an alias that the other does not know: %v", err)
	}
	s.silent["slow"] = true
	if _, _, err := passTo(t, server, "slow", domain.ScrapeRequest{Within: time.Second}); !errors.Is(err, domain.ErrTimeout) || errors.Is(err, domain.ErrNoAnswer) {
		t.Errorf("a client that takes too long: %v", err)
	}
	s.loading = true
	if _, _, err := passTo(t, server, "my web", domain.ScrapeRequest{Within: time.Second}); !errors.Is(err, domain.ErrNoAnswer) {
		t.Errorf("a member without its table: %v", err)
	}
}

// signed returns the Authorization of a member for a request.
func signed(seed domain.Seed, method, path, query string) string {
	r, _ := http.NewRequest(method, "http://b/?"+query, nil)
	passon.NewKey(seed).Sign(r, path)
	return r.Header.Get("Authorization")
}

func TestForgedRequestsOfMembersAreRejected(t *testing.T) {
	s := newScraper()
	s.bodies["web"], s.bodies["db"] = "metrics\n", "metrics\n"
	server, _ := serveMember(t, s)
	valid := signed(groupSeed, "GET", "/scrape/web/metrics", "")
	if res, _ := get(t, server.URL+"/below/scrape/web/metrics", "Authorization", valid); res.StatusCode != http.StatusOK {
		t.Fatalf("a valid request: %d", res.StatusCode)
	}
	rejected := 0
	for name, c := range map[string]struct{ method, path, authorization string }{
		"another seed":   {"GET", "/below/scrape/web/metrics", signed(domain.SeedFrom([32]byte{8}), "GET", "/scrape/web/metrics", "")},
		"another alias":  {"GET", "/below/scrape/db/metrics", valid},
		"another query":  {"GET", "/below/scrape/web/metrics?x", valid},
		"another method": {"HEAD", "/below/scrape/web/metrics", valid},
		"signed HEAD":    {"HEAD", "/below/scrape/web/metrics", signed(groupSeed, "HEAD", "/scrape/web/metrics", "")},
		"the prefix too": {"GET", "/below/scrape/web/metrics", signed(groupSeed, "GET", "/below/scrape/web/metrics", "")},
		"another page":   {"GET", "/below/api/v1/aliases", signed(groupSeed, "GET", "/api/v1/aliases", "")},
		"discovery":      {"GET", "/below/sd/prometheus", signed(groupSeed, "GET", "/sd/prometheus", "")},
		"a change":       {"DELETE", "/below/api/v1/aliases/web", signed(groupSeed, "DELETE", "/api/v1/aliases/web", "")},
		"outside":        {"GET", "/scrape/web/metrics", valid},
		"lower case":     {"GET", "/below/scrape/web/metrics", "dhtprom-group " + strings.Repeat("00", 32)},
		"empty":          {"GET", "/below/scrape/web/metrics", "Dhtprom-Group "},
		"huge":           {"GET", "/below/scrape/web/metrics", "Dhtprom-Group " + strings.Repeat("ab", 200<<10)},
	} {
		res, body := do(t, c.method, server.URL+c.path, "Authorization", c.authorization)
		if rejected++; res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
	}
	if len(s.did) > 0 {
		t.Errorf("did %v", s.did)
	}
	if _, body := get(t, server.URL+"/below/metrics"); !strings.Contains(body, fmt.Sprintf("\ndhtprom_group_requests_rejected_total %d\n", rejected)) {
		t.Errorf("%d rejected requests are not counted", rejected)
	}
	if res, _ := get(t, server.URL+"/below/scrape/web/metrics", "Dhtprom-Outcome", "answered"); res.StatusCode != 200 || s.asked.PassedOn || res.Header.Get("Dhtprom-Outcome") != "" {
		t.Errorf("the scrape of another caller: %d, %+v", res.StatusCode, s.asked)
	}
}

// Without a group, such an Authorization means nothing.
func TestWithoutAGroupNoMemberIsKnown(t *testing.T) {
	s := newScraper()
	s.bodies["web"] = "metrics\n"
	res, _ := get(t, scrapeURL(serve(t, s), "web"), "Authorization", signed(domain.SeedFrom([32]byte{}), "GET", "/scrape/web/metrics", ""))
	if res.StatusCode != http.StatusOK || s.asked.PassedOn {
		t.Errorf("%d, passed on %v", res.StatusCode, s.asked.PassedOn)
	}
}

func TestAScraperThatStopsIsNotReady(t *testing.T) {
	s := newScraper()
	s.bodies["web"] = "metrics\n"
	server, h := serveMember(t, s)
	if res, _ := get(t, server.URL+"/below/-/ready"); res.StatusCode != http.StatusOK {
		t.Fatalf("not ready: %d", res.StatusCode)
	}
	h.Drain()
	for path, want := range map[string]int{"/-/ready": 503, "/-/healthy": 200, "/scrape/web/metrics": 200, "/sd/prometheus": 200} {
		if res, body := get(t, server.URL+"/below"+path); res.StatusCode != want {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
}
