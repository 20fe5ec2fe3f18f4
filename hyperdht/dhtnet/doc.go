// Package dhtnet is the blocking face of hyperdht: Dial and Listen with contexts, net.Conn and net.Listener
// with deadlines. Whatever Go runs over TCP runs over it, an http.Server for instance.
//
// A node lives on its host's loop and never waits; the callers of this package are goroutines and do. The
// package moves bytes between the two and decides nothing: it has no time-outs and knows no wire format.
//
//	goroutine ── Read, Write, deadlines ──▶ Conn ── Post ──▶ loop: hyperdht.Connection
//	          ◀────── bytes, errors ────── queue ◀─ handlers ─┘
package dhtnet
