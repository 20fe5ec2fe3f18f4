// Package pipe is the port of byte pipes: ordered, reliable connections to a server, as TCP makes them, with TLS and through HTTP proxies
// where the implementation is configured so.
//
// The rules of ports hold: everything is called on the loop and calls back on the loop, in a later turn.
//
// adapters/pipes opens real ones, adapters/simnet/simpipe simulated ones. pipetest has the contract as a test suite, which both pass.
package pipe

import (
	"fmt"
	"net/netip"
)

// Dialer opens pipes to one server.
type Dialer interface {
	// Dial opens a pipe and calls done once, with the pipe or with an *Error, unless cancel is called before. It ends within seconds.
	Dial(done func(Pipe, error)) (cancel func())
}

// Pipe is an open pipe.
type Pipe interface {
	// Handle sets the handlers. Bytes that arrive before are kept, and so is the end of the pipe.
	Handle(Handlers)
	// Write sends bytes. It never blocks, and never fails visibly: OnClose reports a broken pipe. b is the caller's again on return.
	Write(b []byte)
	// Buffered is the number of written bytes that the system has not taken yet. A writer that must not lag behind writes nothing more
	// while there are many: a pipe itself keeps any number.
	Buffered() int
	// RemoteAddr is the address of the other end: the server's, or that of the proxy.
	RemoteAddr() netip.AddrPort
	// Close closes the pipe once the written bytes are sent, or soon after; no handler is called afterwards. Closing twice is harmless.
	Close()
}

// Handlers receive what arrives on a pipe.
type Handlers struct {
	// OnReceive gets the next bytes, at least one. b is borrowed: it is valid until the turn ends.
	OnReceive func(b []byte)
	// OnClose is the last call: the other end has closed the pipe, which is nil, or it is broken.
	OnClose func(err error)
}

// Step is a step of opening a pipe.
type Step uint8

// The steps, in their order.
const (
	Lookup  Step = iota // of the server's name, or of the proxy's
	Connect             // to the address
	Proxy               // the request to the proxy
	TLS                 // the handshake
)

var steps = [...]string{Lookup: "lookup", Connect: "connect", Proxy: "proxy", TLS: "TLS handshake"}

// String returns the name of the step, as errors have it.
func (s Step) String() string { return steps[s] }

// Error is the failure to open a pipe.
type Error struct {
	Step Step
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
