package tool

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// runAxe reports the violations of WCAG 2.2, levels A and AA, with the first elements of each, and the number of rules that passed.
const runAxe = `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations'] }).then(r => JSON.stringify({
  passes: r.passes.length,
  violations: r.violations.map(v => v.id + ': ' + v.help + ', at ' + v.nodes.length + ' elements, such as ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + n.any.map(c => c.message).join(' ')).join(' and '))
}))`

// Violations returns the violations of accessibility rules that axe-core, one of the packages of jspeer, finds in the page.
// Without node the test is skipped or fails, as jspeer.Require does.
func (p *Page) Violations() []string {
	p.t.Helper()
	script, err := os.ReadFile(filepath.Join(jspeer.Require(p.t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Eval(string(script) + "; true")
	var found struct {
		Passes     int
		Violations []string
	}
	if err := json.Unmarshal([]byte(p.Eval(runAxe)), &found); err != nil {
		p.t.Fatal(err)
	}
	if found.Passes == 0 {
		p.t.Fatal("no rule of axe-core applies to the page")
	}
	return found.Violations
}
