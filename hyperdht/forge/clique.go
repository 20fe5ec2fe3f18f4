package forge

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Clique is the DHT nodes of an attacker, by address. They answer every request at once, accept every record, and name only each
// other.
type Clique []netip.AddrPort

// cliqueCloser is the number of nodes in an answer, as in those of honest nodes.
const cliqueCloser = 20

// Answer returns the response of the node at self to a request from a host; nil if it is no request.
func (c Clique) Answer(self, from netip.AddrPort, request []byte) []byte {
	m, err := wire.ParseRequest(request)
	if err != nil {
		return nil
	}
	node := id.NodeIDOf(self)
	r := wire.Response{TID: m.TID, To: from, ID: &node, Token: &id.Token{1}}
	if m.Target != nil {
		near := slices.Clone(c)
		slices.SortFunc(near, func(x, y netip.AddrPort) int { return id.Closer(*m.Target, id.NodeIDOf(x), id.NodeIDOf(y)) })
		r.Closer = near[:min(cliqueCloser, len(near))]
	}
	return r.Append(nil)
}
