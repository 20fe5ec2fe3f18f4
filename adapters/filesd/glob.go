package filesd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// fileName is the form that Prometheus requires.
var fileName = regexp.MustCompile(`^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`)

// glob is the name of files: a directory, and a pattern for names in it.
type glob struct{ dir, pattern string }

// CheckGlob checks the name of files. Only its last element may be a pattern, in the syntax of filepath.Match.
func CheckGlob(text string) error {
	_, err := newGlob(text)
	return err
}

func newGlob(text string) (g glob, err error) {
	g = glob{filepath.Dir(text), filepath.Base(text)}
	if !fileName.MatchString(text) {
		return g, fmt.Errorf("file name %q, want one that ends in .json, .yml or .yaml, with a * in its last element at most", clip(text))
	}
	if _, err := filepath.Match(g.pattern, ""); err != nil {
		return g, fmt.Errorf("file name %q: %w", clip(text), err)
	}
	return g, nil
}

// list returns the paths that match, sorted. filepath.Glob would ignore all errors, and targets would be removed because a file
// server does not answer.
func (g glob) list() (paths []string, err error) {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return nil, &FileError{Path: g.dir, Err: cause(err)}
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(g.pattern, e.Name()); ok {
			paths = append(paths, filepath.Join(g.dir, e.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// matches reports whether a path is one of those that list may return.
func (g glob) matches(path string) bool {
	ok, _ := filepath.Match(g.pattern, filepath.Base(path))
	return ok && filepath.Dir(path) == g.dir
}

// cause removes the operation and the path from an error of package os, which FileError shows.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
