package process

import "time"

// Chosen by us.
const (
	// Patience bounds every wait. Most take seconds; the machine may be busy with other tests.
	Patience = time.Minute
	// again is the interval of polling.
	again = 50 * time.Millisecond
	// requestTimeout bounds one HTTP request.
	requestTimeout = 15 * time.Second
	// stopTimeout bounds the exit of a process after it was asked to stop.
	stopTimeout = 20 * time.Second
	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 64 << 20
	// maxLine is the longest line a process may print, in bytes.
	maxLine = 1 << 20
	// tailLines is the number of lines of a process's output in a failed test.
	tailLines = 60
)
