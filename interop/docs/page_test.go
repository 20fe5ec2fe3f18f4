package docs

import (
	"reflect"
	"strings"
	"testing"
)

const page = `# A page

<!-- setup: touch x -->
<!-- start scraper: Ready -->
` + "```sh\nserve\n```" + `

Text.

<!-- run -->
` + "```sh\nls\ncat x\n```\n\n```text\nnot checked\n```" + `
<!-- not run: it needs another machine -->
` + "```sh\nssh far\n```" + `
<!-- stop scraper -->
`

func TestPagesAreStepsInOrder(t *testing.T) {
	got, err := parse("page.md", page)
	want := []Step{
		{Line: 3, Do: "setup", Argument: "touch x"},
		{Line: 4, Do: "start", Name: "scraper", Argument: "Ready", Text: "serve\n"},
		{Line: 11, Do: "run", Text: "ls\ncat x\n"},
		{Line: 24, Do: "stop", Name: "scraper"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
}

func TestUncheckedBlocksAreRejected(t *testing.T) {
	for name, text := range map[string]string{
		"a block without a directive": "```sh\nrm -r /\n```\n",
		"a directive without a block": "<!-- run -->\nText.\n",
		"two directives":              "<!-- run -->\n<!-- run -->\n```sh\n```\n",
		"an unknown directive":        "<!-- rum -->\n```sh\n```\n",
		"an open block":               "<!-- run -->\n```sh\n",
		"a directive at the end":      "<!-- run -->\n",
	} {
		if steps, err := parse("page.md", text); err == nil || !strings.Contains(err.Error(), "page.md:") {
			t.Errorf("%s: %v, %v", name, steps, err)
		}
	}
}
