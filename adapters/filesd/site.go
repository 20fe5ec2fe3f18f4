package filesd

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tempfile"
)

// site is the state of all files.
type site struct {
	client string
	globs  []glob
	files  map[string]*file
}

// file is a file with targets.
type file struct {
	path   string
	sum    [sha256.Size]byte // of the content that was read last
	read   bool              // it was read once
	parsed []Target          // of that content
	broken error             // of that content
	failed error             // the last attempt to read it

	good []Target // in the last set
	next []Target // in the set that is being made
	over error    // why next is not of that content, though it is not broken
}

// load reads the files that have changed and returns the set, and the faults that there are now.
func (s *site) load() (Set, []error) {
	paths, faults := s.list()
	for path := range s.files {
		if _, stays := paths[path]; !stays {
			delete(s.files, path)
		}
	}
	for path, listed := range paths {
		if !listed {
			continue
		}
		f := s.files[path]
		if f == nil {
			f = &file{path: path}
		}
		if f.load(s.client) {
			s.files[path] = f
		} else {
			delete(s.files, path)
		}
	}
	var files []*file
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		files = append(files, s.files[path])
	}
	set := settle(files)
	for _, f := range files {
		f.good = f.next
		if err := f.err(); err != nil {
			faults = append(faults, err)
		}
	}
	return set, faults
}

// list returns the paths of all files, with true for those to read, and false for the known ones of a directory that is there and
// cannot be read.
func (s *site) list() (paths map[string]bool, faults []error) {
	paths = map[string]bool{}
	for _, g := range s.globs {
		found, err := g.list()
		for _, path := range found {
			paths[path] = true
		}
		if err == nil {
			continue
		}
		if !slices.ContainsFunc(faults, func(f error) bool { return f.Error() == err.Error() }) {
			faults = append(faults, err)
		}
		for path := range s.files {
			if g.matches(path) && !paths[path] && !errors.Is(err, fs.ErrNotExist) {
				paths[path] = false
			}
		}
	}
	return paths, faults
}

// load reads the file and reports whether it is there.
func (f *file) load(client string) bool {
	content, err := tempfile.Read(f.path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if f.failed = nil; err != nil {
		f.failed = &FileError{Path: f.path, Err: cause(err)}
		return true
	}
	if sum := sha256.Sum256(content); !f.read || sum != f.sum {
		f.read, f.sum = true, sum
		f.parsed, f.broken = Parse(f.path, content, client)
	}
	return true
}

// err returns the fault of the file.
func (f *file) err() error {
	switch {
	case f.failed != nil:
		return f.failed
	case f.broken != nil:
		return f.broken
	case f.over != nil:
		return &FileError{Path: f.path, Err: f.over}
	}
	return nil
}

// settle decides between the new and the last good targets of each file, and returns the set. Where an alias is in two files, or the
// targets are too many, a file that has changed keeps its last good targets, which go together with those of all others.
func settle(files []*file) Set {
	var changed []*file // that may keep their last good targets
	for _, f := range files {
		f.next, f.over = f.good, nil
		if f.failed == nil && f.broken == nil && !sameTargets(f.parsed, f.good) {
			f.next = f.parsed
			changed = append(changed, f)
		}
	}
	for {
		set, between, err := join(files)
		if err == nil {
			return set
		}
		i := len(changed) - 1
		for i > 0 && !slices.Contains(between, changed[i]) {
			i--
		}
		back := changed[i]
		back.next, back.over = back.good, err
		changed = slices.Delete(changed, i, i+1)
	}
}

// join returns the targets of all files, or an error and the files that it is between.
func join(files []*file) (set Set, between []*file, err error) {
	type known struct {
		file  *file
		index int
	}
	all := map[domain.Alias]known{}
	for _, f := range files {
		if len(set)+len(f.next) > maxTargets {
			return nil, []*file{f}, errTooMany
		}
		for _, t := range f.next {
			if k, ok := all[t.Alias]; ok {
				return nil, []*file{k.file, f}, duplicate(set[k.index], t)
			}
			all[t.Alias] = known{f, len(set)}
			set = append(set, t)
		}
	}
	return set, nil, nil
}

// sameTargets reports whether two lists differ in the places of targets at most.
func sameTargets(a, b []Target) bool { return slices.EqualFunc(a, b, Target.same) }
