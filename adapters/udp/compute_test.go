package udp_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dhtprom/dhtprom/adapters/udp"
)

// The loop has turns while work runs: work that waits for one ends.
func TestLoopIsFreeDuringComputations(t *testing.T) {
	processors(t, 2)
	h := udp.New(udp.Options{})
	defer h.Close()
	turn, ended := make(chan struct{}), make(chan struct{})
	h.Do(func() {
		h.Compute(func() { <-turn }, func() { close(ended) })
	})
	h.Do(func() { close(turn) })
	<-ended
}

// A worker would take the one processor all the same.
func TestOneProcessorComputesAtOnce(t *testing.T) {
	processors(t, 1)
	h := udp.New(udp.Options{})
	defer h.Close()
	h.Do(func() {
		worked := false
		h.Compute(func() { worked = true }, func() {})
		if !worked {
			t.Error("work did not run within Compute")
		}
	})
}

func TestComputationsLeaveAProcessorToTheLoop(t *testing.T) {
	processors(t, 4)
	synctest.Test(t, func(t *testing.T) {
		h := udp.New(udp.Options{})
		defer h.Close()
		const all = 10
		var running atomic.Int32
		release, ended := make(chan struct{}), 0
		releaseAll := sync.OnceFunc(func() { close(release) })
		defer releaseAll()
		h.Do(func() {
			for range all {
				h.Compute(func() {
					running.Add(1)
					<-release
					running.Add(-1)
				}, func() { ended++ })
			}
		})
		for i := range all - 2 {
			synctest.Wait()
			if n := running.Load(); n != 3 {
				t.Errorf("%d computations run on four processors, after %d have ended", n, i)
			}
			release <- struct{}{}
		}
		releaseAll()
		synctest.Wait()
		if !h.Do(func() {}) || ended != all {
			t.Errorf("%d of %d computations ended", ended, all)
		}
	})
}

// Close waits for the work that runs, and no other begins.
func TestCloseWaitsForRunningWorkAndDropsTheRest(t *testing.T) {
	processors(t, 2)
	h := udp.New(udp.Options{})
	begun, release := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	h.Do(func() {
		h.Compute(func() {
			close(begun)
			<-release
			finished.Store(true)
		}, func() { t.Error("done ran on a closed host") })
		h.Compute(func() { t.Error("work began on a closed host") }, func() { t.Error("done ran on a closed host") })
	})
	<-begun
	closed := make(chan struct{})
	go func() {
		h.Close()
		close(closed)
	}()
	<-h.Closed()
	select {
	case <-closed:
		t.Error("Close returned while work was running")
	default:
	}
	close(release)
	<-closed
	if !finished.Load() {
		t.Error("Close returned before the work had ended")
	}
}
