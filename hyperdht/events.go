package hyperdht

import "github.com/dhtprom/dhtprom/hyperdht/internal/peering"

// AttemptEvent is what a node tells its host's trace about the making of connections, dialled and received ones:
// who wants to see them reads the trace (host.Host). They are meant for people and tests: steps may come to be.
type AttemptEvent = peering.AttemptEvent

// AttemptStep is one step of making a connection, or of its end.
type AttemptStep = peering.AttemptStep

// WayOutcome is the outcome of one way to a server that a dial has considered, see package peering.
type WayOutcome = peering.WayOutcome

// The outcomes.
const (
	WayTrying      = peering.WayTrying
	WaySelected    = peering.WaySelected
	WaySilent      = peering.WaySilent
	WayLater       = peering.WayLater
	WayUnproven    = peering.WayUnproven
	WayFailed      = peering.WayFailed
	WayReplaced    = peering.WayReplaced
	WayUnneeded    = peering.WayUnneeded
	WayExcluded    = peering.WayExcluded
	WayUnavailable = peering.WayUnavailable
)

// The steps of an attempt, see package peering for what each of them says: first those of the side that dials, then
// those of both, then those of the side that is dialled.
const (
	AttemptStarted    = peering.AttemptStarted
	AttemptRecord     = peering.AttemptRecord
	AttemptSearched   = peering.AttemptSearched
	AttemptHandshake  = peering.AttemptHandshake
	AttemptUnanswered = peering.AttemptUnanswered
	AttemptAnswered   = peering.AttemptAnswered
	AttemptWaiting    = peering.AttemptWaiting
	AttemptLAN        = peering.AttemptLAN
	AttemptLANFailed  = peering.AttemptLANFailed
	AttemptProbing    = peering.AttemptProbing
	AttemptProbed     = peering.AttemptProbed
	AttemptAgreed     = peering.AttemptAgreed

	AttemptPunching    = peering.AttemptPunching
	AttemptPunchFailed = peering.AttemptPunchFailed
	AttemptRelay       = peering.AttemptRelay
	AttemptRelayPaired = peering.AttemptRelayPaired
	AttemptRelayFailed = peering.AttemptRelayFailed
	AttemptPath        = peering.AttemptPath
	AttemptTried       = peering.AttemptTried
	AttemptFirstPacket = peering.AttemptFirstPacket
	AttemptOpen        = peering.AttemptOpen
	AttemptWay         = peering.AttemptWay
	AttemptClosed      = peering.AttemptClosed

	AttemptReceived = peering.AttemptReceived
	AttemptRefused  = peering.AttemptRefused
	AttemptAborted  = peering.AttemptAborted
)
