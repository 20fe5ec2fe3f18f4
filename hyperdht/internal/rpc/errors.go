package rpc

import (
	"errors"
	"fmt"
	"net/netip"
)

// Errors of requests and queries. An answer that carries an error code is not a failure: see Reply.Error.
var (
	// ErrTimeout means that no transmission was answered in time.
	ErrTimeout = errors.New("rpc: request timed out")
	// ErrCanceled means that the caller cancelled: Call.Cancel, CallGroup.Cancel or Query.Destroy.
	ErrCanceled = errors.New("rpc: request canceled")
	// ErrClosed means that the endpoint was closed.
	ErrClosed = errors.New("rpc: endpoint closed")
	// ErrSuspended means that the endpoint was suspended.
	ErrSuspended = errors.New("rpc: endpoint suspended")
	// ErrBusy means that too many requests of this endpoint are waiting.
	ErrBusy = errors.New("rpc: too many requests")
	// ErrTooFewNodes means that no node answered a query whose result was to be committed.
	ErrTooFewNodes = errors.New("rpc: too few nodes responded")
	// ErrNoToken means that a node near the target gave no token to store something with.
	ErrNoToken = errors.New("rpc: no token received from closest node")
	// ErrSelf means that the destination is an address of this very node.
	ErrSelf = errors.New("rpc: the address is this node's own")
	// ErrPingDelay means that a delayed ping asks for a longer delay than nodes grant.
	ErrPingDelay = errors.New("rpc: ping delay too long")

	errPreset = errors.New("rpc: the public address is preset by the configuration")
)

// ListenError is the failure to bind the server socket.
type ListenError struct {
	Addr netip.AddrPort // port 0 where any would have done
	Err  error
}

func (e *ListenError) Error() string {
	if e.Addr.Port() == 0 {
		return fmt.Sprintf("no free UDP port on %v: %v", e.Addr.Addr(), e.Err)
	}
	return fmt.Sprintf("UDP address %v is not available: %v; stop the program that has it, or listen on another port", e.Addr, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }
