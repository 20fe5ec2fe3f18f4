package turn

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/internal/stunattr"

	"github.com/dhtprom/dhtprom/ports/host"
)

// message is the part of a STUN message that this package uses. Its slices are borrowed.
type message struct {
	kind       stun.MessageType
	id         transactionID
	code       int // of an error
	reason     string
	realm      []byte
	nonce      []byte
	algorithms []byte
	relayed    netip.AddrPort
	peer       netip.AddrPort
	alternate  netip.AddrPort
	lifetime   time.Duration
	data       []byte
	sentAt     host.Instant // when the request was sent that it answers
	raw        *stun.Message
}

type transactionID = [stun.TransactionIDSize]byte

var errMessage = errors.New("turn: malformed message")

// parse parses a message into raw, which is overwritten. Unused attributes are skipped.
func parse(b []byte, raw *stun.Message) (m message, err error) {
	if len(b) < headerSize || len(b) > maxFrame || len(b)%4 != 0 || b[0]>>6 != 0 ||
		binary.BigEndian.Uint32(b[4:]) != stunattr.MagicCookie || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return m, errMessage
	}
	raw.Reset()
	raw.Raw = append(raw.Raw, b...)
	if raw.Decode() != nil {
		return m, errMessage
	}
	m.kind, m.id, m.raw = raw.Type, raw.TransactionID, raw
	for _, a := range raw.Attributes {
		if err := m.take(a); err != nil {
			return m, err
		}
	}
	return m, nil
}

// take takes an attribute. pion's parsers panic on some short values.
func (m *message) take(a stun.RawAttribute) (err error) {
	v := a.Value
	switch a.Type {
	case stun.AttrErrorCode:
		if len(v) < 4 || len(v) > maxText {
			return errMessage
		}
		m.code, m.reason = int(v[2]&7)*100+int(v[3]%100), string(v[4:])
	case stun.AttrRealm:
		m.realm = v
	case stun.AttrNonce:
		m.nonce = v
	case attrPasswordAlgorithms:
		m.algorithms = v
	case stun.AttrXORRelayedAddress:
		m.relayed, err = relayedAddr(v, m.id)
	case stun.AttrXORPeerAddress:
		m.peer, err = stunattr.XORAddr(v)
	case stun.AttrAlternateServer:
		m.alternate, err = stunattr.Addr(v)
	case stun.AttrLifetime:
		if len(v) != 4 {
			return errMessage
		}
		m.lifetime = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	case stun.AttrData:
		m.data = v
	}
	if max(len(m.realm), len(m.nonce), len(m.algorithms)) > maxText {
		return errMessage
	}
	return err
}

// xorAddr returns the attribute XOR-PEER-ADDRESS of an IPv4 address.
func xorAddr(a netip.AddrPort) stun.RawAttribute {
	v := make([]byte, 8)
	v[1] = 1
	ip := a.Addr().As4()
	binary.BigEndian.PutUint16(v[2:], a.Port()^stunattr.MagicCookie>>16)
	binary.BigEndian.PutUint32(v[4:], binary.BigEndian.Uint32(ip[:])^stunattr.MagicCookie)
	return stun.RawAttribute{Type: stun.AttrXORPeerAddress, Value: v}
}

// seconds returns the attribute LIFETIME.
func seconds(d time.Duration) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrLifetime, Value: binary.BigEndian.AppendUint32(nil, uint32(d/time.Second))}
}

// channelNumber returns the attribute CHANNEL-NUMBER.
func channelNumber(n uint16) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{byte(n >> 8), byte(n), 0, 0}}
}

// requestedUDP is the attribute REQUESTED-TRANSPORT.
var requestedUDP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{protocolUDP, 0, 0, 0}}

// appendSend appends a Send indication (RFC 8656, section 11.1).
func appendSend(b []byte, id transactionID, to netip.AddrPort, data []byte) []byte {
	padded := (len(data) + 3) &^ 3
	b = binary.BigEndian.AppendUint16(b, stun.NewType(stun.MethodSend, stun.ClassIndication).Value())
	b = binary.BigEndian.AppendUint16(b, uint16(12+4+padded))
	b = binary.BigEndian.AppendUint32(b, stunattr.MagicCookie)
	b = append(b, id[:]...)
	ip := to.Addr().As4()
	b = binary.BigEndian.AppendUint16(b, uint16(stun.AttrXORPeerAddress))
	b = append(b, 0, 8, 0, 1)
	b = binary.BigEndian.AppendUint16(b, to.Port()^stunattr.MagicCookie>>16)
	b = binary.BigEndian.AppendUint32(b, binary.BigEndian.Uint32(ip[:])^stunattr.MagicCookie)
	b = binary.BigEndian.AppendUint16(b, uint16(stun.AttrData))
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, padded-len(data))...)
}

// appendChannelData appends ChannelData, padded as over streams, where datagrams do not mind.
func appendChannelData(b []byte, channel uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, -len(data)&(padding-1))...)
}

// isChannelData reports whether a frame is ChannelData.
func isChannelData(b []byte) bool { return len(b) >= channelHeader && b[0]>>6 == 1 }

// readChannelData parses ChannelData, with or without padding.
func readChannelData(b []byte) (channel uint16, data []byte, err error) {
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-channelHeader {
		return 0, nil, errMessage
	}
	return binary.BigEndian.Uint16(b), b[channelHeader : channelHeader+n], nil
}

// relayedAddr parses the address at which a server relays. One of IPv6 is for errors.
func relayedAddr(v []byte, id transactionID) (netip.AddrPort, error) {
	a, err := stunattr.XORAddr(v)
	if err != nil || a.IsValid() {
		return a, err
	}
	var ip [16]byte
	subtle.XORBytes(ip[:], v[4:], append(binary.BigEndian.AppendUint32(nil, stunattr.MagicCookie), id[:]...))
	return netip.AddrPortFrom(netip.AddrFrom16(ip), binary.BigEndian.Uint16(v[2:])^stunattr.MagicCookie>>16), nil
}

// isUsable reports whether datagrams can be sent to an address.
func isUsable(a netip.AddrPort) bool {
	if !a.Addr().Is4() || a.Port() == 0 {
		return false
	}
	first := a.Addr().As4()[0] // 0 is this network, and 224 and above are multicast, reserved and broadcast (RFC 6890)
	return first != 0 && first < 224
}

// isReachable reports whether an address that a server names can be one of other machines. Loopback is for servers on this machine.
func isReachable(a netip.AddrPort, server netip.Addr) bool {
	return isUsable(a) && !a.Addr().IsLinkLocalUnicast() && (!a.Addr().IsLoopback() || server.IsLoopback())
}
