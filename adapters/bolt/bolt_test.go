package bolt_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// loop runs posted functions on the goroutine of the test.
type loop chan func()

func newLoop() loop                    { return make(loop, 1<<16) }
func (l loop) Post(f func())           { l <- f }
func (l loop) Closed() <-chan struct{} { return nil }
func (l loop) run(f func(func()))      { l.until(f) }
func (l loop) until(f func(func())) {
	finished := false
	f(func() { finished = true })
	for !finished {
		(<-l)()
	}
}

func open(t *testing.T, l loop, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(l, path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entry(alias string, n byte) domain.Entry {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return domain.Entry{Alias: domain.Alias(alias), Key: domain.PublicKey{n, 1}, Registered: now, Renewed: now, Expires: now.Add(time.Hour)}
}

func load(t *testing.T, l loop, s *bolt.Store) (entries []domain.Entry, bad []error) {
	t.Helper()
	l.run(func(done func()) {
		s.Load(func(e []domain.Entry, b []error, err error) {
			if err != nil {
				t.Error(err)
			}
			entries, bad = e, b
			done()
		})
	})
	return entries, bad
}

func put(t *testing.T, l loop, s *bolt.Store, e domain.Entry) {
	t.Helper()
	l.run(func(done func()) {
		s.Put(e, func(err error) {
			if err != nil {
				t.Error(err)
			}
			done()
		})
	})
}

func closeStore(t *testing.T, l loop, s *bolt.Store) {
	t.Helper()
	l.run(func(done func()) {
		s.Close(func(err error) {
			if err != nil {
				t.Error(err)
			}
			done()
		})
	})
}

func TestBoltKeepsTheContract(t *testing.T) {
	portstest.TestAliasStore(t, func(t *testing.T) portstest.StoreBench {
		l, path := newLoop(), filepath.Join(t.TempDir(), "state", "aliases.db")
		return portstest.StoreBench{
			Open: func(t *testing.T) ports.AliasStore { return open(t, l, path) },
			Run:  func(_ *testing.T, f func(func())) { l.until(f) },
		}
	})
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	l, path := newLoop(), filepath.Join(t.TempDir(), "state", "aliases.db")
	closeStore(t, l, open(t, l, path))
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", filepath.Base(p), info.Mode())
		}
	}
}

// Issue rows 6.1 and 6.22: a bad entry ends the loading and is overwritten; a damaged file means an empty start.
func TestBadRecordsAreReportedAndKept(t *testing.T) {
	l, path := newLoop(), filepath.Join(t.TempDir(), "aliases.db")
	s := open(t, l, path)
	put(t, l, s, entry("good", 1))
	closeStore(t, l, s)
	bad := map[string]string{
		"not JSON": "{", "future": `{"v":2}`, "no key": `{"v":1}`, "bad key": `{"v":1,"key":"xx"}`, "line\nbreak": `{"v":1}`, "empty": "",
	}
	raw(t, path, func(b *bbolt.Bucket) {
		for alias, value := range bad {
			if err := b.Put([]byte(alias), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	})
	s = open(t, l, path)
	entries, problems := load(t, l, s)
	if len(entries) != 1 || entries[0].Alias != "good" || len(problems) != len(bad) {
		t.Errorf("entries %v, problems %v", entries, problems)
	}
	for _, p := range problems {
		if strings.Contains(p.Error(), "\n") {
			t.Errorf("a problem is more than one line: %q", p)
		}
	}
	put(t, l, s, entry("another", 2))
	closeStore(t, l, s)
	raw(t, path, func(b *bbolt.Bucket) {
		for alias, value := range bad {
			if got := b.Get([]byte(alias)); string(got) != value {
				t.Errorf("record %q was changed to %q", alias, got)
			}
		}
	})
}

func raw(t *testing.T, path string, f func(*bbolt.Bucket)) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { f(tx.Bucket([]byte("aliases"))); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTextFileIsRefusedAndKept(t *testing.T) {
	path, content := filepath.Join(t.TempDir(), "aliases.db"), "[{\"targets\":[]}]\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(newLoop(), path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "text file") {
		t.Errorf("error %v", err)
	}
	if now, _ := os.ReadFile(path); string(now) != content {
		t.Error("the file was changed")
	}
}

func TestSecondScraperOnOneFileIsRefused(t *testing.T) {
	l, path := newLoop(), filepath.Join(t.TempDir(), "aliases.db")
	s := open(t, l, path)
	if _, err := bolt.Open(l, path); err == nil || !strings.Contains(err.Error(), "another scraper") {
		t.Errorf("second open: %v", err)
	}
	closeStore(t, l, s)
}

func TestUnwritablePathIsRefusedWithItsName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(newLoop(), filepath.Join(file, "aliases.db")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
}

var kills = flag.Int("kills", 6, "how many times to kill a program that writes")

// TestNothingAcknowledgedIsLostByKill runs a writer in a process of its own, kills it in the middle of its work and
// looks for every entry that it had acknowledged. Every second writer continues with the table of the one before.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_WRITER"); path != "" {
		writeForEver(t, path)
		return
	}
	var path string
	acknowledged := map[string]bool{}
	for round := range *kills {
		if round%2 == 0 {
			path, acknowledged = filepath.Join(t.TempDir(), "aliases.db"), map[string]bool{}
		}
		after := len(acknowledged) + []int{1, 37, 400, 150, 5}[round%5]
		cmd := exec.Command(os.Args[0], "-test.run=^TestNothingAcknowledgedIsLostByKill$")
		cmd.Env = append(os.Environ(), "DHTPROM_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for len(acknowledged) < after && lines.Scan() {
			acknowledged[lines.Text()] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died counts too
			acknowledged[lines.Text()] = true
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // killed, as it should be
		if len(acknowledged) < after {
			t.Fatalf("the writer acknowledged %d entries", len(acknowledged))
		}
		l, s, entries, reports, bad := opened(t, path)
		lost := 0
		for a := range acknowledged {
			if e, known := entries[domain.Alias(a)]; !known || !e.Expires.Equal(entry("x", 0).Expires) {
				lost++
			}
		}
		if lost > 0 || len(bad) > 0 || len(reports) > 0 {
			t.Errorf("round %d: %d of %d acknowledged entries are lost, %d are bad; reports %+v", round, lost, len(acknowledged), len(bad), reports)
		}
		closeStore(t, l, s)
	}
}

func writeForEver(t *testing.T, path string) {
	l := newLoop()
	s := open(t, l, path)
	for i := 0; ; i++ {
		alias := fmt.Sprint("alias-", os.Getpid(), "-", i)
		s.Put(entry(alias, 1), func(err error) {
			if err == nil {
				// One write each, so that the last line is complete or missing.
				_, _ = os.Stdout.WriteString(alias + "\n")
			}
		})
		if i%7 == 6 {
			(<-l)()
		}
	}
}
