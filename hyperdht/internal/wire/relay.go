package wire

import "github.com/dhtprom/dhtprom/hyperdht/compact"

// relayFlagInitiator is bit 0 of a pair's bitfield.
const relayFlagInitiator = 1

// RelayPair is message 0 of the blind-relay channel, in both directions:
//
//	bitfield flags (bit 0 initiator) · fixed32 token · uint id · uint seq
//
// Towards the relay it names the sender's stream, from the relay the relay's own.
type RelayPair struct {
	Initiator bool
	Token     [32]byte
	ID        uint32
	Seq       uint64
}

// Size is the number of bytes Append appends.
func (m RelayPair) Size() int {
	return 1 + len(m.Token) + compact.UintSize(uint64(m.ID)) + compact.UintSize(m.Seq)
}

// Append appends the encoded message.
func (m RelayPair) Append(dst []byte) []byte {
	dst = append(dst, flag(m.Initiator, relayFlagInitiator))
	dst = append(dst, m.Token[:]...)
	dst = compact.AppendUint(dst, uint64(m.ID))
	return compact.AppendUint(dst, m.Seq)
}

// ParseRelayPair reads message 0 of a blind-relay channel.
func ParseRelayPair(b []byte) (RelayPair, error) {
	r := compact.NewReader(b)
	m := RelayPair{
		Initiator: bitfield(&r)&relayFlagInitiator != 0,
		Token:     r.Key(),
		ID:        streamID(&r),
		Seq:       r.Uint(),
	}
	if err := r.Err(); err != nil {
		return RelayPair{}, err
	}
	return m, nil
}

// RelayUnpair is message 1 of the blind-relay channel:
//
//	bitfield flags (0) · fixed32 token · uint reason (absent if 0)
//
// The reason is an addition of this implementation, sent from relays to clients. JavaScript relays send no such
// message to clients, and JavaScript clients ignore it.
type RelayUnpair struct {
	Token  [32]byte
	Reason RelayReason
}

// RelayReason is the reason for which a relay does not pair, or has ended a pair.
type RelayReason uint64

// The reasons. Others are read like RelayUnpaired.
const (
	RelayUnpaired RelayReason = 0 // without a reason
	RelayFull     RelayReason = 1 // it carries as many connections as it may
	RelayKeyFull  RelayReason = 2 // it carries as many of one key as it may
	RelayExpired  RelayReason = 3 // the other side did not come, or the pair carried nothing for long
)

// Size is the number of bytes Append appends.
func (m RelayUnpair) Size() int {
	if m.Reason == RelayUnpaired {
		return 1 + len(m.Token)
	}
	return 1 + len(m.Token) + compact.UintSize(uint64(m.Reason))
}

// Append appends the encoded message.
func (m RelayUnpair) Append(dst []byte) []byte {
	dst = append(append(dst, 0), m.Token[:]...)
	if m.Reason == RelayUnpaired {
		return dst
	}
	return compact.AppendUint(dst, uint64(m.Reason))
}

// ParseRelayUnpair reads message 1 of a blind-relay channel.
func ParseRelayUnpair(b []byte) (RelayUnpair, error) {
	r := compact.NewReader(b)
	bitfield(&r)
	m := RelayUnpair{Token: r.Key()}
	if err := r.Err(); err != nil {
		return RelayUnpair{}, err
	}
	if r.Len() > 0 {
		m.Reason = RelayReason(r.Uint())
		if r.Err() != nil {
			m.Reason = RelayUnpaired // an unknown reason
		}
	}
	return m, nil
}

// bitfield reads the first eight bits of a bitfield. Writers of few bits use one byte; the marked
// wider forms are accepted as compact-encoding-bitfield accepts them.
func bitfield(r *compact.Reader) byte {
	switch b := r.Uint8(); b {
	case 0xfd:
		return firstOf(r.Fixed(2))
	case 0xfe:
		return firstOf(r.Fixed(4))
	case 0xff:
		return firstOf(r.Fixed(8))
	default:
		return b
	}
}

func firstOf(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}
