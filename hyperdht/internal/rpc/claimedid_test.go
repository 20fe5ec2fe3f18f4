package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// A node's id is a hash of its address. A request or an answer from elsewhere that claims it has no id, even if the table
// knows the node: else it would take the node's place.
func TestIDsCountFromTheirAddressesOnly(t *testing.T) {
	var asked []*Request
	l := newLab(t, Config{App: onRequest(func(r *Request) { asked = append(asked, r) })})
	known := l.peerAt(netip.MustParseAddrPort("8.8.4.4:49737"), empty)
	other := l.peer(empty) // at a private address: behind the same router, as far as can be known
	l.do(func() { l.Ping(known.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	if l.Len() != 1 {
		t.Fatalf("%d nodes are known", l.Len())
	}
	claimed := id.NodeIDOf(known.addr)

	for _, p := range []*peer{known, other} {
		m := wire.Request{TID: 7, To: l.atServer(), Command: wire.CmdFindPeer, Target: &target, ID: &claimed}
		p.host.Do(func() { p.sock.Send(m.To, 0, m.Append(nil)) })
		l.net.Run(time.Second)
	}
	if len(asked) != 2 || !asked[0].HasID || asked[1].HasID {
		t.Errorf("%d requests, the second one has the id of another node", len(asked))
	}

	// An answer to a call.
	known.answer = func(m wire.Request) *wire.Response {
		other.host.Post(func() {
			other.sock.Send(known.got[len(known.got)-1].from, 0, wire.Response{TID: m.TID, To: known.got[0].from, ID: &claimed}.Append(nil))
		})
		return nil
	}
	o, done := l.outcome()
	l.do(func() { l.Request(RequestOptions{To: known.addr, Command: wire.CmdFindPeer, Target: &target}, done) })
	l.net.Run(time.Second)
	if o.calls != 1 || o.err != nil || o.reply.From != other.addr || o.reply.HasID {
		t.Errorf("answered %d times with %v from %v, with an id: %v", o.calls, o.err, o.reply.From, o.reply.HasID)
	}

	// An answer to a lookup, which could be recognised by the id alone.
	r := l.query(QueryConfig{Nodes: addrs([]*peer{known})})
	l.net.Run(10 * time.Second)
	if r.done != 1 || len(r.Closest()) != 0 {
		t.Errorf("done %d times, the closest nodes are %+v", r.done, r.Closest())
	}
}
