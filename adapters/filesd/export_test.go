package filesd

import (
	"sync"

	"github.com/fsnotify/fsnotify"
)

// The bounds.
const (
	MaxTargets = maxTargets
	MaxFile    = maxFile
	MaxPairs   = maxPairs
)

// Times of a Watcher.
const (
	Quiet   = quiet
	Longest = longest
)

// Notices are notifications that a test makes.
type Notices struct {
	Events chan fsnotify.Event
	Lost   chan error
	Dirs   []string // that were added; on the goroutine of the watcher
	Opened int
	Closed int

	mu           sync.Mutex
	opening, add error
}

// Fail sets the errors of opening, and of adding a directory.
func (n *Notices) Fail(opening, add error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opening, n.add = opening, add
}

func (n *Notices) addDir(dir string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Dirs = append(n.Dirs, dir)
	return n.add
}

func (n *Notices) open() (*notifier, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.opening != nil {
		return nil, n.opening
	}
	n.Opened++
	return &notifier{
		add:    n.addDir,
		events: n.Events,
		lost:   n.Lost,
		stop:   func() error { n.Closed++; return nil },
	}, nil
}

// NewWith returns a watcher with the notifications of a test.
func NewWith(c Config, n *Notices) (*Watcher, error) { return newWatcher(c, n.open) }
