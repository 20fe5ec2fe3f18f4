package bolt_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/domain"
)

var damages = flag.Int("damages", 1000, "how many damaged tables to open")

// image is a table on disk at some moment, and the entries acknowledged by then.
type image struct {
	name    string
	file    []byte
	before  []byte // the same file some writes earlier
	entries map[domain.Alias]domain.Entry
}

// grow creates a table with a history: entries are added, renewed and removed.
func grow(t *testing.T, random *rand.Rand, entries, writes int) image {
	t.Helper()
	l, path := newLoop(), filepath.Join(t.TempDir(), "aliases.db")
	s := open(t, l, path)
	im := image{name: fmt.Sprintf("%d entries, %d writes", entries, writes), entries: map[domain.Alias]domain.Entry{}}
	for i := range writes {
		if i == writes-1 {
			im.before = read(t, path)
		}
		for range 1 + entries/max(1, writes) {
			e := entry(fmt.Sprint("host-", random.IntN(max(1, entries)), ":9100"), byte(1+random.IntN(200)))
			e.Hostname = strings.Repeat("h", random.IntN(100))
			e.Registered = e.Registered.Add(1)
			im.entries[e.Alias] = e
			s.Put(e, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if gone := fmt.Sprint("host-", random.IntN(max(1, entries)), ":9100"); i%3 == 2 {
			delete(im.entries, domain.Alias(gone))
			s.Delete([]domain.Alias{domain.Alias(gone)}, func(error) {})
		}
		put(t, l, s, entry("last", byte(1+i%200))) // waits for those before it
		im.entries["last"] = entry("last", byte(1+i%200))
	}
	im.file = read(t, path) // as after a kill: the store is still open
	closeStore(t, l, s)
	return im
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const page = 4096

// harm damages a file in one of many ways.
func harm(random *rand.Rand, im image) (what string, b []byte) {
	b = slices.Clone(im.file)
	pages := len(b) / page
	p, q := random.IntN(pages), random.IntN(pages)
	at := func(i int) []byte { return b[i*page : (i+1)*page] }
	garble := func(part []byte) {
		for i := range part {
			part[i] = byte(random.Uint32())
		}
	}
	switch random.IntN(12) {
	case 0:
		n := random.IntN(len(b))
		return fmt.Sprintf("cut to %d", n), b[:n]
	case 1:
		n := random.IntN(pages)
		return fmt.Sprintf("cut to %d pages", n), b[:n*page]
	case 2:
		n := random.IntN(len(b) * 8)
		b[n/8] ^= 1 << (n % 8)
		return fmt.Sprintf("bit %d of byte %d flipped", n%8, n/8), b
	case 3: // in the part of a page that says what it is
		n := p*page + random.IntN(64)
		b[n] ^= 1 << random.IntN(8)
		return fmt.Sprintf("byte %d of page %d changed", n%page, p), b
	case 4:
		clear(at(p))
		return fmt.Sprintf("page %d zeroed", p), b
	case 5:
		garble(at(p))
		return fmt.Sprintf("page %d overwritten", p), b
	case 6:
		one := bytes.Clone(at(p))
		copy(at(p), at(q))
		copy(at(q), one)
		return fmt.Sprintf("pages %d and %d swapped", p, q), b
	case 7:
		copy(at(p), at(q))
		return fmt.Sprintf("page %d over %d", q, p), b
	case 8:
		if (p+1)*page <= len(im.before) {
			copy(at(p), im.before[p*page:])
		}
		return fmt.Sprintf("page %d as it was before", p), b
	case 9:
		clear(b[:2*page])
		return "both headers zeroed", b
	case 10:
		n := random.IntN(len(b))
		m := min(len(b), n+random.IntN(3*page))
		garble(b[n:m])
		return fmt.Sprintf("bytes %d to %d overwritten", n, m), b
	default:
		n := random.IntN(page)
		copy(b[p*page+n:(p+1)*page], make([]byte, page))
		return fmt.Sprintf("page %d zeroed from byte %d", p, n), b
	}
}

// opened opens a file and lists the store's entries and reports.
func opened(t *testing.T, path string) (l loop, s *bolt.Store, entries map[domain.Alias]domain.Entry, reports []domain.StoreDamage, bad []error) {
	t.Helper()
	l = newLoop()
	s = open(t, l, path)
	s.OnDamage(func(d domain.StoreDamage) { reports = append(reports, d) })
	all, bad := load(t, l, s)
	entries = map[domain.Alias]domain.Entry{}
	for _, e := range all {
		entries[e.Alias] = e
	}
	return l, s, entries, reports, bad
}

// missing lists acknowledged entries that are missing or changed, and unexpected ones.
func missing(want, got map[domain.Alias]domain.Entry) (all []string) {
	for a, e := range want {
		if got[a] != e {
			all = append(all, string(a))
		}
	}
	for a := range got {
		if _, known := want[a]; !known {
			all = append(all, "+"+string(a))
		}
	}
	slices.Sort(all)
	return all
}

// Whatever the damage to a table: the store opens, has the readable entries, and reports any loss. With -damages=N more
// cases are tried.
func TestDamageIsNeverAPanicARefusalOrASilentLoss(t *testing.T) {
	var images []image
	for i, size := range []struct{ entries, writes int }{{0, 1}, {3, 4}, {30, 10}, {200, 20}, {1500, 12}} {
		images = append(images, grow(t, rand.New(rand.NewPCG(1, uint64(i))), size.entries, size.writes))
	}
	dir := t.TempDir()
	var reported, lost, wanted atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d of %d reported; %d of %d entries lost or of an earlier write", reported.Load(), *damages, lost.Load(), wanted.Load())
	})
	for seed := range *damages {
		random := rand.New(rand.NewPCG(7, uint64(seed)))
		im := images[random.IntN(len(images))]
		what, b := harm(random, im)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel() // most of it is waiting for the disk
			fail := func(format string, args ...any) {
				t.Helper()
				t.Errorf("%s, %s: %s", im.name, what, fmt.Sprintf(format, args...))
			}
			path := filepath.Join(dir, fmt.Sprint(seed), "aliases.db")
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			l, s, entries, reports, bad := opened(t, path)
			gone := missing(im.entries, entries)
			if len(gone) > 0 && len(reports) == 0 {
				fail("not reported: %v", gone)
			}
			if len(bad) > 0 {
				fail("unreadable records are in use: %v", bad)
			}
			for _, d := range reports {
				if d.Recovered < len(entries) || len(d.Problems) == 0 {
					fail("report %+v of %d entries", d, len(entries))
				}
				if kept := read(t, d.Kept); !bytes.Equal(kept, b) {
					fail("%s is not the damaged file", d.Kept)
				}
			}
			reported.Add(int64(len(reports)))
			lost.Add(int64(len(gone)))
			wanted.Add(int64(len(im.entries)))
			put(t, l, s, entry("new", 9))
			entries["new"] = entry("new", 9)
			closeStore(t, l, s)
			l, s, again, reports, _ := opened(t, path)
			if gone := missing(entries, again); len(gone) > 0 || len(reports) > 0 {
				fail("after the repair: %v, %+v", gone, reports)
			}
			closeStore(t, l, s)
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWholeTablesAreNotReported(t *testing.T) {
	for i, size := range []struct{ entries, writes int }{{0, 1}, {1, 30}, {30, 60}, {700, 40}, {3000, 5}} {
		im := grow(t, rand.New(rand.NewPCG(2, uint64(i))), size.entries, size.writes)
		for _, b := range [][]byte{im.file, append(slices.Clone(im.file), make([]byte, 3*page)...)} {
			path := filepath.Join(t.TempDir(), "aliases.db")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			l, s, entries, reports, bad := opened(t, path)
			if gone := missing(im.entries, entries); len(gone) > 0 || len(reports) > 0 || len(bad) > 0 {
				t.Errorf("%s: %v, %+v, %v", im.name, gone, reports, bad)
			}
			closeStore(t, l, s)
		}
	}
}

func TestDamageWhileTheStoreIsOpenCostsNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(t *testing.T, path string)
	}{
		{"emptied", func(t *testing.T, path string) { truncate(t, path, 0) }},
		{"cut", func(t *testing.T, path string) { truncate(t, path, 3*page) }},
		{"removed", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
		{"replaced", func(t *testing.T, path string) {
			if err := os.WriteFile(path+".other", []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".other", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"zeroed", func(t *testing.T, path string) { overwrite(t, path, func(int) byte { return 0 }) }},
		{"overwritten", func(t *testing.T, path string) { overwrite(t, path, func(i int) byte { return byte(i * 37) }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "aliases.db")
			l, s, want, reports, _ := opened(t, path)
			s.OnDamage(func(d domain.StoreDamage) { reports = append(reports, d) })
			for i := range 400 {
				e := entry(fmt.Sprint("a-", i), 1)
				want[e.Alias] = e
				s.Put(e, func(error) {})
			}
			put(t, l, s, entry("before", 1))
			want["before"] = entry("before", 1)
			c.harm(t, path)
			for i := range 300 { // all over the table, so that a write meets the damage
				e := entry(fmt.Sprint("a-", i), 2)
				want[e.Alias] = e
				s.Put(e, func(err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			put(t, l, s, entry("after", 1))
			want["after"] = entry("after", 1)
			load(t, l, s)
			if len(reports) != 1 {
				t.Errorf("reports %+v", reports)
			}
			closeStore(t, l, s)
			l, s, entries, reports, _ := opened(t, path)
			if gone := missing(want, entries); len(gone) > 0 || len(reports) > 0 {
				t.Errorf("after a restart: %v, %+v", gone, reports)
			}
			closeStore(t, l, s)
		})
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes over all pages of a file in place.
func overwrite(t *testing.T, path string, with func(int) byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	for i := range b {
		b[i] = with(i)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
