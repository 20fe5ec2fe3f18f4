package wire

import "strconv"

// Fixed by the protocol: internal commands (dht-rpc lib/commands.js).
const (
	CmdPing        uint64 = 0
	CmdPingNAT     uint64 = 1
	CmdFindNode    uint64 = 2
	CmdDownHint    uint64 = 3
	CmdDelayedPing uint64 = 4
)

// Fixed by the protocol: application commands (hyperdht lib/constants.js).
const (
	CmdPeerHandshake uint64 = 0
	CmdPeerHolepunch uint64 = 1
	CmdFindPeer      uint64 = 2
	CmdLookup        uint64 = 3
	CmdAnnounce      uint64 = 4
	CmdUnannounce    uint64 = 5
	CmdMutablePut    uint64 = 6
	CmdMutableGet    uint64 = 7
	CmdImmutablePut  uint64 = 8
	CmdImmutableGet  uint64 = 9
	CmdPlugin        uint64 = 10
)

// Fixed by the protocol: error codes of responses (dht-rpc lib/errors.js, hyperdht lib/constants.js).
const (
	CodeNone           uint64 = 0
	CodeUnknownCommand uint64 = 1
	CodeInvalidToken   uint64 = 2
	CodeSeqReused      uint64 = 16
	CodeSeqTooLow      uint64 = 17
)

// Fixed by the protocol.
const (
	// typeRequest and typeResponse start a packet: type in the high nibble, version 3 in the low one.
	typeRequest  = 0x03
	typeResponse = 0x13
	// payloadVersion is the version of the Noise payload and of the parts inside it.
	payloadVersion = 1
	// MaxDelayedPing is the longest delay that a node accepts, in milliseconds (dht-rpc index.js).
	MaxDelayedPing = 10_000
)

// Mode is the origin of a handshake or holepunch message (hyperdht lib/router.js).
type Mode uint64

// The modes. Others are parsed but not answered.
const (
	FromClient      Mode = 0
	FromServer      Mode = 1
	FromRelay       Mode = 2
	FromSecondRelay Mode = 3
	Reply           Mode = 4
)

func (m Mode) String() string {
	return name(uint64(m), "from client", "from server", "from relay", "from second relay", "reply")
}

// Firewall is the kind of NAT a peer believes to be behind.
type Firewall uint64

// The firewalls.
const (
	FirewallUnknown    Firewall = 0
	FirewallOpen       Firewall = 1
	FirewallConsistent Firewall = 2
	FirewallRandom     Firewall = 3
)

func (f Firewall) String() string {
	return name(uint64(f), "unknown", "open", "consistent", "random")
}

// PayloadError is the verdict inside a Noise or holepunch payload.
type PayloadError uint64

// The payload errors.
const (
	ErrorNone            PayloadError = 0
	ErrorAborted         PayloadError = 1
	ErrorVersionMismatch PayloadError = 2
	ErrorTryLater        PayloadError = 3
)

func (e PayloadError) String() string {
	return name(uint64(e), "none", "aborted", "version mismatch", "try later")
}

// name is the v-th name, or the number where there is none.
func name(v uint64, names ...string) string {
	if v < uint64(len(names)) {
		return names[v]
	}
	return strconv.FormatUint(v, 10)
}
