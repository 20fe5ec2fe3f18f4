// Package inbox has a loop for tests of sources that work on goroutines.
package inbox

import (
	"testing"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// Loop implements host.Loop: what is posted runs on the goroutine of the test, when that takes it.
type Loop chan func()

// Post implements host.Loop.
func (l Loop) Post(f func()) { l <- f }

// Closed returns nil: a Loop does not close.
func (l Loop) Closed() <-chan struct{} { return nil }

// Bench returns a bench for sources whose loop this is.
func (l Loop) Bench(open func(*testing.T, portstest.SourceAnswer) ports.MetricsSource) portstest.SourceBench {
	return portstest.SourceBench{
		Open: open,
		Do:   func(f func()) { f() },
		Until: func(_ *testing.T, _ string, cond func() bool) {
			for !cond() {
				(<-l)()
			}
		},
	}
}
