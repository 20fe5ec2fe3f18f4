package client

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// fate classifies the effect of a request that failed.
type fate uint8

const (
	uncertain fate = iota // it was sent, and there is no answer
	untouched             // it was certainly not carried out, and may be by another member, or later
	stale                 // likewise, because of its token
	refused               // the store will not carry it out
)

// fates are those of etcd's errors that their code does not decide.
var fates = map[string]fate{
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader):               untouched,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNotCapable):             untouched,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNotSupportedForLearner): untouched,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCRequestTooManyRequests): untouched,
	"raft proposal dropped":                                    untouched, // there is no leader, or it hands over
	rpctypes.ErrorDesc(rpctypes.ErrGRPCInvalidAuthToken):       stale,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthOldRevision):        stale,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCUserEmpty):              stale,
}

// fateOf classifies an error. sent means that a connection took the request.
func fateOf(err error, sent bool) fate {
	s := status.Convert(err)
	if f, ok := fates[s.Message()]; ok {
		return f
	}
	switch s.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.DataLoss:
		return refused
	}
	if !sent {
		return untouched
	}
	return uncertain
}

// is reports whether an error is one of etcd's.
func is(err, etcds error) bool {
	return err != nil && status.Convert(err).Message() == rpctypes.ErrorDesc(etcds)
}

// explained returns an error of package kv with the reason.
func explained(kind, reason error) error {
	return fmt.Errorf("%w: %s", kind, status.Convert(reason).Message())
}

// refusal is the error of a refused request. It wraps an error of rpctypes.
func refusal(reason error) error {
	return fmt.Errorf("etcd refused the request: %w", rpctypes.Error(reason))
}

var errBusy = fmt.Errorf("%w in time: %d requests are waiting", kv.ErrUnavailable, maxWaiting)
