package tool_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/tool"
)

func TestViolationsAreFoundInABadPage(t *testing.T) {
	b := tool.StartBrowser(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html><head><title>Bad</title></head><body><main><p style="color:#999;background:#fff">Pale</p><button></button></main></body></html>`))
	}))
	t.Cleanup(s.Close)
	found := strings.Join(b.Open(s.URL, tool.Look{Width: 800, Height: 600}).Violations(), "\n")
	for _, rule := range []string{"html-has-lang", "color-contrast", "button-name"} {
		if !strings.Contains(found, rule+": ") {
			t.Errorf("%s is not reported:\n%s", rule, found)
		}
	}
}
