package rpc

import "errors"

// Why a request or query fails. An answer that carries an error code is not a failure: see Reply.Error.
var (
	// ErrTimeout means that no transmission was answered in time.
	ErrTimeout = errors.New("rpc: request timed out")
	// ErrCanceled means that the caller gave up: Call.Cancel, Session.Cancel or Query.Destroy.
	ErrCanceled = errors.New("rpc: request canceled")
	// ErrClosed means that the endpoint was closed.
	ErrClosed = errors.New("rpc: endpoint closed")
	// ErrSuspended means that the endpoint was suspended.
	ErrSuspended = errors.New("rpc: endpoint suspended")
	// ErrBusy means that too many requests of this endpoint are waiting.
	ErrBusy = errors.New("rpc: too many requests")
	// ErrTooFewNodes means that nobody answered a query whose result was to be committed.
	ErrTooFewNodes = errors.New("rpc: too few nodes responded")
	// ErrNoToken means that a node near the target gave no token to store something with.
	ErrNoToken = errors.New("rpc: no token received from closest node")
	// ErrPingDelay means that a delayed ping asks for a longer delay than nodes grant.
	ErrPingDelay = errors.New("rpc: ping delay too long")
)
