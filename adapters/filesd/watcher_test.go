package filesd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dhtprom/dhtprom/adapters/filesd"
)

// loop runs posted functions on demand.
type loop struct {
	mu     sync.Mutex
	posts  []func()
	posted int
	closed chan struct{}
}

func (l *loop) Post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts = append(l.posts, f)
	l.posted++
}

func (l *loop) Closed() <-chan struct{} { return l.closed }

func (l *loop) run() {
	l.mu.Lock()
	posts := l.posts
	l.posts = nil
	l.mu.Unlock()
	for _, f := range posts {
		f()
	}
}

// rig is a watcher in a bubble, on a directory of its own.
type rig struct {
	t       *testing.T
	dir     string
	loop    *loop
	notices *filesd.Notices
	watcher *filesd.Watcher
	pass    func(time.Duration) // lets time pass, and runs what was posted
	sets    []string            // the aliases of each set that was delivered
	last    filesd.Set
	faults  []string // likewise
	err     error
}

const pollEvery = time.Minute

// inBubble runs f in a bubble, with a directory and no watcher yet.
func inBubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir, loop: &loop{closed: make(chan struct{})}}
		r.pass = func(d time.Duration) {
			time.Sleep(d)
			r.settle()
		}
		r.notices = &filesd.Notices{Events: make(chan fsnotify.Event), Lost: make(chan error)}
		defer func() {
			if r.watcher != nil {
				r.watcher.Close()
				synctest.Wait()
			}
		}()
		f(r)
	})
}

func (r *rig) start(globs ...string) {
	r.t.Helper()
	for i := range globs {
		globs[i] = filepath.Join(r.dir, globs[i])
	}
	w, err := filesd.NewWith(filesd.Config{
		Loop: r.loop, Client: "c", Globs: globs, Every: pollEvery,
		OnSet: func(s filesd.Set) {
			var names []string
			for _, t := range s {
				names = append(names, string(t.Alias))
			}
			r.last = s
			r.sets = append(r.sets, strings.Join(names, " "))
		},
		OnError: func(err error) {
			text := ""
			if err != nil {
				text = strings.ReplaceAll(err.Error(), r.dir+string(filepath.Separator), "")
			}
			r.err = err
			r.faults = append(r.faults, text)
		},
	}, r.notices)
	if err != nil {
		r.t.Fatal(err)
	}
	r.watcher = w
	r.settle()
}

// settle waits until the watcher does nothing and runs what it has posted.
func (r *rig) settle() {
	synctest.Wait()
	r.loop.run()
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// writes writes a file with these targets.
func (r *rig) writes(name string, targets ...string) {
	r.t.Helper()
	r.write(name, "- targets: ["+strings.Join(targets, ", ")+"]\n")
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// poll lets the interval pass.
func (r *rig) poll() {
	r.t.Helper()
	r.pass(pollEvery)
}

// notify sends a notification.
func (r *rig) notify() {
	r.notices.Events <- fsnotify.Event{Name: "any", Op: fsnotify.Write}
	r.settle()
}

// wants checks the sets and faults since the last call.
func (r *rig) wants(sets, faults []string) {
	r.t.Helper()
	match := len(faults) == len(r.faults)
	for i := range faults {
		match = match && strings.Contains(r.faults[i], faults[i]) && (faults[i] == "") == (r.faults[i] == "")
	}
	if !match || !slices.Equal(r.sets, sets) {
		r.t.Errorf("sets %q and faults %q, want %q and %q", r.sets, r.faults, sets, faults)
	}
	r.sets, r.faults = nil, nil
}

func TestSetIsDeliveredAtFirstAndWhenItChanges(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start("*.yml", "*.json")
		r.wants([]string{""}, nil)
		before := r.loop.posted
		r.poll()
		r.wants(nil, nil)
		if r.loop.posted != before {
			t.Error("a reading without a change costs a turn")
		}
		r.writes("b.yml", "b:1")
		r.write("a.json", `[{"targets": ["a:1", "a:2"]}]`)
		r.write("not.txt", "x")
		r.poll()
		r.wants([]string{"c/a:1 c/a:2 c/b:1"}, nil)
		r.poll()
		r.wants(nil, nil)
		r.write("b.yml", "# moved to another line\n\n- targets: [b:1]\n")
		r.poll()
		r.wants(nil, nil)
		r.write("b.yml", "- targets: [b:1]\n  labels: {site: x}\n")
		r.poll()
		r.wants([]string{"c/a:1 c/a:2 c/b:1"}, nil)
		if site, _ := r.last[2].Labels.Get("site"); site != "x" || r.last[2].Place != filepath.Join(r.dir, "b.yml")+":1 (group 1, target 1)" {
			t.Errorf("%+v", r.last[2])
		}
		r.remove("a.json")
		r.poll()
		r.wants([]string{"c/b:1"}, nil)
		r.remove("b.yml")
		r.poll()
		r.wants([]string{""}, nil)
	})
}

func TestNotificationsAreGathered(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start("*.yml")
		r.wants([]string{""}, nil)
		r.writes("a.yml", "a:1")
		for range 3 {
			r.notify()
			r.pass(filesd.Quiet - 1)
		}
		r.wants(nil, nil)
		r.pass(time.Nanosecond)
		r.wants([]string{"c/a:1"}, nil)

		// They do not delay a reading without end.
		begin := time.Now()
		r.writes("a.yml", "a:2")
		for len(r.sets) == 0 {
			r.notify()
			r.pass(filesd.Quiet / 2)
		}
		if took := time.Since(begin); took < filesd.Longest || took > filesd.Longest+filesd.Quiet {
			t.Errorf("read after %v", took)
		}
		r.wants([]string{"c/a:2"}, nil)

		// Lost ones count as one.
		r.writes("a.yml", "a:3")
		r.notices.Lost <- fsnotify.ErrEventOverflow
		r.pass(filesd.Quiet)
		r.wants([]string{"c/a:3"}, nil)
		if !slices.Contains(r.notices.Dirs, r.dir) || r.notices.Opened != 1 || r.notices.Closed != 0 {
			t.Errorf("%+v", r.notices)
		}
		r.watcher.Close()
		r.settle()
		if r.notices.Closed != 1 {
			t.Error("the notifications were not closed")
		}
	})
}

func TestFilesArePolledWithoutNotifications(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.notices.Fail(errors.New("too many open files"), nil)
		r.start("*.yml", "none/*.yml")
		const reason = "target files are read every 1m0s only, without notifications of changes: "
		const none = "none: no such file or directory"
		r.wants([]string{""}, []string{none + "\n" + reason + "too many open files"})
		r.writes("a.yml", "a:1")
		r.poll()
		r.wants([]string{"c/a:1"}, nil)
		r.notices.Fail(nil, errors.New("no space left on device"))
		r.poll()
		r.wants(nil, []string{none + "\n" + reason + "no space left on device"})
		r.notices.Fail(nil, fs.ErrNotExist)
		r.poll()
		r.wants(nil, []string{none})
		if !slices.Contains(r.notices.Dirs, filepath.Join(r.dir, "none")) || r.notices.Opened != 1 {
			t.Errorf("%+v", r.notices.Dirs)
		}
	})
}

func TestBrokenFileKeepsItsTargetsUntilItIsRepaired(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.writes("a.yml", "a:1")
		r.writes("b.yml", "b:1")
		r.start("*.yml")
		r.wants([]string{"c/a:1 c/b:1"}, nil)

		r.write("a.yml", "- targets: [a:1]\n  labels: {job: x}\n")
		r.writes("b.yml", "b:2")
		r.poll()
		r.wants([]string{"c/a:1 c/b:2"}, []string{"a.yml:2: group 1: label job is"})
		var of *filesd.FileError
		if !errors.As(r.err, &of) || of.Path != filepath.Join(r.dir, "a.yml") || of.Line != 2 {
			t.Errorf("%+v", of)
		}
		r.poll()
		r.wants(nil, nil)

		// A file that was broken from its beginning has no targets.
		r.write("d.yml", "x")
		r.poll()
		r.wants(nil, []string{"d.yml:1: the file: found a scalar, want a list"})

		r.writes("a.yml", "a:2")
		r.poll()
		r.wants([]string{"c/a:2 c/b:2"}, []string{"d.yml:1:"})
		r.remove("d.yml")
		r.poll()
		r.wants(nil, []string{""})

		// The former content again is a repair, too.
		r.write("a.yml", "{")
		r.poll()
		r.wants(nil, []string{"a.yml:"})
		r.writes("a.yml", "a:2")
		r.poll()
		r.wants(nil, []string{""})

		// So is an end of the file.
		r.write("a.yml", "{")
		r.poll()
		r.remove("a.yml")
		r.poll()
		r.wants([]string{"c/b:2"}, []string{"a.yml:", ""})
	})
}

func TestFileThatCannotBeReadKeepsItsTargets(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.writes("a.yml", "a:1")
		r.start("*.yml")
		r.wants([]string{"c/a:1"}, nil)
		r.remove("a.yml")
		if err := os.Mkdir(filepath.Join(r.dir, "a.yml"), 0o700); err != nil {
			t.Fatal(err)
		}
		r.poll()
		r.wants(nil, []string{"a.yml: not a regular file"})
		r.remove("a.yml")
		r.write("a.yml", "- targets: [a:1]\n"+strings.Repeat("#", filesd.MaxFile))
		r.poll()
		r.wants(nil, []string{"a.yml: 16777233 bytes, want at most 16777216"})
		r.writes("a.yml", "a:1")
		r.poll()
		r.wants(nil, []string{""})
	})
}

func TestDirectoryThatCannotBeReadKeepsItsFiles(t *testing.T) {
	inBubble(t, func(r *rig) {
		dir := filepath.Join(r.dir, "sub")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r.writes("sub/a.yml", "a:1")
		r.writes("b.yml", "b:1")
		r.start("sub/*.yml", "sub/*.json", "*.yml", "none/*.yml")
		r.wants([]string{"c/b:1 c/a:1"}, []string{"none: no such file or directory"})
		if !errors.Is(r.err, fs.ErrNotExist) {
			t.Error(r.err)
		}
		// Another file in its place cannot be read as a directory, by root either.
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		r.write("sub", "")
		r.poll()
		r.wants(nil, []string{"sub: not a directory"})
		if n := strings.Count(r.err.Error(), "\n"); n != 1 {
			t.Errorf("the fault of a directory is reported for each of its names: %v", r.err)
		}
		r.remove("sub")
		r.poll()
		r.wants([]string{"c/b:1"}, []string{"sub: no such file or directory"})
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		r.poll()
		r.wants([]string{"c/b:1 c/a:1"}, []string{"none: no such"})
	})
}

func TestFileThatTwoNamesMatchIsReadOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.writes("a.yml", "a:1")
		r.writes("ab.yml", "b:1")
		r.start("*.yml", "a*.yml", "./a.yml")
		r.wants([]string{"c/a:1 c/b:1"}, nil)
	})
}

func TestAliasInTwoFilesIsAnErrorWithBothPlaces(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.writes("a.yml", "a:1")
		r.writes("b.yml", "b:1", "x:1")
		r.start("*.yml")
		r.wants([]string{"c/a:1 c/b:1 c/x:1"}, nil)

		// The file that has changed is the one that stays as it was, whichever comes first.
		r.writes("a.yml", "a:2", "x:1")
		r.poll()
		r.wants(nil, []string{`a.yml: alias "c/x:1" is the one of two targets, at a.yml:1 (group 1, target 2) and at b.yml:1 (group 1, target 2)`})
		r.writes("b.yml", "b:2")
		r.poll()
		r.wants([]string{"c/a:2 c/x:1 c/b:2"}, []string{""})

		// Of two that change at once, the second one stays as it is.
		r.writes("a.yml", "a:2", "y:1")
		r.writes("b.yml", "b:2", "y:1")
		r.poll()
		r.wants([]string{"c/a:2 c/y:1 c/b:2"}, []string{`b.yml: alias "c/y:1"`})
		r.writes("b.yml", "b:3")
		r.poll()
		r.wants([]string{"c/a:2 c/y:1 c/b:3"}, []string{""})
	})
	inBubble(t, func(r *rig) {
		r.writes("a.yml", "a:1", "x:1")
		r.writes("b.yml", "x:1")
		r.writes("d.yml", "d:1", "a:1")
		r.start("*.yml")
		r.wants([]string{"c/a:1 c/x:1"}, []string{"b.yml: alias"})
	})
}

func TestTargetsOfAllFilesAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		list := func(prefix string, n int) (targets []string) {
			for i := range n {
				targets = append(targets, fmt.Sprintf("%s%d:1", prefix, i))
			}
			return targets
		}
		r.writes("a.yml", list("a", 10)...)
		r.writes("b.yml", list("b", filesd.MaxTargets-10)...)
		r.start("*.yml")
		if len(r.last) != filesd.MaxTargets {
			t.Errorf("%d targets", len(r.last))
		}
		r.sets = nil
		r.writes("a.yml", list("a", 11)...)
		r.poll()
		r.wants(nil, []string{"a.yml: more than 5000 targets"})
		r.writes("b.yml", "b:1")
		r.poll()
		if len(r.last) != 12 || len(r.sets) != 1 {
			t.Errorf("%d targets", len(r.last))
		}
	})
}

func TestReloadReadsNow(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start("*.yml")
		r.writes("a.yml", "a:1")
		var results []error
		reload := func() {
			r.watcher.Reload(func(err error) {
				if len(r.sets) == 0 {
					t.Error("the result came before the set")
				}
				results = append(results, err)
			})
		}
		reload()
		reload()
		r.settle()
		r.wants([]string{"", "c/a:1"}, nil)
		r.sets = []string{"c/a:1"}
		r.write("a.yml", "x")
		reload()
		r.settle()
		reload()
		r.settle()
		r.wants([]string{"c/a:1"}, []string{"a.yml:1: the file"})
		if len(results) != 4 || results[0] != nil || results[1] != nil || results[2] == nil || results[3] == nil {
			t.Errorf("%v", results)
		}
	})
}

func TestClosedWatcherIsSilent(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start("*.yml")
		r.wants([]string{""}, nil)
		r.write("a.yml", "- targets: [a:1]\n- x")
		r.writes("b.yml", "b:1")
		r.watcher.Reload(func(error) {})
		synctest.Wait() // posted, and not run
		var results []error
		reload := func() { r.watcher.Reload(func(err error) { results = append(results, err) }) }
		r.watcher.Close()
		r.watcher.Close()
		reload()
		r.settle()
		reload()
		r.settle()
		r.poll()
		r.wants(nil, nil)
		if len(results) != 2 || results[0] == nil || !errors.Is(results[1], net.ErrClosed) {
			t.Errorf("%v", results)
		}
	})
}

func TestWatcherEndsWithItsHost(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start("*.yml")
		close(r.loop.closed)
		synctest.Wait()
		if r.notices.Closed != 1 {
			t.Error("the watcher runs on a closed host")
		}
	})
}

func TestConfigurationIsChecked(t *testing.T) {
	if _, err := filesd.New(filesd.Config{Client: "c", Globs: []string{"a.yml", "a.txt"}}); err == nil || !strings.Contains(err.Error(), `"a.txt"`) {
		t.Error(err)
	}
	if _, err := filesd.New(filesd.Config{Globs: []string{"a.yml"}}); err == nil || err.Error() != "name of the client: alias is empty" {
		t.Error(err)
	}
}

// realWatcher is a watcher on the real file system, whose interval is too long to help.
type realWatcher struct {
	t     *testing.T
	dir   string
	posts chan func()
	sets  chan string
}

func (r realWatcher) Post(f func())           { r.posts <- f }
func (r realWatcher) Closed() <-chan struct{} { return nil }

func newRealWatcher(t *testing.T, dir, glob string) realWatcher {
	t.Helper()
	r := realWatcher{t, dir, make(chan func(), 16), make(chan string, 16)}
	w, err := filesd.New(filesd.Config{
		Loop: r, Client: "c", Globs: []string{filepath.Join(dir, glob)}, Every: 24 * time.Hour,
		OnSet: func(s filesd.Set) {
			var names []string
			for _, t := range s {
				names = append(names, string(t.Alias))
			}
			r.sets <- strings.Join(names, " ")
		},
		OnError: func(err error) { t.Logf("fault: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return r
}

// waitFor runs what is posted until a set has these aliases.
func (r realWatcher) waitFor(want string) {
	r.t.Helper()
	for {
		select {
		case f := <-r.posts:
			f()
		case got := <-r.sets:
			if got == want {
				return
			}
			r.t.Logf("meanwhile: %q", got)
		}
	}
}

func (r realWatcher) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r realWatcher) write(name, content string) {
	r.t.Helper()
	r.must(os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600))
}

func TestFileThatIsReplacedIsNoticed(t *testing.T) {
	dir := t.TempDir()
	r := newRealWatcher(t, dir, "*.yml")
	r.waitFor("")
	r.write("tmp", "- targets: [a:1]\n")
	r.must(os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "a.yml")))
	r.waitFor("c/a:1")
	r.write("tmp", "- targets: [a:2]\n")
	r.must(os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "a.yml")))
	r.waitFor("c/a:2")
	r.write("a.yml", "- targets: [a:3]\n")
	r.waitFor("c/a:3")
	r.must(os.Remove(filepath.Join(dir, "a.yml")))
	r.waitFor("")
}

// A ConfigMap of Kubernetes is a directory of links to ..data/NAME, and ..data a link that is replaced.
func TestChangeOfAConfigMapIsNoticed(t *testing.T) {
	dir := t.TempDir()
	r := realWatcher{t: t, dir: dir}
	generation := func(n int) string {
		name := fmt.Sprintf("..%d", n)
		r.must(os.Mkdir(filepath.Join(dir, name), 0o700))
		r.write(filepath.Join(name, "a.yml"), fmt.Sprintf("- targets: [a:%d]\n", n))
		r.must(os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		r.must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		return filepath.Join(dir, name)
	}
	first := generation(1)
	r.must(os.Symlink(filepath.Join("..data", "a.yml"), filepath.Join(dir, "a.yml")))
	r = newRealWatcher(t, dir, "*.yml")
	r.waitFor("c/a:1")
	generation(2)
	r.must(os.RemoveAll(first))
	r.waitFor("c/a:2")
}

// A directory that is missing at first is a fault of its own, not one of the notifications.
func TestDirectoryMayBeMissingAtFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	faults := make(chan string, 1)
	posts := make(chan func(), 16)
	r := realWatcher{t: t, dir: dir, posts: posts, sets: make(chan string, 16)}
	w, err := filesd.New(filesd.Config{
		Loop: r, Client: "c", Globs: []string{filepath.Join(dir, "*.yml")},
		OnSet:   func(s filesd.Set) { r.sets <- fmt.Sprint(describe(s)) },
		OnError: func(err error) { faults <- fmt.Sprint(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	r.waitFor("[]")
	if got := <-faults; got != dir+": no such file or directory" {
		t.Errorf("%q", got)
	}
	r.must(os.Mkdir(dir, 0o700))
	r.write("a.yml", "- targets: [a:1]\n")
	w.Reload(func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	r.waitFor("[c/a:1 http://a:1/metrics a:1 map[] " + dir + "/a.yml:1 (group 1, target 1)]")
	r.write("a.yml", "")
	r.waitFor("[]")
}
