package client

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/grpclog"

	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/kv/lease"
)

// Store is a connection to an etcd cluster. Its methods may be called on the loop.
type Store struct {
	host    host.Host
	prefix  string
	timeout time.Duration // callTimeout
	etcd    *clientv3.Client
	remote  remote
	token   *token // nil without a user
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // goroutines

	// The loop's.
	calls   map[*call]bool // that have not ended
	waiting []*call
	running int
	watches map[*watch]bool
	leases  map[*lease.Lease]bool
	closed  bool
}

// remote has etcd's services.
type remote struct {
	kv    etcdserverpb.KVClient
	watch etcdserverpb.WatchClient
	lease etcdserverpb.LeaseClient
	auth  etcdserverpb.AuthClient
}

// silence keeps gRPC from writing to the standard error.
var silence = sync.OnceFunc(func() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) })

// Open returns a connection, which connects when it is needed. An error means that the configuration is invalid.
func Open(h host.Host, cfg Config) (*Store, error) {
	got, err := cfg.read()
	if err != nil {
		return nil, err
	}
	silence()
	s := &Store{
		host: h, prefix: cfg.Prefix, timeout: callTimeout,
		calls: map[*call]bool{}, watches: map[*watch]bool{}, leases: map[*lease.Lease]bool{},
	}
	s.ctx, s.cancel = context.WithCancel(clientv3.WithRequireLeader(context.Background()))
	options := dialOptions()
	if cfg.ServerName != "" {
		options = append(options, grpc.WithAuthority(cfg.ServerName)) // the endpoint's host takes precedence over that of tls.Config
	}
	if cfg.User != "" {
		s.token = &token{user: cfg.User, password: got.password}
		options = append(options, grpc.WithPerRPCCredentials(s.token))
	}
	s.etcd, err = clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: got.tls, Logger: zap.NewNop(), DialOptions: options, MaxUnaryRetries: 1,
		DialKeepAliveTime: aliveEvery, DialKeepAliveTimeout: aliveTimeout,
	})
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("etcd: %w", err)
	}
	conn := s.etcd.ActiveConnection()
	s.remote = remote{
		kv: etcdserverpb.NewKVClient(conn), watch: etcdserverpb.NewWatchClient(conn),
		lease: etcdserverpb.NewLeaseClient(conn), auth: etcdserverpb.NewAuthClient(conn),
	}
	return s, nil
}

func dialOptions() []grpc.DialOption {
	wait := backoff.DefaultConfig
	wait.BaseDelay, wait.MaxDelay = firstPause, reconnectPause
	return []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: wait, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithStatsHandler(sentHandler{}),
	}
}

// Close implements kv.Store.
func (s *Store) Close(done func()) {
	if !s.closed {
		s.closed = true
		s.cancel()
		for l := range s.leases {
			l.Stop()
		}
		for w := range s.watches {
			w.cancel()
		}
		s.waiting = nil
		for c := range s.calls {
			s.host.Post(func() { s.end(c, func() { c.fail(kv.ErrClosed) }) })
		}
	}
	go func() {
		s.join()
		s.host.Post(done)
	}()
}

// join waits for the goroutines and closes the connections.
func (s *Store) join() {
	_ = s.etcd.Close() // its context, which is what it reports
	s.tasks.Wait()
}

// call is a request from the call to its end.
type call struct {
	// run sends the request and returns what its answer does on the loop. It is called in a goroutine.
	run  func(ctx context.Context) (answer func())
	fail func(error)
	due  time.Time // when it fails
}

// start sends a request, now or when fewer are under way.
func (s *Store) start(c *call) {
	if len(s.waiting) >= maxWaiting {
		s.host.Post(func() { c.fail(errBusy) })
		return
	}
	c.due = time.Now().Add(s.timeout)
	if s.add(c) {
		s.waiting = append(s.waiting, c)
		s.next()
	}
}

// add notes a request that has to end. On a closed store it fails.
func (s *Store) add(c *call) bool {
	if s.closed {
		s.host.Post(func() { c.fail(kv.ErrClosed) })
		return false
	}
	s.calls[c] = true
	return true
}

func (s *Store) next() {
	for s.running < maxCalls && len(s.waiting) > 0 {
		c := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.running++
		s.launch(c, func() {
			s.running--
			s.next()
		})
	}
}

// launch sends a request. ended runs after its answer.
func (s *Store) launch(c *call, ended func()) {
	s.tasks.Go(func() {
		ctx, cancel := context.WithDeadline(s.ctx, c.due)
		defer cancel()
		answer := c.run(ctx)
		s.host.Post(func() {
			s.end(c, answer)
			ended()
		})
	})
}

// end ends a request, once.
func (s *Store) end(c *call, f func()) {
	if s.calls[c] {
		delete(s.calls, c)
		f()
	}
}

// effect classifies requests by their repetition.
type effect uint8

const (
	reads   effect = iota // may be carried out again
	changes               // must not
)

// attempt sends a request until it succeeds, is refused, or ctx ends. One that changes the store ends, too, when it is uncertain.
func (s *Store) attempt(ctx context.Context, e effect, send func(ctx context.Context) error) error {
	var reason error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		sent, err := s.try(ctx, send)
		if err == nil {
			return nil
		}
		switch f := fateOf(err, sent); {
		case f == refused:
			return refusal(err)
		case f == uncertain && e == changes:
			return explained(kv.ErrUncertain, err)
		}
		if reason == nil || ctx.Err() == nil { // the end of ctx is no reason
			reason = err
		}
		if !sleep(ctx, pause) {
			return explained(kv.ErrUnavailable, reason)
		}
	}
}

// try sends a request once. sent means that a connection took it.
func (s *Store) try(ctx context.Context, send func(ctx context.Context) error) (sent bool, err error) {
	if err := s.token.ensure(ctx, s.remote.auth); err != nil {
		return false, err
	}
	tagged, flag := withSent(ctx)
	err = send(tagged)
	s.token.judge(err)
	return flag.Load(), err
}

// sleep waits. It returns false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var _ kv.Store = (*Store)(nil)
