package nat

// Fixed by the protocol.
const (
	ringSize = 32 // two entries per sample (nat-sampler index.js)
	lookBack = 4  // samples that are searched for an equal one (nat-sampler index.js)

	// SamplesNeeded is the number of samples that any verdict needs (hyperdht lib/nat.js).
	SamplesNeeded = 3
	// SamplesWanted is the number of samples that are gathered for a better verdict (hyperdht lib/nat.js).
	SamplesWanted = 4
)

// Our choice.
const (
	// FewSamples is the number of samples that suffice for a verdict when no more will come.
	FewSamples = 2
	// maxResponders bounds the responders that a classifier remembers. A socket is classified by
	// a handful; later ones are not counted.
	maxResponders = 256
)
