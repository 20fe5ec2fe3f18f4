package hyperdht

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
)

// Query is a running lookup.
type Query struct {
	q *rpc.Query
}

// Reply is a DHT node's answer to a request.
type Reply struct {
	// From is the node that answered, To our address as it sees it.
	From, To netip.AddrPort
	// ID is the node's, if HasID: it is persistent, and its id fits its address.
	ID    id.NodeID
	HasID bool
	// Value is what it answered; nil is absent.
	Value []byte
	// Error is the code of a refusal, 0 for none.
	Error uint64
	// RTT is the time from the request to the answer, repetitions included.
	RTT time.Duration
}

// Closest are the answers of the nodes nearest to the target that have answered, the nearest first.
func (q *Query) Closest() []Reply {
	list := make([]Reply, 0, len(q.q.Closest()))
	for _, r := range q.q.Closest() {
		list = append(list, Reply{From: r.From, To: r.To, ID: r.ID, HasID: r.HasID, Value: r.Value, Error: r.Error, RTT: r.RTT})
	}
	return list
}

// Successes is the number of nodes that have answered without a refusal.
func (q *Query) Successes() int { return q.q.Successes() }

// Errors is the number of nodes that have refused, or not answered.
func (q *Query) Errors() int { return q.q.Errors() }

// Answers is the number of nodes that have answered.
func (q *Query) Answers() int { return q.q.Answers() }

// Hops is how many nodes led to the nearest one that has answered, one after the other.
func (q *Query) Hops() int { return q.q.Hops() }

// Done reports whether the query has ended.
func (q *Query) Done() bool { return q.q.Done() }

// Destroy ends the query. What it was asked to call at its end gets an error, unless it has ended.
func (q *Query) Destroy() { q.q.Destroy() }
