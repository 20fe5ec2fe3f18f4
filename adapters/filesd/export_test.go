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

	mu  sync.Mutex
	err error // of opening
}

// Fail sets the error of opening.
func (n *Notices) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *Notices) open() (*notifier, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return nil, n.err
	}
	n.Opened++
	return &notifier{
		add:    func(dir string) error { n.Dirs = append(n.Dirs, dir); return nil },
		events: n.Events,
		lost:   n.Lost,
		stop:   func() error { n.Closed++; return nil },
	}, nil
}

// NewWith returns a watcher with the notifications of a test.
func NewWith(c Config, n *Notices) (*Watcher, error) { return newWatcher(c, n.open) }
