package client

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// Commit implements kv.Store.
func (s *Store) Commit(t kv.Txn, done func(kv.Result, error)) {
	request := txnOf(t)
	s.start(&call{
		run: func(ctx context.Context) func() {
			var response *etcdserverpb.TxnResponse
			err := s.attempt(ctx, changes, func(ctx context.Context) (err error) {
				response, err = s.remote.kv.Txn(ctx, request)
				return err
			})
			if err != nil {
				return func() { done(kv.Result{}, err) }
			}
			result := kv.Result{Done: response.Succeeded, Revision: response.Header.Revision}
			return func() { done(result, nil) }
		},
		fail: func(err error) { done(kv.Result{}, err) },
	})
}

func txnOf(t kv.Txn) *etcdserverpb.TxnRequest {
	r := &etcdserverpb.TxnRequest{}
	for _, c := range t.If {
		r.Compare = append(r.Compare, &etcdserverpb.Compare{
			Key: []byte(c.Key), Target: etcdserverpb.Compare_CREATE, Result: etcdserverpb.Compare_EQUAL,
			TargetUnion: &etcdserverpb.Compare_CreateRevision{CreateRevision: c.Created},
		})
	}
	for _, op := range t.Then {
		one := &etcdserverpb.RequestOp{}
		if op.Delete {
			one.Request = &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte(op.Key)}}
		} else {
			put := &etcdserverpb.PutRequest{Key: []byte(op.Key), Value: slices.Clone(op.Value), Lease: int64(op.Lease)}
			one.Request = &etcdserverpb.RequestOp_RequestPut{RequestPut: put}
		}
		r.Success = append(r.Success, one)
	}
	return r
}

// List implements kv.Store. It reads parts of pageSize keys at the revision of the first.
func (s *Store) List(prefix string, done func(kv.List, error)) {
	s.start(&call{
		run: func(ctx context.Context) func() {
			list, err := s.list(ctx, prefix)
			for range listRestarts {
				if !errors.Is(err, rpctypes.ErrCompacted) {
					break
				}
				list, err = s.list(ctx, prefix)
			}
			if err != nil {
				return func() { done(kv.List{}, err) }
			}
			return func() { done(list, nil) }
		},
		fail: func(err error) { done(kv.List{}, err) },
	})
}

// list reads all parts of a list. ctx limits the first one.
func (s *Store) list(ctx context.Context, prefix string) (list kv.List, err error) {
	key, end := span(prefix)
	for {
		part, err := s.part(ctx, &etcdserverpb.RangeRequest{Key: key, RangeEnd: end, Limit: pageSize, Revision: list.Revision})
		if err != nil {
			return kv.List{}, err
		}
		if list.Revision == 0 {
			list.Revision = part.Header.Revision
		}
		for _, item := range part.Kvs {
			list.Items = append(list.Items, itemOf(item))
		}
		if !part.More || len(part.Kvs) == 0 {
			return list, nil
		}
		key = append(slices.Clone(part.Kvs[len(part.Kvs)-1].Key), 0)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.ctx, s.timeout)
		defer cancel()
	}
}

func (s *Store) part(ctx context.Context, request *etcdserverpb.RangeRequest) (part *etcdserverpb.RangeResponse, err error) {
	err = s.attempt(ctx, reads, func(ctx context.Context) (err error) {
		part, err = s.remote.kv.Range(ctx, request)
		return err
	})
	return part, err
}

// span returns the first key with a prefix, and the end of those.
func span(prefix string) (key, end []byte) {
	if prefix == "" {
		return []byte{0}, []byte{0}
	}
	return []byte(prefix), []byte(clientv3.GetPrefixRangeEnd(prefix))
}

func itemOf(item *mvccpb.KeyValue) kv.Item {
	return kv.Item{Key: string(item.Key), Value: item.Value, Created: item.CreateRevision, Modified: item.ModRevision}
}
