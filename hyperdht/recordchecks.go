package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
)

// recordChecks paces the cycles of an announcer with shared keys until lookups lead to its server alone. Its first lookup may have missed nodes: some
// that are near to the key, or some with the record of its predecessor, which leads callers to a server that is gone. So it looks itself up, and
// announces again, 1, 2, 4 and so on rounds of pings after the cycle before.
//
// The records of all servers under a key are equal. A record is known to be this server's by the node that has it: one that took it in the last
// cycle.
type recordChecks struct {
	made int // since the last time that they have passed
	good int // in a row
}

// longestRecordCheck is the exponent of the longest wait between two checks: 64 rounds, which take three minutes.
const longestRecordCheck = 6

// recordChecksNeeded is the number of successful checks in a row, six seconds apart or more: the loss of packets, or of a network for a moment,
// hides the same nodes from a check at once.
const recordChecksNeeded = 2

// passed counts a check, and reports whether no further one is due.
func (c *recordChecks) passed(found bool) bool {
	c.made++
	c.good++
	if !found {
		c.good = 0
	}
	if c.good < recordChecksNeeded {
		return false
	}
	*c = recordChecks{good: recordChecksNeeded}
	return true
}

// wait returns the number of rounds of pings until the next check.
func (c *recordChecks) wait() int { return 1 << min(c.made-1, longestRecordCheck) }

// holdRecord reports whether a lookup leads to a server alone: the nearest nodes, and all others with a record, are among those that it
// has announced to.
func holdRecord(replies []rpc.Reply, announced []netip.AddrPort) bool {
	for i, r := range replies {
		if i < announceRelays && r.Value == nil || (i < announceRelays || r.Value != nil) && !slices.Contains(announced, r.From) {
			return false
		}
	}
	return len(replies) > 0
}
