package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// target is a fuzz target of the module.
type target struct {
	pkg  string // below the module, with slashes: "hyperdht/internal/udx"
	name string // "FuzzPair"
}

func (t target) String() string { return t.pkg + "." + t.name }

// shares returns the target's shares of the time. A parser's inputs are soon exhausted; a machine's are not.
func (t target) shares() int {
	if strings.HasPrefix(t.name, "FuzzParse") {
		return 1
	}
	return machineShares
}

// findTargets returns the fuzz targets below root whose names match, in the order of their packages.
func findTargets(root string, match *regexp.Regexp) ([]target, error) {
	var all []target
	err := eachFile(root, func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				if t := (target{filepath.ToSlash(filepath.Dir(name)), fn.Name.Name}); match.MatchString(t.String()) {
					all = append(all, t)
				}
			}
		}
		return nil
	})
	return all, err
}

// eachFile calls f with every Go file below root, by its path below it.
func eachFile(root string, f func(name string) error) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return f(below)
	})
}

// turn is a target with the time for which it is fuzzed.
type turn struct {
	target
	time int // seconds
}

// schedule divides seconds among the targets by their shares, no less than leastTurn for each. Where that is too little for
// all of them, those from first on get it, so that all are served in time if first is incremented.
func schedule(targets []target, seconds, first int) []turn {
	if len(targets) == 0 {
		return nil
	}
	first %= len(targets)
	order := slices.Concat(targets[first:], targets[:first])
	var turns []turn
	for i, t := range order {
		shares := 0
		for _, left := range order[i:] {
			shares += left.shares()
		}
		time := min(max(seconds*t.shares()/shares, leastTurn), seconds)
		if time < leastTurn {
			break
		}
		turns = append(turns, turn{t, time})
		seconds -= time
	}
	return turns
}
