// Package udp is a host.Host on a real machine: UDP sockets, the operating system's clock and randomness.
//
// The loop is not a goroutine but a right: whoever has input takes it, runs the turns that the input
// starts, and gives it back.
//
//	reader of a socket ──batch──┐
//	reader of a socket ──batch──┤→ take the loop → the batch's turn → posts, due timers: a turn each
//	driver: timer due, Post ────┘     → sends leave, one sendmmsg per socket → arm the next timer → give back
//
// So a datagram is handled by the goroutine that read it and no wake-up lies between the two, which would
// cost more than all the rest. Each socket has one reader, which reads a batch (recvmmsg where the system
// has it) and reads no more until that batch's turn is over: when we are slow the kernel's buffer fills up
// and the kernel drops. Timers and posted closures have one more goroutine, the driver; it only wakes up
// when nobody else holds the loop in time.
package udp
