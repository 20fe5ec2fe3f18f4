// Package host is the machine a node runs on: steady time, timers, randomness, sockets and the loop
// that all of a node's work runs on.
//
// Two hosts implement it: adapters/udp is a real machine, adapters/simnet thousands of simulated ones
// on one virtual clock. Code above this package cannot tell them apart.
//
// # The loop
//
// A datagram, a timer or a posted closure starts a turn. A turn runs to its end before the next one
// starts, so protocol objects need no locks and never see each other half-changed:
//
//	input (datagrams · timer · Post)  →  the turn's callbacks  →  Defer'd closures, in order  →  sends leave
//
// A real host may put a batch of datagrams into one turn; a simulated one delivers them one by one.
// Only Post and Closed may be called from other goroutines. Work that is long for a turn, such as a handshake's cryptography, leaves
// the loop by Compute, and its result enters it as a turn.
package host

import (
	"encoding"
	"io"
	"net/netip"
	"time"
)

// Instant is steady time: nanoseconds since the host started. It never jumps with the wall clock and
// does not convert to time.Time on purpose; wall time is another clock (ports.Clock).
type Instant int64

// Add returns i moved by d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Before reports whether i is earlier than j.
func (i Instant) Before(j Instant) bool { return i < j }

// After reports whether i is later than j.
func (i Instant) After(j Instant) bool { return i > j }

// String prints the time since the host started, as time.Duration does.
func (i Instant) String() string { return time.Duration(i).String() }

// DefaultTTL is the time-to-live of datagrams that are meant to arrive (udx-native's default).
const DefaultTTL = 64

// Loop is the part of a host that other goroutines may use.
type Loop interface {
	// Post runs f on the loop in a later turn. On a closed host it does nothing.
	Post(f func())
	// Closed returns a channel that is closed once the host has closed: no turn runs then or later.
	Closed() <-chan struct{}
}

// Host is one machine. Its methods must be called on the loop, except those of Loop.
type Host interface {
	Loop
	// Now is the steady time of this turn; it does not move while a turn runs. It is more than zero, so the
	// zero Instant can stand for never.
	Now() Instant
	// AfterFunc runs f on the loop once d has passed. Timers due at the same instant run in the order
	// they were armed.
	AfterFunc(d time.Duration, f func()) Timer
	// Defer runs f at the end of the current turn, after all its input was handled and before its sends
	// leave. Deferred closures run in order; those they defer run after them in the same turn.
	Defer(f func())
	// Rand is the host's source of randomness: cryptographic on a real machine, seeded on a simulated one.
	Rand() io.Reader
	// OpenSocket binds a UDP socket. A zero port takes a free one; an invalid address means any address.
	OpenSocket(local netip.AddrPort) (Socket, error)
	// Addrs lists the IPv4 addresses of this machine's interfaces, without loopback: first the one with which it reaches the
	// internet, where that is known, and the others in a stable order.
	Addrs() []netip.Addr
	// LookupHost resolves a name to IPv4 addresses and calls done on the loop, in a later turn.
	LookupHost(name string, done func([]netip.Addr, error))
	// Compute runs work off the loop and then done on the loop, in a later turn. It is for computations that take longer than a turn
	// should. Until done runs, work has all that it uses for itself: neither the loop nor another computation touches that, and work
	// does not touch the host, its randomness included. Computations may end in any order, and work may run before Compute returns. A
	// host computes a few at a time, and the others wait, without a bound: callers have one. On a closed host done does not run, nor
	// does work, if it has not begun.
	Compute(work, done func())
	// Trace passes an event to the observer of this host. It must be cheap without one.
	Trace(Event)
}

// Timer is a pending AfterFunc.
type Timer interface {
	// Stop makes sure that the timer will not fire any more. It reports whether it was still pending.
	Stop() bool
	// Reset arms the timer again, d from now, whether it was pending, stopped or has fired.
	Reset(d time.Duration)
}

// Socket is a bound UDP socket.
type Socket interface {
	// LocalAddr is the bound address, with the port chosen by the system where none was requested.
	LocalAddr() netip.AddrPort
	// Send sends b to an address. It never blocks and never fails visibly: packets rejected by the network are lost, as datagrams
	// are. b is the caller's again on return. A ttl of 0 means DefaultTTL.
	Send(to netip.AddrPort, ttl int, b []byte)
	// OnReceive sets the handler of the socket's datagrams; without one they are dropped. Addresses are unmapped IPv4 or IPv6. b
	// is borrowed: it is valid until the turn ends.
	OnReceive(func(from netip.AddrPort, b []byte))
	// Close unbinds the socket. Nothing is received afterwards; closing twice is harmless.
	Close()
}

// Event is an event of a protocol machine. Events are typed values of the packages that emit them; the text form is for logs and
// transcripts and is created only when read.
type Event interface {
	encoding.TextAppender
}

// Gateway is implemented by hosts that know their router.
type Gateway interface {
	// Gateway returns the IPv4 address of the router that this machine reaches the internet through, and the address of this machine
	// on the router's network. It reports false if there is none, or it is not known. A change may take a second to appear.
	Gateway() (router, local netip.Addr, ok bool)
}
