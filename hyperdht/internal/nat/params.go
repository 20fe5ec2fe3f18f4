package nat

// Fixed by the protocol.
const (
	ringSize = 32 // two entries per sample (nat-sampler index.js)
	lookBack = 4  // samples that are searched for an equal one (nat-sampler index.js)

	// SamplesNeeded is how many samples the classifier needs for any verdict (hyperdht lib/nat.js).
	SamplesNeeded = 3
	// SamplesWanted is how many samples are gathered before giving up on a better verdict (hyperdht lib/nat.js).
	SamplesWanted = 4
)

// Our choice.
const (
	// FewSamples is how many samples make a verdict when no more are to be had.
	FewSamples = 2
	// maxResponders bounds how many different responders a classifier remembers. A socket is classified by
	// a handful; whoever comes later is not counted any more.
	maxResponders = 256
)
