package web_test

import (
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// What the page of the node offers to copy is valid and has the addresses of this scraper.
func TestSnippetsOfTheNodeCanBePasted(t *testing.T) {
	promtool := tool.Require(t, "promtool")
	const command = "dhtprom-client --scraper=KEY --secret-file=FILE"
	at := httptestServer(t, handlerWith(t, newLoop(t), newScraper(), func(c *web.Config) { c.ClientCommand = command }))
	_, page := get(t, at+"/node")
	found := regexp.MustCompile(`(?s)<pre[^>]*><code>(.*?)</code></pre>`).FindAllStringSubmatch(page, -1)
	if len(found) != 2 {
		t.Fatalf("%d snippets", len(found))
	}
	config, client := html.UnescapeString(found[0][1]), html.UnescapeString(found[1][1])
	if client != command {
		t.Errorf("the client is started by %q", client)
	}
	if !regexp.MustCompile(`url: '?` + regexp.QuoteMeta(at) + `/sd/prometheus`).MatchString(config) {
		t.Errorf("%s is not in\n%s", at, config)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "config", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, config)
	}
}
