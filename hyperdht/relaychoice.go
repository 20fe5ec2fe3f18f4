package hyperdht

import (
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relayChoice is the blind relay that this side names for a connection, and the token by which the relay pairs the two sides.
type relayChoice struct {
	relayKey   id.PublicKey // zero for none
	relayToken [32]byte
}

// choose selects one of several relays.
func (r *relayChoice) choose(p *peering, relays []id.PublicKey) {
	r.relayKey = p.pickRelay(relays)
	r.relayToken = p.newRelayToken()
}

// named returns the choice as it is sent to the other side, nil for none.
func (r *relayChoice) named() *wire.RelayThrough {
	if r.relayKey == (id.PublicKey{}) {
		return nil
	}
	return &wire.RelayThrough{Key: r.relayKey, Token: r.relayToken}
}

// newRelayToken returns a token that both sides of a pairing send to the relay.
func (p *peering) newRelayToken() [32]byte {
	var t [32]byte
	host.Draw(p.host.Rand(), t[:])
	return t
}

// pickRelay chooses one of several relays at random, as the reference implementation does.
func (p *peering) pickRelay(relays []id.PublicKey) id.PublicKey {
	var b [1]byte
	host.Draw(p.host.Rand(), b[:])
	return relays[int(b[0])%len(relays)]
}
