package jspeer

import "time"

// Chosen by us.
const (
	// CallTimeout bounds a command, or a wait for an event, without a limit of its own. The slowest of them, a connection
	// to an absent peer, takes the packages 20 s.
	CallTimeout = time.Minute
	// installTimeout bounds the installation of the packages.
	installTimeout = 5 * time.Minute
	// maxLine is the longest line a peer may print, in bytes.
	maxLine = 64 << 20
	// maxEvents bounds the events that are not awaited yet.
	maxEvents = 100_000
	// tailLines is the number of lines of a peer's error output in a failed test.
	tailLines = 40
)
