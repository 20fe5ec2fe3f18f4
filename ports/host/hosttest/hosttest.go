// Package hosttest is the contract of package host as a test suite. Every host runs it, so that code
// tested on the simulated one behaves on a real one.
package hosttest

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Rig is a fresh host under test.
type Rig struct {
	Host host.Host
	// Addr is an address at which the host can reach its own sockets.
	Addr netip.Addr
	// Await runs f as a turn of the host and waits until f, or an operation that it started, has called done. It fails the test
	// when nothing is left to wait for, or waiting takes too long.
	Await func(t *testing.T, f func(done func()))
	// Close closes the host. It is not called on the loop.
	Close func()
}

// Run runs the suite. newRig is called for each test and cleans up after itself with t.Cleanup.
func Run(t *testing.T, newRig func(t *testing.T) Rig) {
	tests := []struct {
		name string
		run  func(*testing.T, Rig)
	}{
		{"TimersFireInOrderOfTheirDeadlines", timersFireInOrderOfTheirDeadlines},
		{"EqualDeadlinesFireInOrderArmed", equalDeadlinesFireInOrderArmed},
		{"ResetCountsAsArmingAnew", resetCountsAsArmingAnew},
		{"TimerNeverFiresEarlyNorInsideTheCallThatArmsIt", timerNeverFiresEarly},
		{"StoppedTimerNeverFires", stoppedTimerNeverFires},
		{"TimerStoppedByAnotherDueAtTheSameInstantNeverFires", timerStoppedByItsTwin},
		{"StopTellsWhetherTheTimerWasPending", stopTellsWhetherPending},
		{"ResetOfAPendingTimerFiresOnce", resetOfPendingFiresOnce},
		{"ResetRevivesFiredAndStoppedTimers", resetRevives},
		{"ResetToAnEarlierInstantFiresEarlier", resetToEarlier},
		{"NowStandsStillInATurnAndNeverGoesBack", nowStandsStill},
		{"DeferredRunsAtTheEndOfTheTurnInOrder", deferredRunsAtTheEnd},
		{"PostedRunsInLaterTurnsInOrder", postedRunsLater},
		{"SocketsGetDistinctFreePorts", socketsGetFreePorts},
		{"BoundPortIsRefusedToOthersUntilClosed", boundPortIsRefused},
		{"DatagramsArriveWithSenderAndPayload", datagramsArrive},
		{"SentBytesAreTheCallersAgain", sentBytesAreTheCallersAgain},
		{"ReceivedBytesStayUntilTheTurnEnds", receivedBytesStay},
		{"LatestReceiverGetsTheDatagram", latestReceiver},
		{"ClosedSocketReceivesNothing", closedSocketReceivesNothing},
		{"WhatIsSentBeforeCloseLeaves", sentBeforeCloseLeaves},
		{"SocketClosedByItsReceiverReceivesNothingMore", socketClosedByItsReceiver},
		{"ImpossibleSendsAreLostQuietly", impossibleSends},
		{"LookupOfALiteralAnswersInALaterTurn", lookupOfLiteral},
		{"AddrsAreIPv4InAStableOrder", addrsAreStable},
		{"ComputationsEndInLaterTurns", computationsEndInLaterTurns},
		{"EachComputationRunsOnce", eachComputationRunsOnce},
		{"OtherTurnsRunBetweenComputations", otherTurnsRunBetweenComputations},
		{"GatewayIsOnThisMachinesNetwork", gatewayIsOnTheNetwork},
		{"RandFillsBuffers", randFills},
		{"ClosedHostReportsIt", closedHostReportsIt},
		{"ClosedHostEndsNoComputation", closedHostEndsNoComputation},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newRig(t)) })
	}
}
