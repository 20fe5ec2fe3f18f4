package dht

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Conversions between the types of domain and hyperdht.

func keyPairOf(k domain.KeyPair) id.KeyPair { return id.KeyPairFromSeed(id.Seed(k.Seed.Reveal())) }

func relayKeys(keys []domain.PublicKey) []id.PublicKey {
	out := make([]id.PublicKey, 0, len(keys))
	for _, k := range keys {
		out = append(out, id.PublicKey(k))
	}
	return out
}

func pathFrom(p hyperdht.Path) domain.Path {
	switch p {
	case hyperdht.PathLAN:
		return domain.PathLAN
	case hyperdht.PathDirect:
		return domain.PathDirect
	case hyperdht.PathPunched:
		return domain.PathPunched
	case hyperdht.PathRelayed:
		return domain.PathRelay
	}
	return domain.PathUnknown
}

func detourFrom(d hyperdht.Detour) domain.Detour {
	out := domain.Detour{Reason: detourReasons[d.Reason], Cause: CauseOf(d.Err)}
	if d.Reason != hyperdht.DetourNone {
		out.Local, out.Remote = d.Ours.String(), d.Theirs.String()
	}
	return out
}

var detourReasons = [...]domain.DetourReason{
	hyperdht.DetourNone: domain.DetourNone, hyperdht.DetourRule: domain.DetourRule, hyperdht.DetourSearching: domain.DetourSearching,
	hyperdht.DetourNotFound: domain.DetourNotFound, hyperdht.DetourTakeover: domain.DetourTakeover,
}

func pathRule(r domain.PathRule) hyperdht.PathRule {
	switch r {
	case domain.DirectOnly:
		return hyperdht.DirectOnly
	case domain.RelayOnly:
		return hyperdht.RelayOnly
	}
	return hyperdht.AnyPath
}

func payloadFrom(p *hyperdht.HandshakePayload) domain.HandshakePayload {
	out := domain.HandshakePayload{
		Version:    p.Version,
		Error:      uint64(p.Error),
		Firewall:   uint64(p.Firewall),
		Addresses4: p.Addrs4,
		Addresses6: p.Addrs6,
	}
	if h := p.Holepunch; h != nil {
		out.Holepunch = &domain.HolepunchOffer{ID: h.ID}
		for _, r := range h.Relays {
			out.Holepunch.Relays = append(out.Holepunch.Relays, domain.RelayAddr{Relay: r.RelayAddr, Peer: r.PeerAddr})
		}
	}
	if u := p.UDX; u != nil {
		out.UDX = &domain.UDXOffer{ReusableSocket: u.ReusableSocket, ID: u.ID, Seq: u.Seq}
	}
	if s := p.SecretStream; s != nil {
		version := s.Version
		out.SecretStream = &version
	}
	if r := p.RelayThrough; r != nil {
		key := domain.PublicKey(r.Key)
		out.RelayThrough = &key
	}
	return out
}
