package client

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/status"
)

// token is the proof of a user, which etcd forgets after some time and when it restarts. It implements credentials.PerRPCCredentials. A
// nil token is that of no user.
type token struct {
	user, password string

	renewing sync.Mutex // one request at a time
	mu       sync.Mutex
	value    string
	valid    bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t *token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.valid || t.value == "" {
		return nil, nil
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: t.value}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (t *token) RequireTransportSecurity() bool { return false }

func (t *token) isValid() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.valid
}

func (t *token) accept(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.valid = value, true
}

func (t *token) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = false
}

// ensure authenticates, unless there is a valid token.
func (t *token) ensure(ctx context.Context, auth etcdserverpb.AuthClient) error {
	if t == nil || t.isValid() {
		return nil
	}
	t.renewing.Lock()
	defer t.renewing.Unlock()
	if t.isValid() {
		return nil
	}
	got, err := auth.Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: t.user, Password: t.password})
	if is(err, rpctypes.ErrGRPCAuthNotEnabled) {
		got, err = &etcdserverpb.AuthenticateResponse{}, nil
	}
	if err == nil {
		t.accept(got.Token)
	}
	return err
}

// judge takes note of an error that means that the token is not valid any more.
func (t *token) judge(err error) {
	if t != nil && err != nil && fates[status.Convert(err).Message()] == stale {
		t.drop()
	}
}
