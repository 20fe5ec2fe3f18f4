package client

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// watch follows a prefix, over one stream after another.
type watch struct {
	s      *Store
	prefix string
	on     kv.WatchHandlers
	ctx    context.Context
	cancel context.CancelFunc

	next int64 // the first revision that was not reported; the goroutine's

	// The loop's.
	known, connected bool
	ended            bool
}

// errCompacted means that the revisions that come next are gone.
var errCompacted = errors.New("compacted")

// Watch implements kv.Store.
func (s *Store) Watch(prefix string, after int64, on kv.WatchHandlers) (cancel func()) {
	w := &watch{s: s, prefix: prefix, on: on, next: after + 1}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	if s.closed {
		w.cancel()
		return func() {}
	}
	s.watches[w] = true
	s.tasks.Go(w.run)
	return w.end
}

// end ends a watch. No handler is called any more.
func (w *watch) end() {
	w.ended = true
	w.cancel()
	delete(w.s.watches, w)
}

// run follows until the watch ends, or is lost.
func (w *watch) run() {
	for pause := firstPause; w.ctx.Err() == nil; pause = min(2*pause, lastPause) {
		began, err := w.follow()
		w.s.token.judge(err)
		if errors.Is(err, errCompacted) {
			w.report(w.lose)
			return
		}
		w.report(func() { w.note(linkDown) })
		if began {
			pause = firstPause
		}
		sleep(w.ctx, pause)
	}
}

// report runs f on the loop and waits for it.
func (w *watch) report(f func()) {
	_ = bridge.Wait(w.ctx, w.s.host, func(done func()) { // an error means that the watch or the host has ended
		if !w.ended && !w.s.closed {
			f()
		}
		done()
	})
}

// link is the state of a watch's connection.
type link bool

const (
	linkUp   link = true
	linkDown link = false
)

func (w *watch) note(l link) {
	up := l == linkUp
	if w.known && w.connected == up {
		return
	}
	w.known, w.connected = true, up
	if w.on.OnConnected != nil {
		w.on.OnConnected(up)
	}
}

func (w *watch) lose() {
	w.end()
	if w.on.OnLost != nil {
		w.on.OnLost()
	}
}

// follow reports what one stream brings. began means that the store accepted the watch.
func (w *watch) follow() (began bool, err error) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	late := time.AfterFunc(watchTimeout, cancel)
	defer late.Stop()
	stream, err := w.open(ctx)
	for err == nil {
		var r *etcdserverpb.WatchResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		if err = w.verdict(r); err != nil {
			break
		}
		if r.Created {
			began = late.Stop()
			w.report(func() { w.note(linkUp) })
		}
		w.take(r)
	}
	return began, err
}

func (w *watch) open(ctx context.Context) (etcdserverpb.Watch_WatchClient, error) {
	if err := w.s.token.ensure(ctx, w.s.remote.auth); err != nil {
		return nil, err
	}
	stream, err := w.s.remote.watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	key, end := span(w.prefix)
	return stream, stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: w.next, ProgressNotify: true},
	}})
}

// verdict returns the error in a response.
func (w *watch) verdict(r *etcdserverpb.WatchResponse) error {
	switch {
	case r.CompactRevision > 0:
		return errCompacted
	case r.Canceled:
		return status.Error(codes.Unknown, r.CancelReason)
	}
	return nil
}

// take reports changes. A response has all changes of a revision, since no fragments were requested. One without changes is a report of
// progress: all changes up to its revision came before it.
func (w *watch) take(r *etcdserverpb.WatchResponse) {
	if len(r.Events) == 0 {
		if !r.Created {
			w.next = max(w.next, r.Header.Revision+1)
		}
		return
	}
	changes := make([]kv.Change, len(r.Events))
	for i, e := range r.Events {
		changes[i] = kv.Change{Item: itemOf(e.Kv), Deleted: e.Type == mvccpb.Event_DELETE}
	}
	last := changes[len(changes)-1].Modified
	w.next = last + 1
	w.report(func() { w.on.OnChanges(changes, last) })
}
