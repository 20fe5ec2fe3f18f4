package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// fake is a server that answers transactions as a test says.
type fake struct {
	etcdserverpb.UnimplementedKVServer
	server *grpc.Server
	url    string
	answer func(ctx context.Context, n int) error // to the nth transaction; nil carries it out

	mu      sync.Mutex
	served  int
	running int
	most    int // that ran at the same time
}

func newFake(t *testing.T, answer func(ctx context.Context, n int) error) *fake {
	t.Helper()
	silence() // before gRPC runs
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{server: grpc.NewServer(), url: "http://" + l.Addr().String(), answer: answer}
	etcdserverpb.RegisterKVServer(f.server, f)
	go func() { _ = f.server.Serve(l) }() // until Stop
	t.Cleanup(f.server.Stop)
	return f
}

func (f *fake) Txn(ctx context.Context, _ *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	f.mu.Lock()
	n := f.served
	f.served++
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	err := f.answer(ctx, n)
	f.mu.Lock()
	f.running--
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{Revision: 7}, Succeeded: true}, nil
}

func (f *fake) counts() (served, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served, f.most
}

func open(t *testing.T, endpoints ...string) (*udp.Host, *Store) {
	t.Helper()
	h := udp.New(udp.Options{})
	t.Cleanup(h.Close)
	s, err := Open(h, Config{Endpoints: endpoints, Prefix: "/x/"})
	if err != nil {
		t.Fatal(err)
	}
	s.timeout = 400 * time.Millisecond
	t.Cleanup(func() { run(t, h, s.Close) })
	return h, s
}

func run(t *testing.T, h *udp.Host, f func(done func())) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := bridge.Wait(ctx, h, f); err != nil {
		t.Error(err)
	}
}

func commit(t *testing.T, h *udp.Host, s *Store) (result kv.Result, err error) {
	t.Helper()
	run(t, h, func(done func()) {
		s.Commit(kv.Txn{Then: []kv.Op{{Key: "/x/a"}}}, func(got kv.Result, failed error) {
			result, err = got, failed
			done()
		})
	})
	return result, err
}

func TestOutcomesOfTransactions(t *testing.T) {
	hang := func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	always := func(err error) func(context.Context, int) error {
		return func(context.Context, int) error { return err }
	}
	first := func(err error) func(context.Context, int) error {
		return func(_ context.Context, n int) error {
			if n == 0 {
				return err
			}
			return nil
		}
	}
	const refusal = "refused"
	tests := []struct {
		name   string
		answer func(ctx context.Context, n int) error
		want   string // an error, "" for success, or "refused: " with its text
		times  int    // that the server receives it; 0 for many
	}{
		{"an answer", always(nil), "", 1},
		{"no answer", hang, kv.ErrUncertain.Error(), 1},
		{"the server gives up", first(rpctypes.ErrGRPCTimeout), kv.ErrUncertain.Error(), 1},
		{"the leader fails", first(rpctypes.ErrGRPCTimeoutDueToLeaderFail), kv.ErrUncertain.Error(), 1},
		{"the leader changes", first(rpctypes.ErrGRPCLeaderChanged), kv.ErrUncertain.Error(), 1},
		{"the server stops", first(rpctypes.ErrGRPCStopped), kv.ErrUncertain.Error(), 1},
		{"an unknown error", first(status.Error(codes.Unknown, "x")), kv.ErrUncertain.Error(), 1},
		{"no leader at first", first(rpctypes.ErrGRPCNoLeader), "", 2},
		{"no leader", always(rpctypes.ErrGRPCNoLeader), kv.ErrUnavailable.Error(), 0},
		{"a dropped proposal", first(status.Error(codes.Unknown, "raft proposal dropped")), "", 2},
		{"too many requests at first", first(rpctypes.ErrGRPCRequestTooManyRequests), "", 2},
		{"too many operations", always(rpctypes.ErrGRPCTooManyOps), refusal, 1},
		{"no space", always(rpctypes.ErrGRPCNoSpace), refusal, 1},
		{"no permission", always(rpctypes.ErrGRPCPermissionDenied), refusal, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, test.answer)
			h, s := open(t, f.url)
			result, err := commit(t, h, s)
			switch {
			case test.want == "" && (err != nil || !result.Done || result.Revision != 7):
				t.Errorf("%+v, %v", result, err)
			case test.want == refusal && (err == nil || !strings.HasPrefix(err.Error(), "etcd refused the request: etcdserver: ")):
				t.Errorf("%v is no refusal", err)
			case test.want != "" && test.want != refusal && (err == nil || !strings.HasPrefix(err.Error(), test.want+": ")):
				t.Errorf("%v, want %s", err, test.want)
			}
			if served, _ := f.counts(); served != test.times && test.times > 0 || served == 0 {
				t.Errorf("the server received it %d times, want %d", served, test.times)
			}
		})
	}
}

func TestConnectionBreaksUnderATransaction(t *testing.T) {
	var f *fake
	f = newFake(t, func(ctx context.Context, _ int) error {
		go f.server.Stop()
		<-ctx.Done()
		return ctx.Err()
	})
	h, s := open(t, f.url)
	if _, err := commit(t, h, s); !errors.Is(err, kv.ErrUncertain) {
		t.Errorf("%v, want %v", err, kv.ErrUncertain)
	}
	if _, err := commit(t, h, s); !errors.Is(err, kv.ErrUnavailable) { // the server is gone
		t.Errorf("%v, want %v", err, kv.ErrUnavailable)
	}
}

// A listener that accepts no connection of HTTP/2 takes no request, so nothing is uncertain.
func TestUnreachableStoreIsUnavailable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	h, s := open(t, "http://"+silent.Addr().String())
	if _, err := commit(t, h, s); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("%v, want %v", err, kv.ErrUnavailable)
	}
	run(t, h, func(done func()) {
		s.List("/x/", func(_ kv.List, err error) {
			if !errors.Is(err, kv.ErrUnavailable) {
				t.Errorf("List: %v, want %v", err, kv.ErrUnavailable)
			}
			done()
		})
	})
}

// Another member takes what the first one, which is gone, cannot.
func TestOneMemberIsGone(t *testing.T) {
	gone := newFake(t, func(context.Context, int) error { return nil })
	gone.server.Stop()
	f := newFake(t, func(context.Context, int) error { return nil })
	h, s := open(t, gone.url, f.url)
	for range 4 {
		if _, err := commit(t, h, s); err != nil {
			t.Error(err)
		}
	}
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	full := make(chan struct{})
	f := newFake(t, func(_ context.Context, n int) error {
		if n == maxCalls-1 {
			close(full)
		}
		<-full
		return nil
	})
	h, s := open(t, f.url)
	s.timeout = time.Minute
	const calls = maxCalls + maxWaiting
	succeeded, busy := 0, 0
	run(t, h, func(done func()) {
		left := calls + 10
		for range left {
			s.Commit(kv.Txn{Then: []kv.Op{{Key: "/x/a"}}}, func(_ kv.Result, err error) {
				switch {
				case err == nil:
					succeeded++
				case errors.Is(err, kv.ErrUnavailable):
					busy++
				default:
					t.Error(err)
				}
				if left--; left == 0 {
					done()
				}
			})
		}
	})
	if _, most := f.counts(); most > maxCalls || succeeded != calls || busy != 10 {
		t.Errorf("%d at the same time, %d succeeded, %d were rejected", most, succeeded, busy)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	tests := []struct {
		err  error
		sent bool
		want fate
	}{
		{status.Error(codes.Unavailable, "connection refused"), false, untouched},
		{status.Error(codes.Unavailable, "transport is closing"), true, uncertain},
		{status.Error(codes.DeadlineExceeded, "deadline"), false, untouched},
		{context.DeadlineExceeded, true, uncertain},
		{context.Canceled, true, uncertain},
		{rpctypes.ErrGRPCInvalidAuthToken, true, stale},
		{rpctypes.ErrGRPCAuthOldRevision, true, stale},
		{rpctypes.ErrGRPCAuthFailed, true, refused},
		{rpctypes.ErrGRPCLeaseNotFound, true, refused},
		{rpctypes.ErrGRPCCorrupt, true, refused},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max"), false, refused},
	}
	for _, test := range tests {
		if got := fateOf(test.err, test.sent); got != test.want {
			t.Errorf("%v, sent %v: %d, want %d", test.err, test.sent, got, test.want)
		}
	}
	if err := explained(kv.ErrUncertain, status.Error(codes.Unavailable, "why")); fmt.Sprint(err) != kv.ErrUncertain.Error()+": why" {
		t.Errorf("%v", err)
	}
}
