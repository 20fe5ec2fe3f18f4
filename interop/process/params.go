package process

import "time"

// Chosen by us.
const (
	// Patience bounds every wait. What is waited for takes seconds; the machine may be busy with other tests.
	Patience = time.Minute
	// again is the time between two looks at what is waited for.
	again = 50 * time.Millisecond
	// requestTimeout bounds one HTTP request.
	requestTimeout = 15 * time.Second
	// stopTimeout is how long a process may take to end when it is asked to.
	stopTimeout = 20 * time.Second
	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 64 << 20
	// maxLine is the longest line a process may print, in bytes.
	maxLine = 1 << 20
	// tailLines is how much of a process's output a failed test prints.
	tailLines = 60
)
