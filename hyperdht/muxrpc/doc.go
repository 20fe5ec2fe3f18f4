// Package muxrpc calls methods over a channel (protomux-rpc). Both sides may call and answer, many requests at
// a time, and answers may come in any order.
//
//	request (type 0)   uint id · string method · value
//	response (type 1)  flags · uint id · value
//	                   flags · uint id · string message [· string code] [· cause]      with flag 1
//	cause              string message · string code, or empty [· string context]
//	flags              1 error · 2 error has a code · 4 it has a cause · 8 the cause has a context
//
// Ids count from 1 on each side. A request with id 0 is an event: it is executed and not answered. A value is
// the rest of the message; what it means is agreed per method.
//
// A side that has ended closes once nothing is pending or running. When it closes, pending requests fail, and later answers are
// dropped.
//
// Requests may be sent while opening. Nothing here has a deadline: callers arm a timer and cancel the
// call with Timeout.
//
// Callbacks run while the connection delivers something, and inside Call.Cancel, RPC.Destroy and RPC.End, never
// inside RPC.Request.
//
// # States
//
// The states of a side, how long each may last, and those that may follow. A test holds the list against what the code does. A
// final state has no limit and no successor.
//
// Side:
//
//	opening  -       ──▶ open, ending, closed
//	         (no limit: until the other side opens or rejects it, or this side or the pipe closes)
//	open     -       ──▶ ending, closed
//	         (no limit: until either side or the pipe closes)
//	ending   -       ──▶ closed
//	         (no limit: until nothing is pending and nothing runs)
//	closed   -
package muxrpc
