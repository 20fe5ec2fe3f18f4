package vectors_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/spec/vectors"
)

// notShown are the files whose values are behaviour, and have no message of their own.
var notShown = map[string]bool{"nat": true, "router": true, "routing": true}

func TestExamplesAreInTheVectors(t *testing.T) {
	shown := map[string]bool{}
	for _, page := range []string{"hyperdht", "udx"} {
		for _, e := range vectors.Examples(t, page) {
			if e.File == "" {
				t.Errorf("%s.md: example %q names no file of vectors", page, e.Name)
				continue
			}
			shown[e.File] = true
			if !stringsOf(vectors.Load[any](t, e.File))[e.Bytes.String()] {
				t.Errorf("%s.md: example %q is not in %s.json: %s", page, e.Name, e.File, e.Bytes)
			}
		}
	}
	files, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".json")
		if !shown[name] && !notShown[name] && !strings.HasPrefix(name, "package") {
			t.Errorf("no page has an example of %s", file)
		}
	}
}

// stringsOf collects the strings of a JSON value.
func stringsOf(v any) map[string]bool {
	all := map[string]bool{}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case string:
			all[v] = true
		case []any:
			for _, one := range v {
				visit(one)
			}
		case map[string]any:
			for _, one := range v {
				visit(one)
			}
		}
	}
	visit(v)
	return all
}

// The encoders of dhtprom's additions have no vectors of another implementation: their own tests compare the examples.
func TestExamplesOfAdditionsAreCompared(t *testing.T) {
	var tests strings.Builder
	for _, folder := range []string{"adapters", "domain", "hyperdht"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "vectors.ExampleBytes(") {
				tests.Write(text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	examples := vectors.Examples(t, "dhtprom")
	if len(examples) == 0 {
		t.Error("dhtprom.md has no examples")
	}
	for _, e := range examples {
		if e.File != "" || !strings.Contains(tests.String(), strconv.Quote(e.Name)) {
			t.Errorf("no test compares example %q", e.Name)
		}
	}
}
