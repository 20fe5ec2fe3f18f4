package client

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/kv/lease"
)

// Lease implements kv.Store. etcd counts time-to-lives in seconds, and has a least one.
func (s *Store) Lease(ttl time.Duration, on kv.LeaseHandlers) kv.Lease {
	for l := range s.leases {
		if l.Ended() {
			delete(s.leases, l)
		}
	}
	l := lease.New(s.host, requests{s}, ttl, on)
	s.leases[l] = true
	if s.closed {
		l.Stop()
	}
	return l
}

// requests sends those of leases, which do not wait for other calls.
type requests struct{ s *Store }

// send sends a request that ends within a time.
func (r requests) send(within time.Duration, c *call) {
	c.due = time.Now().Add(within)
	if r.s.add(c) {
		r.s.launch(c, func() {})
	}
}

// Grant implements lease.Requests.
func (r requests) Grant(ttl time.Duration, done func(kv.LeaseID, time.Duration, error)) {
	request := &etcdserverpb.LeaseGrantRequest{TTL: int64((ttl + time.Second - 1) / time.Second)}
	r.send(r.s.timeout, &call{
		run: func(ctx context.Context) func() {
			var got *etcdserverpb.LeaseGrantResponse
			err := r.s.attempt(ctx, changes, func(ctx context.Context) (err error) {
				got, err = r.s.remote.lease.LeaseGrant(ctx, request)
				return err
			})
			if err != nil {
				return func() { done(0, 0, err) }
			}
			return func() { done(kv.LeaseID(got.ID), time.Duration(got.TTL)*time.Second, nil) }
		},
		fail: func(err error) { done(0, 0, err) },
	})
}

// Renew implements lease.Requests.
func (r requests) Renew(id kv.LeaseID, timeout time.Duration, done func(time.Duration, error)) {
	r.send(timeout, &call{
		run: func(ctx context.Context) func() {
			var ttl time.Duration
			_, err := r.s.try(ctx, func(ctx context.Context) (err error) {
				ttl, err = r.s.renew(ctx, id)
				return err
			})
			return func() { done(ttl, err) }
		},
		fail: func(err error) { done(0, err) },
	})
}

var errDeposed = status.Error(codes.Unavailable, "the leader that renewed the lease was replaced meanwhile")

// renew lets a lease begin again, and confirms that the member that did it led the cluster.
func (s *Store) renew(ctx context.Context, id kv.LeaseID) (time.Duration, error) {
	got, err := s.keepAlive(ctx, id)
	if err != nil {
		return 0, err
	}
	confirmed, err := s.remote.kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(s.prefix), CountOnly: true})
	switch {
	case err != nil:
		return 0, err
	case confirmed.Header.RaftTerm != got.Header.RaftTerm:
		return 0, errDeposed
	case got.TTL <= 0:
		return 0, lease.ErrNotFound
	}
	return time.Duration(got.TTL) * time.Second, nil
}

func (s *Store) keepAlive(ctx context.Context, id kv.LeaseID) (*etcdserverpb.LeaseKeepAliveResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.remote.lease.LeaseKeepAlive(ctx)
	if err == nil {
		err = stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(id)})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

// Revoke implements lease.Requests.
func (r requests) Revoke(id kv.LeaseID, done func(error)) {
	r.send(r.s.timeout, &call{
		run: func(ctx context.Context) func() {
			err := r.s.attempt(ctx, reads, func(ctx context.Context) error {
				_, err := r.s.remote.lease.LeaseRevoke(ctx, &etcdserverpb.LeaseRevokeRequest{ID: int64(id)})
				return err
			})
			if errors.Is(err, rpctypes.ErrLeaseNotFound) {
				err = nil
			}
			return func() { done(err) }
		},
		fail: done,
	})
}
