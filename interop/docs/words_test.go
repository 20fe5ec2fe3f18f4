package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notAnchor  = regexp.MustCompile(`[^a-z0-9 _-]`)
	ourFlag    = regexp.MustCompile(`--(?:no-)?([a-z]+(?:[.-][a-z]+)*)`)
	ourSetting = regexp.MustCompile(`\bDHTPROM_[A-Z_]+\b`)
)

// texts returns all entry pages.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range append(pages(t), "CHANGELOG.md", "SECURITY.md") {
		content, err := os.ReadFile(filepath.Join(process.Top(t), name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(content)
	}
	return all
}

// headings returns the anchors of a page.
func headings(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			found[strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")] = true
		}
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range texts(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			content, err := os.ReadFile(filepath.Join(process.Top(t), target))
			if info, dir := os.Stat(filepath.Join(process.Top(t), target)); dir == nil && info.IsDir() {
				err = nil
			}
			if err != nil || anchor != "" && !headings(string(content))[anchor] {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			}
		}
	}
}

// theirFlags are flags of external programs that pages mention.
var theirFlags = []string{
	"help-man", "build-arg", "entrypoint", "name", "volume", "publish", "network", "config.file", "web.listen-address", "web.config.file",
	"storage.tsdb.path", "now", "user-data-dir", "snapshot", "clean", "from-file", "config", "prefix", "client-cert-auth",
	"auto-compaction-mode", "auto-compaction-retention",
}

func TestPagesNameFlagsThatExist(t *testing.T) {
	var help strings.Builder
	for _, name := range []string{"dhtprom-client", "dhtprom-scraper", "hyperdht"} {
		help.WriteString(process.Run(t, process.Command{Path: name, Args: []string{"--help-man"}}))
		help.WriteString(process.Run(t, process.Command{Path: name, Args: []string{"--help-long"}}))
	}
	help.WriteString(process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"help", "alias", "list"}}))
	help.WriteString(process.Run(t, process.Command{Path: "hyperdht", Args: []string{"help", "pipe"}}))
	flags, settings := map[string]bool{}, map[string]bool{}
	for _, m := range ourFlag.FindAllStringSubmatch(help.String(), -1) {
		flags[m[1]] = true
	}
	for _, name := range ourSetting.FindAllString(help.String(), -1) {
		settings[name] = true
		rest := strings.TrimPrefix(name, "DHTPROM_")
		settings["DHTPROM_CLIENT_"+rest], settings["DHTPROM_SCRAPER_"+rest] = true, true // for one of the programs alone
	}
	for name, text := range texts(t) {
		for _, m := range ourFlag.FindAllStringSubmatch(text, -1) {
			if !flags[m[1]] && !slices.Contains(theirFlags, m[1]) {
				t.Errorf("%s: there is no flag --%s", name, m[1])
			}
		}
		for _, setting := range ourSetting.FindAllString(text, -1) {
			if !settings[setting] {
				t.Errorf("%s: there is no setting %s", name, setting)
			}
		}
	}
}
