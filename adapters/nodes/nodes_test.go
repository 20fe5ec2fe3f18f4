package nodes

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var known = []netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:49737"), netip.MustParseAddrPort("203.0.113.2:1")}

// save writes and waits for it.
func save(f *File, nodes []netip.AddrPort) {
	f.Save(nodes)
	flush(f)
}

func flush(f *File) {
	done := make(chan struct{})
	f.Flush(func() { close(done) })
	<-done
}

// A stopping program waits for the file, which has the nodes of the last Save.
func TestFlushWaitsForAllThatWasSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	f := New(path, nil, func(err error) { t.Error(err) })
	flush(f) // of nothing
	for range 50 {
		f.Save(known[:1])
		f.Save(known)
		flush(f)
		if got, err := New(path, nil, nil).Load(); !slices.Equal(got, known) || err != nil {
			t.Fatalf("%v, %v", got, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodesAreThereAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "nodes.json")
	failed := func(err error) { t.Error(err) }
	f := New(path, []string{"b:1", "a:1"}, failed)
	if got, err := f.Load(); got != nil || err != nil {
		t.Fatalf("at first: %v, %v", got, err)
	}
	save(f, known[:1])
	save(f, known)
	if got, err := New(path, []string{"a:1", "b:1"}, failed).Load(); !slices.Equal(got, known) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestNodesOfOneNetworkAreNotUsedInAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	save(New(path, nil, nil), known)
	for _, other := range [][]string{{"10.0.0.1:49737"}, {"a:1", "b:1"}} {
		f := New(path, other, nil)
		if got, err := f.Load(); len(got) > 0 || err != nil {
			t.Errorf("%v: %v, %v", other, got, err)
		}
	}
	if got, _ := New(path, []string{}, nil).Load(); !slices.Equal(got, known) {
		t.Errorf("the same network: %v", got)
	}
}

func TestWhatIsWrongWithTheFileIsSaidAndReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	for _, text := range []string{"", "{", `{"nodes":["nonsense"]}`, strings.Repeat(" ", maxFile) + "{}"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := New(path, nil, nil)
		if got, err := f.Load(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: %v, %v", text, got, err)
		}
		save(f, known)
		if got, err := f.Load(); !slices.Equal(got, known) || err != nil {
			t.Errorf("after %.20q: %v, %v", text, got, err)
		}
	}
	if err := os.WriteFile(path, []byte(`{"bootstrap":null,"nodes":["[::1]:1","203.0.113.1:0","203.0.113.2:1"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := New(path, nil, nil).Load(); !slices.Equal(got, known[1:]) || err != nil {
		t.Errorf("of nodes that cannot be: %v, %v", got, err)
	}
}

func TestFailedWritesAreTold(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var told error
	save(New(filepath.Join(blocked, "nodes.json"), nil, func(err error) { told = err }), known)
	if told == nil {
		t.Error("a file in place of the folder is no fault")
	}
}

// A file of another kind, named by mistake, is not replaced.
func TestFilesOfOthersAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.yml")
	for _, text := range []string{"targets: []\n", "dhtprom1abc", `{"name": "x"}`, `[{"targets": []}]`, "\x7fELF"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var told error
		save(New(path, nil, func(err error) { told = err }), known)
		if told == nil || !strings.Contains(told.Error(), path+" is not a file of DHT nodes") {
			t.Errorf("%q: %v", text, told)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%q became %q", text, now)
		}
	}
	for _, text := range []string{"\x00\x00\x00", "{\n \"boot", "{\n \"bootstrap\": nu\x00\x00", " { }"} { // such files after a power cut
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		save(New(path, nil, func(err error) { t.Error(err) }), known)
		if got, err := New(path, nil, nil).Load(); !slices.Equal(got, known) || err != nil {
			t.Errorf("after %q: %v, %v", text, got, err)
		}
	}
}

// A user with write access to the folder cannot have other files overwritten by a link with the name of a temporary file.
func TestLinksBesideTheFileAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "nodes.json"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(other, []byte("mine"), 0o600), os.Symlink(other, path+".tmp")); err != nil {
		t.Fatal(err)
	}
	save(New(path, nil, func(err error) { t.Error(err) }), known)
	if now, _ := os.ReadFile(other); string(now) != "mine" {
		t.Errorf("the other file has %q", now)
	}
	if got, err := New(path, nil, nil).Load(); !slices.Equal(got, known) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Temporary files left by killed programs are removed, and one being written is not.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nodes.json")
	old, young := filepath.Join(dir, ".nodes.json-1.tmp"), filepath.Join(dir, ".nodes.json-2.tmp")
	long := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(old, nil, 0o600), os.WriteFile(young, nil, 0o600), os.Chtimes(old, long, long)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(path, nil, nil).Load(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old one: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("one in use: %v", err)
	}
}

// A pipe or a device named by mistake is neither waited for nor replaced, which root could do to /dev/null.
func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	if err := os.Symlink(os.DevNull, path); err != nil {
		t.Fatal(err)
	}
	var told error
	f := New(path, nil, func(err error) { told = err })
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
	save(f, known)
	if info, err := os.Lstat(path); told == nil || err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("%v; it became %v, %v", told, info.Mode(), err)
	}
}

// A write that fails before there is a temporary file is reported, too: here, its name is longer than file systems allow.
func TestTemporaryFileThatCannotBeMadeIsReported(t *testing.T) {
	var failed error
	f := New(filepath.Join(t.TempDir(), strings.Repeat("n", 254)), nil, func(err error) { failed = err })
	f.Save(known)
	flush(f)
	if failed == nil {
		t.Error("no error")
	}
}
