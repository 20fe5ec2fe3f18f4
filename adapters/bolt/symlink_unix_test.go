//go:build unix

package bolt_test

import (
	"os"
	"path/filepath"
	"testing"
)

// The table's path may be a symbolic link to another disk. A repair must not replace the link with a file on the wrong disk,
// and a link to a missing file must be accepted.
func TestTableBehindASymbolicLinkStaysThere(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, target string){
		"there is none yet": func(*testing.T, string) {},
		"it is in order": func(t *testing.T, target string) {
			l := newLoop()
			s := open(t, l, target)
			put(t, l, s, entry("kept", 1))
			closeStore(t, l, s)
		},
		"it is damaged": func(t *testing.T, target string) {
			l := newLoop()
			s := open(t, l, target)
			put(t, l, s, entry("kept", 1))
			closeStore(t, l, s)
			if err := os.Truncate(target, 5*page+100); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, relative := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				here := t.TempDir()
				there := filepath.Join(here, "disk")
				if err := os.Mkdir(there, 0o700); err != nil {
					t.Fatal(err)
				}
				target, link, second := filepath.Join(there, "table.db"), filepath.Join(here, "aliases.db"), filepath.Join(there, "second")
				to := second
				if relative {
					to = filepath.Join("disk", "second")
				}
				if err := os.Symlink(to, link); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("table.db", second); err != nil {
					t.Fatal(err)
				}
				prepare(t, target)
				l := newLoop()
				s := open(t, l, link)
				put(t, l, s, entry("new", 2))
				closeStore(t, l, s)
				if got, err := os.Readlink(link); err != nil || got != to {
					t.Errorf("the link is %q, %v", got, err)
				}
				s = open(t, l, target)
				entries, _ := load(t, l, s)
				closeStore(t, l, s)
				if len(entries) == 0 || entries[len(entries)-1].Alias != "new" {
					t.Errorf("the table behind the link has %v", entries)
				}
			})
		}
	}
}
