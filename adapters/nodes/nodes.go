// Package nodes stores the DHT nodes that a program knew last in a file, so that its next start needs no bootstrap node and
// fewer round trips. The file is a cache: a damaged or deleted one only costs time.
package nodes

import (
	"bytes"
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

	"github.com/dhtprom/dhtprom/internal/tempfile"
	"github.com/dhtprom/dhtprom/ports"
)

// maxFile is the number of bytes read at most: some hundred nodes fit.
const maxFile = 16 << 10

// File is a file of DHT nodes. It also has the bootstrap nodes of its network. The file of another network counts as empty:
// its nodes are useless and must not receive requests of this network.
type File struct {
	path      string
	bootstrap []string
	failed    func(error)

	mu      sync.Mutex
	next    []netip.AddrPort // to be written; nil for nothing
	write   bool             // a write is in progress
	waiting []func()         // called at its end
}

// New returns the file at path for the network with the given bootstrap nodes; nil is the public one. failed is called with
// the error of a failed write, on any goroutine; nil ignores them.
func New(path string, bootstrap []string, failed func(error)) *File {
	return &File{path: path, bootstrap: slices.Sorted(slices.Values(bootstrap)), failed: failed}
}

// content is the JSON value in the file.
type content struct {
	Bootstrap []string         `json:"bootstrap"` // sorted; none is the public network
	Nodes     []netip.AddrPort `json:"nodes"`     // the most recently seen first
}

// Load reads the nodes. A missing file, or one of another network, has none. After an error the next Save replaces the file,
// unless it is a file of another kind.
func (f *File) Load() ([]netip.AddrPort, error) {
	tempfile.Sweep(f.path, tempfile.LeftoverAge)
	if err := tempfile.Replaceable(f.path); err != nil {
		return nil, err
	}
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

// Save implements ports.NodeCache. Of several calls during a write, only the last is written.
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

// Flush implements ports.NodeCache.
func (f *File) Flush(done func()) {
	f.mu.Lock()
	writing := f.write
	if writing {
		f.waiting = append(f.waiting, done)
	}
	f.mu.Unlock()
	if !writing {
		done()
	}
}

func (f *File) writeAll() {
	for {
		f.mu.Lock()
		known := f.next
		f.next, f.write = nil, known != nil
		if known == nil {
			waiting := f.waiting
			f.waiting = nil
			f.mu.Unlock()
			for _, done := range waiting {
				done()
			}
			return
		}
		f.mu.Unlock()
		if err := f.replace(known); err != nil && f.failed != nil {
			f.failed(err)
		}
	}
}

// replace writes a temporary file and renames it, so that a start finds the old nodes or the new ones.
func (f *File) replace(known []netip.AddrPort) error {
	text, err := json.MarshalIndent(content{Bootstrap: f.bootstrap, Nodes: known}, "", " ")
	if err != nil {
		return err
	}
	if err := f.owned(); err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return tempfile.Replace(f.path, 0o600, append(text, '\n'))
}

// owned returns an error if the file is of another kind and was named by mistake, such as a configuration or an invite.
func (f *File) owned() error {
	if err := tempfile.Replaceable(f.path); err != nil {
		return err
	}
	r, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err == nil && isForeign(head) {
		err = fmt.Errorf("%s is not a file of DHT nodes: use another path, or delete it", f.path)
	}
	return err
}

// isForeign reports whether a file's head cannot be that of a File, even a damaged one: a power cut leaves zeros, or a part.
func isForeign(head []byte) bool {
	const space = " \t\r\n\x00"
	text := bytes.TrimLeft(head, space)
	if len(text) == 0 {
		return false
	}
	rest, object := bytes.CutPrefix(text, []byte("{"))
	rest = bytes.TrimLeft(rest, space)
	for _, begin := range []string{`"bootstrap"`, `"nodes"`, "}"} {
		n := min(len(rest), len(begin))
		if object && string(rest[:n]) == begin[:n] {
			return false
		}
	}
	return true
}

var _ ports.NodeCache = (*File)(nil)
