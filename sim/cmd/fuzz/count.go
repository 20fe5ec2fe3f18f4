package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// counted are the packages whose steps are counted, with all below them but uncounted: those that parse the bytes of peers
// and of files, on one goroutine.
var (
	counted   = []string{"hyperdht", "adapters/dht", "adapters/stun", "adapters/targets", "adapters/filesd", "adapters/source", "adapters/web/hosts", "domain", "cmd/dhtprom-client", "keyfile"}
	uncounted = []string{"hyperdht/dhtnet"}
)

func isCounted(pkg string) bool {
	in := func(dirs []string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") })
	}
	return in(counted) && !in(uncounted)
}

// writeOverlay writes copies of all counted files into dir, with calls of cost.Step, and returns the name of the overlay
// file for the go command.
func writeOverlay(root, dir string) (string, error) {
	replace := map[string]string{}
	err := eachFile(root, func(name string) error {
		if strings.HasSuffix(name, "_test.go") || !isCounted(filepath.ToSlash(filepath.Dir(name))) {
			return nil
		}
		original := filepath.Join(root, name)
		source, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		instrumented, err := instrument(name, source)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.ReplaceAll(name, string(filepath.Separator), "+"))
		replace[original] = to
		return os.WriteFile(to, instrumented, 0o600)
	})
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}

const (
	step     = "stepcost.Step();"
	stepFrom = `; import stepcost "` + module + `/internal/cost"`
)

// instrument inserts a call of cost.Step at the beginning of each function and of each loop. Lines keep their numbers.
func instrument(name string, source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var bodies []*ast.BlockStmt
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			bodies = append(bodies, n.Body)
		case *ast.FuncLit:
			bodies = append(bodies, n.Body)
		case *ast.ForStmt:
			bodies = append(bodies, n.Body)
		case *ast.RangeStmt:
			bodies = append(bodies, n.Body)
		}
		return true
	})
	var at []int
	for _, body := range bodies {
		if body != nil { // nil for a function without Go code
			at = append(at, files.Position(body.Lbrace).Offset+1)
		}
	}
	if len(at) == 0 {
		return source, nil
	}
	slices.Sort(at)
	var out bytes.Buffer
	done := files.Position(file.Name.End()).Offset
	out.Write(source[:done])
	out.WriteString(stepFrom)
	for _, offset := range at {
		out.Write(source[done:offset])
		out.WriteString(step)
		done = offset
	}
	out.Write(source[done:])
	return out.Bytes(), nil
}
