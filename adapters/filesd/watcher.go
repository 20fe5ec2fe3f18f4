package filesd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// DefaultEvery is the interval at which files are read without a notification, as in Prometheus.
const DefaultEvery = 5 * time.Minute

const (
	// quiet is the time without a notification after which files are read: writers make several changes, and a rename is two.
	quiet = 200 * time.Millisecond
	// longest is the time after the first notification when they are read at the latest.
	longest = 2 * time.Second
)

// ErrClosed is the error of Reload on a closed watcher. It wraps net.ErrClosed.
var ErrClosed = fmt.Errorf("target files are no longer watched: %w", net.ErrClosed)

// Config configures a Watcher. The functions are called on the loop.
type Config struct {
	Loop   host.Loop
	Client string   // the name in the alias of a target that has none of its own
	Globs  []string // as CheckGlob accepts them; files that several of them match are read once
	Every  time.Duration

	// OnSet must be set. It is called with the first set, also with an empty one, and then with each set that differs from the one before.
	OnSet func(Set)
	// OnError must be set. It is called when the faults change, with all that there are, joined, and with nil once there are none. Those of
	// files are of type *FileError.
	OnError func(error)
}

// Watcher reads the files when they change.
type Watcher struct {
	config Config
	site   site
	open   func() (*notifier, error)
	stop   chan struct{}
	wake   chan struct{} // a Reload waits
	closed bool          // on the loop

	mu      sync.Mutex
	waiting []func(error) // of Reload
	over    bool

	// On the goroutine of the watcher.
	delivered bool
	set       Set
	faults    string
}

// New returns a watcher that begins to read the files. It returns an error if the configuration has one; that no file exists is none.
func New(c Config) (*Watcher, error) { return newWatcher(c, openNotifier) }

func newWatcher(c Config, open func() (*notifier, error)) (*Watcher, error) {
	if c.Every <= 0 {
		c.Every = DefaultEvery
	}
	w := &Watcher{config: c, open: open, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.site = site{client: c.Client, files: map[string]*file{}}
	if _, err := domain.ParseAlias(c.Client); err != nil {
		return nil, fmt.Errorf("name of the client: %w", err)
	}
	for _, text := range c.Globs {
		g, err := newGlob(text)
		if err != nil {
			return nil, err
		}
		w.site.globs = append(w.site.globs, g)
	}
	go w.run()
	return w, nil
}

// Close ends the watcher. It must be called on the loop, where none of its functions is called afterwards except those given to
// Reload.
func (w *Watcher) Close() {
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
}

// Reload reads the files now and calls done on the loop, with all faults that there are, joined. What has changed is delivered
// before. It may be called on any goroutine.
func (w *Watcher) Reload(done func(error)) {
	w.mu.Lock()
	over := w.over
	if !over {
		w.waiting = append(w.waiting, done)
	}
	w.mu.Unlock()
	if over {
		w.config.Loop.Post(func() { done(ErrClosed) })
		return
	}
	w.awaken()
}

func (w *Watcher) awaken() {
	select {
	case w.wake <- struct{}{}:
	default: // it will read the files anyway
	}
}

// run reads the files until the watcher or the host is closed.
func (w *Watcher) run() {
	defer w.end()
	poll := time.NewTicker(w.config.Every)
	defer poll.Stop()
	n := &notifier{}
	defer func() { n.close() }()
	settled := time.NewTimer(0) // the first reading
	defer settled.Stop()
	var latest time.Time // when files are read at the latest; zero without a notification
	for {
		select {
		case <-w.stop:
			return
		case <-w.config.Loop.Closed():
			return
		case <-n.events:
			latest = postpone(settled, latest)
			continue
		case <-n.lost:
			latest = postpone(settled, latest)
			continue
		case <-settled.C:
		case <-poll.C:
		case <-w.wake:
		}
		latest = time.Time{}
		settled.Stop()
		n = w.read(n)
	}
}

// postpone sets the timer after which files are read, and returns the time when they are at the latest.
func postpone(settled *time.Timer, latest time.Time) time.Time {
	now := time.Now()
	if latest.IsZero() {
		latest = now.Add(longest)
	}
	settled.Reset(min(quiet, latest.Sub(now)))
	return latest
}

// read reads the files and delivers what has changed.
func (w *Watcher) read(n *notifier) *notifier {
	waiting := w.take()
	n, err := w.watch(n)
	set, faults := w.site.load()
	if err != nil {
		faults = append(faults, err)
	}
	w.deliver(set, errors.Join(faults...), waiting)
	return n
}

// watch asks for notifications of all directories, before they are read. Without them the interval remains.
func (w *Watcher) watch(n *notifier) (*notifier, error) {
	var err error
	if n.add == nil {
		var opened *notifier
		if opened, err = w.open(); err == nil {
			n = opened
		}
	}
	for i := 0; i < len(w.site.globs) && err == nil; i++ {
		if err = n.add(w.site.globs[i].dir); errors.Is(err, fs.ErrNotExist) {
			err = nil // a fault of its own
		}
	}
	if err != nil {
		err = fmt.Errorf("target files are read every %v only, without notifications of changes: %w", w.config.Every, err)
	}
	return n, err
}

// take returns the functions that wait for a reading.
func (w *Watcher) take() []func(error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.waiting
	w.waiting = nil
	return waiting
}

func (w *Watcher) deliver(set Set, err error, waiting []func(error)) {
	newSet := !w.delivered || !sameTargets(set, w.set)
	faults := ""
	if err != nil {
		faults = err.Error()
	}
	newFaults := faults != w.faults
	w.delivered, w.set, w.faults = true, set, faults
	if !newSet && !newFaults && len(waiting) == 0 {
		return
	}
	w.config.Loop.Post(func() {
		if newSet && !w.closed {
			w.config.OnSet(set)
		}
		if newFaults && !w.closed {
			w.config.OnError(err)
		}
		for _, done := range waiting {
			done(err)
		}
	})
}

// end answers those that wait for a reading that will not take place.
func (w *Watcher) end() {
	w.mu.Lock()
	w.over = true // none is added from now on
	w.mu.Unlock()
	waiting := w.take()
	if len(waiting) == 0 {
		return
	}
	w.config.Loop.Post(func() {
		for _, done := range waiting {
			done(ErrClosed)
		}
	})
}

// notifier gives notice of changes in directories. The zero value never does.
type notifier struct {
	add    func(dir string) error
	events <-chan fsnotify.Event
	lost   <-chan error // notifications, for this reason
	stop   func() error
}

func openNotifier() (*notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{add: func(dir string) error { return w.Add(filepath.Clean(dir)) }, events: w.Events, lost: w.Errors, stop: w.Close}, nil
}

func (n *notifier) close() {
	if n.stop != nil {
		_ = n.stop()
	}
}
