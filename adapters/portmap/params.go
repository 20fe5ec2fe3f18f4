package portmap

import "time"

// Fixed by the protocols.
const (
	serverPort  = 5351 // of PCP (RFC 6887, section 19) and NAT-PMP (RFC 6886, section 1.1)
	nonceSize   = 12
	pcpVersion  = 2
	pmpVersion  = 0
	opMap       = 1   // of PCP
	opAddress   = 0   // of NAT-PMP
	opMapUDP    = 1   // of NAT-PMP
	answerBit   = 128 // of the opcode
	protocolUDP = 17
	// pcpTimeout and pmpTimeout are the times before a request is repeated first, which double (RFC 6887, section 8.1.1; RFC 6886,
	// section 3.1).
	pcpTimeout = 3 * time.Second
	pmpTimeout = 250 * time.Millisecond
	// maxMessage is the size of the longest PCP message (RFC 6887, section 7).
	maxMessage = 1100
)

// Chosen by this implementation.
const (
	// pcpTransmissions and pmpTransmissions of a request. The router is one hop away. The RFCs repeat without end and for a minute.
	pcpTransmissions = 2
	pmpTransmissions = 3
	// lifetime that is requested. RFC 6886 recommends 2 h; a router that has restarted is noticed at a renewal, and the mapping of a
	// node that was killed ends sooner.
	lifetime = 10 * time.Minute
	// maxLifetime bounds the lifetime that is taken from an answer.
	maxLifetime = 24 * time.Hour
	// minRenewal is the least time between two renewals (RFC 6887, section 11.2.1).
	minRenewal = 4 * time.Second
	// restAfterSilence is the pause before a router that does not answer, or whose mapping is useless, is asked again.
	restAfterSilence = time.Hour
	// minRest and maxRest bound the pause that follows a refusal, whose lifetime the router determines.
	minRest = time.Minute
	maxRest = time.Hour
	// releaseTransmissions and releaseTimeout of a release. A mapping that is not released ends with its lifetime.
	releaseTransmissions = 2
	releaseTimeout       = 250 * time.Millisecond
	// askLimit bounds a round of requests: by PCP, then for the address and the mapping by NAT-PMP. restLimit bounds a rest, and closeLimit a
	// release.
	askLimit   = 15 * time.Second
	restLimit  = restAfterSilence * 11 / 10
	closeLimit = time.Second
	// checkEvery is the least time between two uses of Check that ask the router.
	checkEvery = 10 * time.Second
)
