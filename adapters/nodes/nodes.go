// Package nodes keeps the DHT nodes that a program knew last in a file, so that its next start needs no bootstrap node and
// fewer round trips. The file is a cache: what is wrong with it costs time, and it may be deleted.
package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dhtprom/dhtprom/ports"
)

// maxFile bounds what is read, in bytes: some hundred nodes fit.
const maxFile = 16 << 10

// File is such a file. Nodes of one network are of no use in another, and must not be told of it, so the file has the
// bootstrap nodes of the network, too, and one of another network is empty.
type File struct {
	path      string
	bootstrap []string
	failed    func(error)

	mu    sync.Mutex
	next  []netip.AddrPort // to be written; nil for nothing
	write bool             // a write is under way
}

// New returns the file at path for the network of some bootstrap nodes; nil is the public one. failed is told of writes that
// fail, on any goroutine; nil ignores them.
func New(path string, bootstrap []string, failed func(error)) *File {
	return &File{path: path, bootstrap: slices.Sorted(slices.Values(bootstrap)), failed: failed}
}

// content is what is in the file.
type content struct {
	Bootstrap []string         `json:"bootstrap"` // sorted; none is the public network
	Nodes     []netip.AddrPort `json:"nodes"`     // the one heard from last first
}

// Load reads the nodes. A file that is not there, or of another network, has none. An error says what is wrong with the file;
// the next Save replaces it.
func (f *File) Load() ([]netip.AddrPort, error) {
	r, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var c content
	if err := json.NewDecoder(io.LimitReader(r, maxFile)).Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	if !slices.Equal(c.Bootstrap, f.bootstrap) {
		return nil, nil
	}
	return slices.DeleteFunc(c.Nodes, func(a netip.AddrPort) bool { return !a.Addr().Is4() || a.Port() == 0 }), nil
}

// Save implements ports.NodeCache. Of several that come while one is being written, the last is written.
func (f *File) Save(known []netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = slices.Clone(known)
	if f.write {
		return
	}
	f.write = true
	go f.writeAll()
}

func (f *File) writeAll() {
	for {
		f.mu.Lock()
		known := f.next
		f.next, f.write = nil, known != nil
		f.mu.Unlock()
		if known == nil {
			return
		}
		if err := f.replace(known); err != nil && f.failed != nil {
			f.failed(err)
		}
	}
}

// replace writes beside the file and renames over it, so that a start finds the old nodes or the new ones.
func (f *File) replace(known []netip.AddrPort) error {
	text, err := json.MarshalIndent(content{Bootstrap: f.bootstrap, Nodes: known}, "", " ")
	if err != nil {
		return err
	}
	beside := f.path + ".tmp"
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(beside, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(beside, f.path)
}

var _ ports.NodeCache = (*File)(nil)
