package etcd

import (
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// feed follows the keys below a prefix: all of them first, and again where changes were missed, and then each change.
type feed struct {
	host        host.Host
	store       kv.Store
	prefix      string
	onWhole     func(kv.List)
	onChanges   func(changes []kv.Change, revision int64) // of one revision
	onConnected func(bool)

	round  int // counts starts and stops: what comes of an earlier one is dropped
	on     bool
	cancel func()
	retry  host.Timer
}

// disconnected is the argument of onConnected while the store cannot be reached.
const disconnected = false

// ensure starts the feed unless it runs.
func (f *feed) ensure() {
	if !f.on {
		f.start()
	}
}

// restart starts the feed again if it runs.
func (f *feed) restart() {
	if f.on {
		f.start()
	}
}

// start reads all keys, and follows them from there.
func (f *feed) start() {
	f.stop()
	f.on = true
	round := f.round
	f.store.List(f.prefix, func(l kv.List, err error) {
		switch {
		case f.round != round:
		case err != nil:
			f.retry = f.host.AfterFunc(longPause, f.start)
			f.onConnected(disconnected)
		default:
			f.onConnected(!disconnected)
			f.watch(l.Revision)
			f.onWhole(l)
		}
	})
}

func (f *feed) watch(after int64) {
	round := f.round
	f.cancel = f.store.Watch(f.prefix, after, kv.WatchHandlers{
		OnChanges: func(changes []kv.Change, _ int64) { f.report(changes, round) },
		OnConnected: func(connected bool) {
			if f.round == round {
				f.onConnected(connected)
			}
		},
		OnLost: func() {
			if f.round == round {
				f.cancel = nil
				f.start()
			}
		},
	})
}

// report reports changes revision by revision.
func (f *feed) report(changes []kv.Change, round int) {
	for len(changes) > 0 && f.round == round {
		n, revision := 1, changes[0].Modified
		for n < len(changes) && changes[n].Modified == revision {
			n++
		}
		f.onChanges(changes[:n], revision)
		changes = changes[n:]
	}
}

func (f *feed) stop() {
	f.round++
	f.on = false
	if f.cancel != nil {
		f.cancel()
		f.cancel = nil
	}
	if f.retry != nil {
		f.retry.Stop()
	}
}
