package domain

// Detour describes the use of a relay by a connection, as far as this side knows the reason.
type Detour struct {
	Reason DetourReason
	// Local and Remote are the kinds of NAT in front of both sides, as of the last punch: open, consistent, random, or unknown.
	Local, Remote string
	Cause         Cause // of the failed punch; empty where none is known
}

// DetourReason is the reason of a detour.
type DetourReason uint8

// The reasons.
const (
	DetourNone      DetourReason = iota // no relay carries the connection
	DetourRule                          // a path rule of this side excludes all other paths
	DetourSearching                     // direct paths are still being tried
	DetourNotFound                      // all direct paths have failed
	DetourTakeover                      // the direct path was silent, lost much or was slow, and the relay in reserve took over
)
