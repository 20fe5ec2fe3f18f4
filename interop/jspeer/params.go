package jspeer

import "time"

// Chosen by us.
const (
	// CallTimeout bounds a command, and a wait for an event, that does not name its own limit. The slowest
	// of them, a connection to a peer that is not there, takes the packages 20 s.
	CallTimeout = time.Minute
	// installTimeout bounds the installation of the packages.
	installTimeout = 5 * time.Minute
	// maxLine is the longest line a peer may print, in bytes.
	maxLine = 64 << 20
	// maxEvents is how many events that nobody asked for are kept.
	maxEvents = 100_000
	// tailLines is how much of a peer's error output a failed test prints.
	tailLines = 40
)
