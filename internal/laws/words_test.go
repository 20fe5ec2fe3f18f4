package laws

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// turns are turns of phrase that are not technical English, each with a replacement. Comments, string literals of shipped code,
// names of declarations and documents must not contain them.
var turns = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(nobody|somebody|anybody|everybody|whoever|whom|whomever)\b`), "name the peer, caller, user, packet"},
	{regexp.MustCompile(`(?i)\b(he|she|him|his|her|hers)\b`), "they, or name the role"},
	{regexp.MustCompile(`\b(is|are|was|were|be|been|being|gets?|not) told\b`), "is called, is notified, receives"},
	{regexp.MustCompile(`\b[Hh]ears?\b`), "receives, is notified"},
	{regexp.MustCompile(`\b(ours|theirs|Ours|Theirs)\b`), "name the side: local, remote, this node's, the peer's"},
	{regexp.MustCompile(`\b[Ww]ho\b`), "that; name the thing"},
	{regexp.MustCompile(`(//|#) \S+ (is|are) (what|who|how|where|when|whether|why|that|as)\b`), "define it by a noun: Measurement is one row of the report"},
	{regexp.MustCompile(`(//|#) \S+ (says (what|that|how|which|where|whether)|tells)\b`), "returns, reports, is"},
	{regexp.MustCompile(`\banew\b`), "again"},
	{regexp.MustCompile(`\b[Ff]or ever\b`), "indefinitely, forever"},
	{regexp.MustCompile(`\bin vain\b`), "without success"},
	{regexp.MustCompile(`\b(of|no) use\b`), "useless, unused"},
	{regexp.MustCompile(`\bthere twice\b`), "duplicate"},
	{regexp.MustCompile(`\b[Tt]he originals?\b`), "the reference implementation, hyperdht"},
	{regexp.MustCompile(`\b(let|lets|letting) go of\b`), "releases, closes"},
	{regexp.MustCompile(`\b(make|makes|made|making) (no |any )?sense\b`), "malformed, invalid"},
	{regexp.MustCompile(`\b(say|says|said|saying|tell|tells) so\b`), "reports it"},
	{regexp.MustCompile(`\b([Jj]ust now|by and by|[Bb]eforehand)\b`), "name the time"},
	{regexp.MustCompile(`\b(in|with) words\b`), "with an error, in the log"},
	{regexp.MustCompile(`\bluck(y|ily)?\b`), "randomness, chance"},
	{regexp.MustCompile(`\b(is|are) well\b`), "is healthy, works"},
	{regexp.MustCompile(`\btakes? (it|them) out\b|\btaken out\b`), "removes"},
	{regexp.MustCompile(`\btrouble\b`), "fault, error"},
}

// People may be "who": they are not things.
var people = regexp.MustCompile(`(?i)\b(users?|operators?|people|anyone|someone|everyone|attackers?|developers?|maintainers?|contributors?|authors?|readers?|newcomers?|those) (\([^)]*\) )?who\b`)

// names are words that names of declarations must not contain.
var names = regexp.MustCompile(`(?i)nobody|somebody|everybody|whoever`)

// exempt are files whose text is not for readers of the product, each with its reason.
var exempt = map[string]string{
	"internal/laws/words_test.go":    "quotes what it forbids",
	"hyperdht/events.go":             "attributes of the trace are called ours and theirs",
	"LICENSE":                        "a text of its own",
	"spec/vectors/parts/protomux.js": "the recorded bytes contain the name of its unknown protocol",
	"sim/random.go":                  "its label decides what all runs draw",
}

// prose are the endings of documents, of files with texts for users, and of scripts.
var prose = []string{
	".md", ".html", ".yml", ".yaml", ".libsonnet", ".service", ".socket", ".conf", ".default", ".tmpl", ".1", ".sh", ".bash", ".js", ".css",
}

// isProse reports whether all lines of a file are judged.
func isProse(name string) bool {
	return slices.Contains(prose, path.Ext(name)) || path.Base(name) == "Dockerfile" || underAny(name, ".ci", "packaging/default", "packaging/completions")
}

func TestTextIsPlainTechnicalEnglish(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.code, p.tests) {
			if worded(f.name) {
				judgeSource(t, f, strings.HasSuffix(f.name, "_test.go"))
			}
		}
	}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if base := entry.Name(); name != "." && name != ".github" && name != ".ci" && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !isProse(name) || !worded(name) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			judge(t, token.Position{Filename: name, Line: i + 1}.String(), line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// worded reports whether the list applies to a file.
func worded(name string) bool { return exempt[name] == "" }

// failures are the methods of tests that report a failure, or name what fails.
var failures = []string{"Error", "Errorf", "Fatal", "Fatalf", "Run"}

// judgeSource judges a file's comments and names, and its string literals: those that ship, the messages of failed tests, and
// the names of subtests, in calls and in tables.
func judgeSource(t *testing.T, f file, test bool) {
	for _, group := range f.Comments {
		for _, c := range group.List {
			for i, line := range strings.Split(c.Text, "\n") {
				at := positions.Position(c.Pos())
				at.Line, at.Column = at.Line+i, 0
				judge(t, at.String(), line)
			}
		}
		for i, c := range group.List[1:] {
			judgeBreak(t, at(c), group.List[i].Text, c.Text)
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name, _ := calledName(n); test && slices.Contains(failures, name) {
				for _, arg := range n.Args {
					if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						judge(t, at(lit), lit.Value)
					}
				}
			}
		case *ast.CompositeLit:
			for _, name := range caseNames(n) {
				if test {
					judge(t, at(name), name.Value)
				}
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING && !test {
				judge(t, at(n), n.Value)
			}
		case *ast.FuncDecl:
			judgeName(t, n.Name)
		case *ast.TypeSpec:
			judgeName(t, n.Name)
		case *ast.ValueSpec:
			for _, name := range n.Names {
				judgeName(t, name)
			}
		case *ast.Field:
			for _, name := range n.Names {
				judgeName(t, name)
			}
		}
		return true
	})
}

// caseNames returns the string literals that name cases in a table of tests: keys of a map, the first element of a row, or its
// field name.
func caseNames(table *ast.CompositeLit) (names []*ast.BasicLit) {
	for i, element := range table.Elts {
		pair, keyed := element.(*ast.KeyValueExpr)
		switch {
		case !keyed && i > 0:
			continue
		case keyed:
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "name" {
				element = pair.Value
			} else {
				element = pair.Key
			}
		}
		if lit, ok := element.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			names = append(names, lit)
		}
	}
	return names
}

func judge(t *testing.T, at, text string) {
	text = people.ReplaceAllString(text, "$1")
	for _, turn := range turns {
		if found := turn.pattern.FindString(text); found != "" {
			t.Errorf("%s: %q: %s", at, found, turn.instead)
		}
	}
}

// judgeBreak judges what stands on two lines of a comment.
func judgeBreak(t *testing.T, at, above, below string) {
	const words = 3 // on each side
	left, right := strings.Fields(strings.TrimPrefix(above, "//")), strings.Fields(strings.TrimPrefix(below, "//"))
	end, begin := strings.Join(left[max(len(left)-words, 0):], " "), strings.Join(right[:min(len(right), words)], " ")
	joined := people.ReplaceAllString(end+" "+begin, "$1")
	for _, turn := range turns {
		found := turn.pattern.FindString(joined)
		if found != "" && !turn.pattern.MatchString(end) && !turn.pattern.MatchString(begin) {
			t.Errorf("%s: %q over two lines: %s", at, found, turn.instead)
		}
	}
}

func judgeName(t *testing.T, name *ast.Ident) {
	if found := names.FindString(name.Name); found != "" {
		t.Errorf("%s: %s: no person in a name", at(name), name.Name)
	}
}
