package udx

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on one stream.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "udx.DefaultReceiveBuffer", What: "data that the reader has not taken",
			Scope: bound.PerConnection, Limit: bound.Bytes(DefaultReceiveBuffer), Policy: bound.Wait,
			Reason: "what the JavaScript advertises; closes the window of the sender",
		},
		{
			Name: "udx.maxGapped", What: "data beyond a gap, in addition",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxGapped), Policy: bound.Wait,
			Reason: "a lossy path goes on while packets are repeated; more closes the window of the sender",
		},
		{
			Name: "udx.maxReorder", What: "packets kept beyond a gap",
			Scope: bound.PerConnection, Limit: bound.Count(maxReorder), Policy: bound.DropNew,
			Reason: "a window of 4 MiB in packets of the smallest size is 7,944",
		},
		{
			Name: "udx.maxOutstanding", What: "packets sent and not acknowledged",
			Scope: bound.PerConnection, Limit: bound.Count(maxOutstanding), Policy: bound.Wait,
			Reason: "tiny packets cannot take memory that the limits in bytes do not see",
		},
		{
			Name: "udx.maxMergedAcks", What: "packets that share an acknowledgement",
			Scope: bound.PerConnection, Limit: bound.Count(maxMergedAcks), Policy: bound.Wait,
			Reason: "senders were seen to be at ease with 8 to 32",
		},
		{
			Name: "udx.Amplification", What: "bytes sent to an address that has not answered, for each byte of its peer",
			Scope: bound.PerAttempt, Limit: bound.Count(Amplification), Policy: bound.Wait,
			Reason:  "RFC 9000 section 8.1: handshakes with a forged source or an invented address must not flood it",
			Counter: "dhtprom_handshake_answers_withheld_total",
		},
		{
			Name: "udx.maxExpiries", What: "retransmission timeouts without progress",
			Scope: bound.PerConnection, Limit: bound.Count(maxExpiries), Policy: bound.End,
			Reason: "13 s at the smallest timeout, as in libudx",
		},
	}
}
