package muxrpc

// Fixed by the protocol (protomux-rpc index.js).
const (
	// DefaultProtocol is the channel's protocol when the options name none.
	DefaultProtocol = "protomux-rpc"

	typeRequest  = 0
	typeResponse = 1

	flagError   = 1
	flagCode    = 2
	flagCause   = 4
	flagContext = 8
)

// Chosen by us.
const (
	// MaxRunning is the number of requests of the other side that may run at a time. Further ones are answered with
	// REQUEST_ERROR, further events dropped.
	MaxRunning = 256
	// MaxUnread and MaxUnreadBytes bound the responses, and the bytes of them, that are sent after the
	// connection asked to wait. A caller that sends further requests without reading loses the connection.
	MaxUnread      = 1024
	MaxUnreadBytes = 64 << 20
	// maxQuoted bounds the part of an unknown method's name that is quoted back, in bytes.
	maxQuoted = 1024
	// MaxValue is the longest value of a response, in bytes. A longer one turns into ENCODE_ERROR.
	MaxValue = maxPayload - 10
	// maxText bounds each text of an error, in bytes. Longer ones are cut.
	maxText = 64 << 10
)
