package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
)

const yes = "yes"

func adminServer(t *testing.T, s *scraper, change func(*web.Config)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handlerWith(t, newLoop(t), s, func(c *web.Config) {
		c.Authenticated = func(r *http.Request) bool { return r.Header.Get("X-Test-Authenticated") == yes }
		if change != nil {
			change(c)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestChangesNeedAnIdentityOrTheOperatorsWord(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	closed, open := adminServer(t, s, nil), adminServer(t, s, func(c *web.Config) { c.Lifecycle = true })
	asked := func(server *httptest.Server, header ...string) int {
		t.Helper()
		res, _ := do(t, http.MethodDelete, server.URL+"/api/v1/aliases/down", header...)
		return res.StatusCode
	}
	for _, c := range []struct {
		name   string
		server *httptest.Server
		header []string
		code   int
	}{
		{"unauthenticated", closed, nil, 403},
		{"authenticated", closed, []string{"X-Test-Authenticated", yes}, 200},
		{"unauthenticated at an open server", open, nil, 200},
		{"another site's script", open, []string{"Origin", "https://evil.example"}, 403},
		{"another site's script in a browser that reports it", open, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another site's script of an authenticated user", closed, []string{"X-Test-Authenticated", yes, "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if code := asked(c.server, c.header...); code != c.code {
			t.Errorf("%s: %d, want %d", c.name, code, c.code)
		}
	}
	// A site may point its own name at this machine, and then its scripts are of the same origin.
	req, _ := http.NewRequest(http.MethodDelete, open.URL+"/api/v1/aliases/down", nil)
	for host, code := range map[string]int{"evil.example": 403, "evil.example:30000": 403, "localhost:30000": 200, "[::1]:1": 200} {
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != code {
			t.Errorf("under %s: %d", host, res.StatusCode)
		}
	}
	if n := len(s.did); n != 4 {
		t.Errorf("%d changes: %v", n, s.did)
	}
}

func TestAliasesAreForgottenAndPinned(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	key := domain.PublicKey{7}
	s.pins = []domain.Pin{{Alias: "down", Key: key}}
	server := adminServer(t, s, func(c *web.Config) { c.Lifecycle = true })
	odd := url.PathEscape("a:b/<c>")
	for _, c := range []struct {
		method, path string
		code         int
		did, says    string
	}{
		{"DELETE", "/api/v1/aliases/" + odd, 200, "forget a:b/<c>", ""},
		{"DELETE", "/api/v1/aliases/~a~3ab~2f~3cc~3e", 200, "forget a:b/<c>", ""},
		{"PUT", "/api/v1/pins/~~2e~2e", 200, "pin ~~2e~2e " + domain.PublicKey{}.Short(), ""},
		{"PUT", "/api/v1/pins/~.~2e~2fx", 200, "pin ../x " + domain.PublicKey{}.Short(), ""},
		{"DELETE", "/api/v1/pins/~down", 404, "unpin ~down", ""},
		{"DELETE", "/api/v1/aliases/other", 404, "forget other", "no such alias"},
		{"PUT", "/api/v1/pins/" + odd, 200, "pin a:b/<c> " + domain.PublicKey{}.Short(), ""},
		{"PUT", "/api/v1/pins/x?key=" + key.String(), 200, "pin x " + key.Short(), key.String()},
		{"PUT", "/api/v1/pins/x?key=nonsense", 400, "", "key: "},
		{"DELETE", "/api/v1/pins/down", 200, "unpin down", ""},
		{"DELETE", "/api/v1/pins/other", 404, "unpin other", "no such pin"},
		{"GET", "/api/v1/aliases/down", 405, "", "DELETE"},
		{"POST", "/api/v1/pins/down", 405, "", "PUT, DELETE"},
		{"PU", "/api/v1/pins/down", 405, "", "PUT, DELETE"},
		{"ELETE", "/api/v1/aliases/down", 405, "", "DELETE"},
		{"delete", "/api/v1/aliases/down", 405, "", "DELETE"},
		{"POST", "/-/reload", 404, "", ""},
	} {
		s.did = nil
		res, body := do(t, c.method, server.URL+c.path)
		if res.StatusCode != c.code || !strings.Contains(body, c.says) || c.did != "" && !slices.Equal(s.did, []string{c.did}) || c.did == "" && s.did != nil {
			t.Errorf("%s %s: %d %s, did %v", c.method, c.path, res.StatusCode, body, s.did)
		}
	}
	if _, body := get(t, server.URL+"/api/v1/pins"); !strings.Contains(body, `"alias":"down","publicKey":"`+key.String()+`"`) {
		t.Errorf("pins: %s", body)
	}
	for err, code := range map[error]int{domain.ErrUnknownAlias: 404, domain.ErrName: 400, errors.New("disk full"): 500} {
		s.changeErr = err
		if res, body := do(t, "PUT", server.URL+"/api/v1/pins/x"); res.StatusCode != code || !strings.Contains(body, err.Error()) {
			t.Errorf("%v: %d %s", err, res.StatusCode, body)
		}
	}
}

func TestReloadIsAskedFor(t *testing.T) {
	var failure error
	reloads := 0
	server := adminServer(t, newScraper(), func(c *web.Config) {
		c.Lifecycle = true
		c.Reload = func() error { reloads++; return failure }
	})
	if res, body := do(t, "POST", server.URL+"/-/reload"); res.StatusCode != 200 || body != "Reloaded\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if res, _ := get(t, server.URL+"/-/reload"); res.StatusCode != 405 || reloads != 1 {
		t.Errorf("GET: %d", res.StatusCode)
	}
	failure = errors.New("secret file x: no such file")
	if res, body := do(t, "PUT", server.URL+"/-/reload"); res.StatusCode != 500 || !strings.Contains(body, "no such file") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// closedLoop is the loop of a closed host, which runs nothing.
type closedLoop struct{}

func (closedLoop) Post(func()) {}
func (closedLoop) Closed() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}

func TestRequestsEndWithTheHost(t *testing.T) {
	server := adminServer(t, newScraper(), func(c *web.Config) { c.Loop, c.Lifecycle = closedLoop{}, true })
	for path, method := range map[string]string{"/-/ready": "GET", "/sd/prometheus": "GET", "/api/v1/pins": "GET", "/api/v1/aliases/down": "DELETE"} {
		if res, body := do(t, method, server.URL+path); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "shutting down") {
			t.Errorf("%s %s: %d %s", method, path, res.StatusCode, body)
		}
	}
}
