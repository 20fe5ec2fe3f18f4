// Package pipes opens real byte pipes: TCP, TLS over it, and either through an HTTP proxy by CONNECT (RFC 9110, section 9.3.6).
//
//	loop                     goroutines of a pipe
//	Write ──▶ pending ──▶    writer ──▶ connection
//	OnReceive ◀── turn ◀──   reader ◀── connection
//
// The reader reads on when the turn with the last bytes has ended, so that a busy loop slows the other end down instead of taking memory.
// The writer takes all pending bytes at a time, so that the more there is to send, the fewer system calls it takes.
package pipes
