package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// All drawn mutations are built into one program, each behind a switch, so that trying one is a run and not a build. The
// number of the active one is in the environment.
const (
	switchVariable  = "DHTPROM_MUTATION"
	reachedVariable = "DHTPROM_MUTATIONS_REACHED" // a file for the numbers of those that were reached
)

// switches is the code added to an instrumented package.
const switches = `
import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantActive, _ = strconv.Atoi(os.Getenv("` + switchVariable + `"))
	mutantFile      = os.Getenv("` + reachedVariable + `")
	mutantPassed    [1 << 16]atomic.Bool
)

func mutantOn(id int) bool {
	if mutantFile != "" && !mutantPassed[id].Swap(true) {
		f, err := os.OpenFile(mutantFile, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, id)
		f.Close()
	}
	return id == mutantActive
}

func mutantLess[T cmp.Ordered](id int, a, b T) bool        { return a < b || mutantOn(id) && a == b }
func mutantLessOrEqual[T cmp.Ordered](id int, a, b T) bool { return a < b || a == b && !mutantOn(id) }
func mutantMore[T cmp.Ordered](id int, a, b T) bool        { return a > b || mutantOn(id) && a == b }
func mutantMoreOrEqual[T cmp.Ordered](id int, a, b T) bool { return a > b || a == b && !mutantOn(id) }

func mutantMin[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](id, constant int, args ...T) T {
	if mutantOn(id) {
		args[constant]++
	}
	least := args[0]
	for _, a := range args {
		least = min(least, a)
	}
	return least
}

func mutantMax[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](id, constant int, args ...T) T {
	if mutantOn(id) {
		args[constant]++
	}
	most := args[0]
	for _, a := range args {
		most = max(most, a)
	}
	return most
}

func mutantKeep[T any](id int, old, set T) T {
	if mutantOn(id) {
		return old
	}
	return set
}

func mutantInert(id int, f func()) func() {
	if mutantOn(id) {
		return func() {}
	}
	return f
}

func mutantError(id int, err error) error {
	if mutantOn(id) {
		return nil
	}
	return err
}
`

// numbered is a drawn place with the number of its switch.
type numbered struct {
	*place
	number int
}

// instrument returns the text of a file with these mutations inserted. Edits nest, and are inserted from the outside in.
func (t *tree) instrument(name string, ms []numbered) []byte {
	type insert struct {
		offset, end int   // to the end of what is cut out
		rank        int64 // orders inserts at one offset
		text        string
	}
	var inserts []insert
	for _, m := range ms {
		for _, e := range m.edits {
			from, to := t.fset.Position(e.from).Offset, t.fset.Position(e.to).Offset
			mark := func(s string) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(m.number)) }
			order := int64(m.number)
			if m.rule == ruleBound { // it separates the operands, so it is inside all others
				order += 1 << 19
			}
			if e.replace {
				inserts = append(inserts, insert{from, to, 1 << 50, mark(e.before)})
				continue
			}
			// An outer edit begins first and ends last.
			inserts = append(inserts,
				insert{from, from, 1<<40 - int64(to-from)<<20 + order, mark(e.before)},
				insert{to, to, -1<<40 + int64(to-from)<<20 - order, mark(e.after)})
		}
	}
	slices.SortFunc(inserts, func(a, b insert) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.rank, b.rank))
	})
	var out []byte
	whole, at := t.text[name], 0
	for _, in := range inserts {
		out = append(append(out, whole[at:in.offset]...), in.text...)
		at = max(at, in.end)
	}
	return append(out, whole[at:]...)
}

// compiles reports whether a mutation compiles.
func (t *tree) compiles(p *place) bool {
	s, name := t.source(p.pkg), t.fset.Position(p.pos).Filename
	helpers, err := parser.ParseFile(t.fset, "mutant.go", "package "+s.name+switches, parser.SkipObjectResolution)
	if err != nil {
		panic(err)
	}
	files := []*ast.File{helpers}
	for _, f := range s.files {
		if t.fset.Position(f.Package).Filename == name {
			if f, err = parser.ParseFile(t.fset, name, t.instrument(name, []numbered{{p, 1}}), parser.SkipObjectResolution); err != nil {
				return false
			}
		}
		files = append(files, f)
	}
	_, err = t.check(s, files)
	return err == nil
}

// overlay writes the instrumented files to a folder, with the list of them that the go command takes.
func (t *tree) overlay(dir string, ms []numbered) (string, error) {
	replace := map[string]string{}
	put := func(name string, text []byte) error {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		replace[name] = to
		return os.WriteFile(to, text, 0o644)
	}
	byFile := map[string][]numbered{}
	for _, m := range ms {
		name := t.fset.Position(m.pos).Filename
		byFile[name] = append(byFile[name], m)
	}
	for name, ms := range byFile {
		if err := put(name, t.instrument(name, ms)); err != nil {
			return "", err
		}
		s := t.source(ms[0].pkg)
		if helpers := filepath.Join(s.dir, "mutant_switches.go"); replace[helpers] == "" {
			if err := put(helpers, []byte("package "+s.name+switches)); err != nil {
				return "", err
			}
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, b, 0o644)
}
