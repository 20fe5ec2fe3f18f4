package domain

import (
	"net/netip"
	"time"
)

// Path is the kind of path that a connection uses.
type Path uint8

// The paths, from best to worst.
const (
	PathUnknown Path = iota
	PathLAN          // a shared local network, or this machine
	PathDirect       // one side has an open address
	PathPunched      // through holes that both sides punched into their NATs
	PathRelay        // through a third party
	PathTURN         // through this machine's TURN server
)

func (p Path) String() string {
	switch p {
	case PathLAN:
		return "lan"
	case PathDirect:
		return "direct"
	case PathPunched:
		return "punched"
	case PathRelay:
		return "relayed"
	case PathTURN:
		return "turn"
	default:
		return "unknown"
	}
}

// Paths lists the paths of connections that have one.
func Paths() []Path { return []Path{PathLAN, PathDirect, PathPunched, PathRelay, PathTURN} }

// Peer is the remote end of a connection.
type Peer struct {
	Key  PublicKey
	Addr netip.AddrPort
	Path Path
}

// LinkStats are measurements of a connection by one of its sides.
type LinkStats struct {
	RTT    time.Duration // smoothed round-trip time; 0 before the first measurement
	Sent   uint64        // packets with data, repetitions included
	Resent uint64        // repetitions of packets that were taken for lost
}

// ResentShare returns the share of repetitions in what was sent, from 0 to 1. It estimates the loss of packets in that direction.
func (l LinkStats) ResentShare() float64 {
	if l.Sent == 0 {
		return 0
	}
	return float64(l.Resent) / float64(l.Sent)
}

// HandshakePayload is a peer's description of itself before it is admitted: HyperDHT's remoteHandshakePayload. All of it is
// unverified.
type HandshakePayload struct {
	Version      uint64
	Error        uint64
	Firewall     uint64 // 0 unknown, 1 open, 2 consistent, 3 random
	Holepunch    *HolepunchOffer
	Addresses4   []netip.AddrPort
	Addresses6   []netip.AddrPort
	UDX          *UDXOffer
	SecretStream *uint64    // version
	RelayThrough *PublicKey // the blind relay that the peer requests
}

// HolepunchOffer has the peer's parameters for a hole punch.
type HolepunchOffer struct {
	ID     uint64
	Relays []RelayAddr
}

// RelayAddr is a DHT node that a peer is reached through, and the peer's address as that node sees it.
type RelayAddr struct{ Relay, Peer netip.AddrPort }

// UDXOffer is the peer's end of the stream.
type UDXOffer struct {
	ReusableSocket bool
	ID             uint32
	Seq            uint64
}
