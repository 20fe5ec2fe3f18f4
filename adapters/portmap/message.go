package portmap

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

type nonce = [nonceSize]byte

// answer is an answer of a router, of either protocol.
type answer struct {
	version  byte
	opcode   byte
	result   uint16
	lifetime time.Duration // of the mapping, or of the refusal; 0 in an answer with an address
	epoch    uint32        // seconds since the router has lost its mappings
	nonce    nonce         // of PCP
	protocol byte          // of PCP
	internal uint16
	external netip.AddrPort // NAT-PMP has address and port in different answers
}

var errMessage = errors.New("portmap: malformed answer")

// parse parses an answer.
func parse(b []byte) (answer, error) {
	if len(b) < 4 || len(b) > maxMessage || b[1]&answerBit == 0 {
		return answer{}, errMessage
	}
	a := answer{version: b[0], opcode: b[1] &^ answerBit}
	if a.version == pmpVersion {
		return a.parsePMP(b)
	}
	return a.parsePCP(b)
}

const (
	pcpHeader = 24
	pcpMap    = pcpHeader + 36
)

func (a answer) parsePCP(b []byte) (answer, error) {
	if len(b) < pcpHeader || len(b)%4 != 0 {
		return answer{}, errMessage
	}
	a.result = uint16(b[3])
	a.lifetime = seconds(b[4:])
	a.epoch = binary.BigEndian.Uint32(b[8:])
	if a.version != pcpVersion && a.result == resultVersion { // what follows is not known
		return a, nil
	}
	if a.version != pcpVersion || a.opcode != opMap || len(b) < pcpMap {
		return answer{}, errMessage
	}
	a.nonce = nonce(b[24:36])
	a.protocol = b[36]
	a.internal = binary.BigEndian.Uint16(b[40:])
	ip := netip.AddrFrom16([16]byte(b[44:60])).Unmap()
	a.external = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[42:]))
	return a, nil
}

// parsePMP parses an answer of NAT-PMP. A refusal may end after the epoch.
func (a answer) parsePMP(b []byte) (answer, error) {
	if len(b) < 8 {
		return answer{}, errMessage
	}
	a.result = binary.BigEndian.Uint16(b[2:])
	a.epoch = binary.BigEndian.Uint32(b[4:])
	switch {
	case a.result != 0:
	case a.opcode == opAddress && len(b) == 12:
		a.external = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:12])), 0)
	case a.opcode == opMapUDP && len(b) == 16:
		a.internal = binary.BigEndian.Uint16(b[8:])
		a.external = netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[10:]))
		a.lifetime = seconds(b[12:])
	default:
		return answer{}, errMessage
	}
	return a, nil
}

func seconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// appendPCP appends a MAP request of PCP, for the external address and port that are wanted; none if it is invalid. A lifetime of 0
// releases the mapping.
func appendPCP(b []byte, local netip.Addr, n nonce, internal uint16, wanted netip.AddrPort, life time.Duration) []byte {
	b = append(b, pcpVersion, opMap, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(life/time.Second))
	ip := local.As16()
	b = append(b, ip[:]...)
	b = append(b, n[:]...)
	b = append(b, protocolUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, internal)
	b = binary.BigEndian.AppendUint16(b, wanted.Port())
	ip = netip.IPv4Unspecified().As16()
	if wanted.Addr().IsValid() {
		ip = wanted.Addr().As16()
	}
	return append(b, ip[:]...)
}

// appendPMP appends a request for the mapping of a UDP port by NAT-PMP. A lifetime of 0 releases it.
func appendPMP(b []byte, internal, wanted uint16, life time.Duration) []byte {
	b = append(b, pmpVersion, opMapUDP, 0, 0)
	b = binary.BigEndian.AppendUint16(b, internal)
	b = binary.BigEndian.AppendUint16(b, wanted)
	return binary.BigEndian.AppendUint32(b, uint32(life/time.Second))
}

// resultVersion is the result of a router that does not support the version of a request, of both protocols.
const resultVersion = 1

var pcpResults = [...]string{
	1: "version not supported", 2: "not authorized", 3: "malformed request", 4: "opcode not supported", 5: "option not supported",
	6: "malformed option", 7: "network failure", 8: "no resources", 9: "protocol not supported", 10: "quota exceeded",
	11: "external address not available", 12: "address mismatch", 13: "too many peers",
}

var pmpResults = [...]string{
	1: "version not supported", 2: "not authorized", 3: "network failure", 4: "no resources", 5: "opcode not supported",
}

// reason names the result of a refusal.
func (a *answer) reason() string {
	names := pcpResults[:]
	if a.version == pmpVersion {
		names = pmpResults[:]
	}
	if int(a.result) < len(names) && names[a.result] != "" {
		return names[a.result]
	}
	return "unknown result"
}

var shared = netip.MustParsePrefix("100.64.0.0/10")

// isGlobal reports whether an external address can be reached from the internet.
func isGlobal(a netip.Addr) bool {
	return a.Is4() && a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}
