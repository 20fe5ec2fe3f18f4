package pipes

import "time"

const (
	// dialTimeout bounds the opening of a pipe, all steps together.
	dialTimeout = 8 * time.Second
	// closeTimeout bounds the sending of what was written before Close.
	closeTimeout = time.Second
	// readSize is the size of the buffer that a pipe reads into, in bytes.
	readSize = 32 << 10
	// keepMemory is the most that a pipe keeps of a buffer for sending when it is empty, in bytes.
	keepMemory = 64 << 10
	// maxProxyAnswer bounds the head of a proxy's answer, in bytes.
	maxProxyAnswer = 16 << 10
	// proxyStatus is the most that an error has of a text of a proxy, in bytes.
	proxyStatus = 100
)
