// Package udp implements host.Host on a real machine: UDP sockets, the operating system's clock and randomness.
//
// The loop is not a goroutine but a lock: a goroutine with input takes it, runs the turns that the input
// starts, and releases it.
//
//	reader of a socket ──batch──┐
//	reader of a socket ──batch──┤→ take the loop → the batch's turn → posts, due timers: a turn each
//	driver: timer due, Post ────┘     → send, one sendmmsg per socket → arm the next timer → release
//
// So a datagram is handled by the goroutine that read it, without a wake-up in between, which would
// cost more than everything else. Each socket has one reader, which reads a batch (recvmmsg where the system
// has it) and reads no more until that batch's turn is over: when turns are slow, the kernel's buffer fills up
// and the kernel drops. Timers and posted closures have another goroutine, the driver; it wakes up only
// when no reader holds the loop in time.
//
// Computations (Compute) run on as many workers as there are processors, less one for the loop, and in the turn that asks for them if
// there is one processor only.
//
// On Linux, a burst to one peer is handed to the kernel as messages of up to 64 datagrams, which the kernel or the
// network card splits, and a socket that receives bursts gets them coalesced.
package udp
