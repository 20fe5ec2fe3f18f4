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
	// From is the address of the node, To our address as the node sees it.
	From, To netip.AddrPort
	// ID is the node's id. HasID is set if the node is persistent and its id fits its address.
	ID    id.NodeID
	HasID bool
	// Value is the value of the answer; nil is absent.
	Value []byte
	// Error is the code of a refusal, 0 for none.
	Error uint64
	// RTT is the time from the request to the answer, repetitions included.
	RTT time.Duration
}

// Closest returns the answers of the nearest nodes to the target, the nearest first.
func (q *Query) Closest() []Reply {
	list := make([]Reply, 0, len(q.q.Closest()))
	for _, r := range q.q.Closest() {
		list = append(list, Reply{From: r.From, To: r.To, ID: r.ID, HasID: r.HasID, Value: r.Value, Error: r.Error, RTT: r.RTT})
	}
	return list
}

// Successes returns the number of nodes that have answered without a refusal.
func (q *Query) Successes() int { return q.q.Successes() }

// Errors returns the number of nodes that have refused, or not answered.
func (q *Query) Errors() int { return q.q.Errors() }

// Answers returns the number of nodes that have answered.
func (q *Query) Answers() int { return q.q.Answers() }

// Hops returns the length of the chain of nodes that led to the nearest one that has answered.
func (q *Query) Hops() int { return q.q.Hops() }

// Done reports whether the query has ended.
func (q *Query) Done() bool { return q.q.Done() }

// Destroy ends the query. Its done function gets an error, unless the query has ended.
func (q *Query) Destroy() { q.q.Destroy() }
