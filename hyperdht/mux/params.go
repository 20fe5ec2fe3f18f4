package mux

// Fixed by the protocol (protomux index.js).
const (
	controlBatch  = 0
	controlOpen   = 1
	controlReject = 2
	controlClose  = 3

	// pauseAt is the size of the messages held for unpaired channels from which the pipe is paused. Each
	// message counts its length and messageCost.
	pauseAt     = 32768
	messageCost = 512
	// batchAt is the size from which a batch is sent and another one is started.
	batchAt = 8 << 20
	// MaxFrame is the longest frame: the longest message of an encrypted stream.
	MaxFrame = 1<<24 - 1 - 17
)

// Chosen by us.
const (
	// MaxName is the longest protocol name and the longest id, in bytes. Opens with longer ones are rejected
	// like those of unknown protocols.
	MaxName = 1024
	// MaxChannels is the number of channels that each side may have at a time. Further opens are rejected.
	MaxChannels = 1024
	// MaxPayload is the longest payload of a message: a frame less what a batch of one adds at most.
	MaxPayload = MaxFrame - 32

	// maxNumbers bounds the numbers a side may use. They outrun MaxChannels when opens are sent faster than
	// rejects come back.
	maxNumbers = 2 * MaxChannels
	// maxOffers bounds the opens that wait for handlers which hold them.
	maxOffers = 64
	// maxHeld bounds the messages held for unpaired channels. A pause stops everything but the rest
	// of the current frame, so this is one frame more than pauseAt.
	maxHeld = pauseAt + MaxFrame
	// maxNesting bounds batches inside batches. Each level is a recursion.
	maxNesting = 16
	// aloneFrom is the size above which an item is a frame of its own also while corked: a batch would save it nothing, and copies it.
	aloneFrom = 8 << 10
	// keepBatch is the largest encoding buffer that is kept for the next batch, in bytes, for as long as the connection lives. An unproven
	// peer can make a batch long by what it asks for.
	keepBatch = 4 << 10
)
