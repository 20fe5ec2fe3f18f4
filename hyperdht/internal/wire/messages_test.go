package wire_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type vec[T any] struct {
	Value T
	Hex   vectors.Hex
	Note  string
}

type peerValue struct {
	PublicKey      vectors.Hex
	RelayAddresses []vectors.Addr
}

func (p *peerValue) peer(t *testing.T) *wire.Peer {
	if p == nil {
		return nil
	}
	return &wire.Peer{PublicKey: p.PublicKey.Key(t), RelayAddrs: vectors.AddrPorts(p.RelayAddresses)}
}

type mutableValue struct {
	PublicKey, Value, Signature vectors.Hex
	Seq                         uint64
}

type holepunchPayloadValue struct {
	Error               wire.PayloadError
	Firewall            wire.Firewall
	Round               uint64
	Connected, Punching bool
	Addresses           []vectors.Addr
	RemoteAddress       vectors.Addr
	Token, RemoteToken  vectors.Hex
}

func (v holepunchPayloadValue) payload(t *testing.T) wire.HolepunchPayload {
	return wire.HolepunchPayload{
		Error: v.Error, Firewall: v.Firewall, Round: v.Round, Connected: v.Connected, Punching: v.Punching,
		Addrs: vectors.AddrPorts(v.Addresses), RemoteAddr: v.RemoteAddress.AddrPort,
		Token: array32(t, v.Token), RemoteToken: array32(t, v.RemoteToken),
	}
}

type messages struct {
	Handshake []vec[struct {
		Mode                      wire.Mode
		Noise                     vectors.Hex
		PeerAddress, RelayAddress vectors.Addr
	}]
	Holepunch []vec[struct {
		Mode        wire.Mode
		ID          uint64
		Payload     vectors.Hex
		PeerAddress vectors.Addr
	}]
	HolepunchPayload []vec[holepunchPayloadValue]
	Peer             []vec[peerValue]
	Announce         []vec[struct {
		Peer               *peerValue
		Refresh, Signature vectors.Hex
		Bump               uint64
	}]
	LookupReply []vec[struct {
		Peers []vectors.Hex
		Bump  *uint64
	}]
	MutableSignable    []vec[mutableValue]
	MutablePutRequest  []vec[mutableValue]
	MutableGetResponse []vec[mutableValue]
	PluginRequest      []vec[struct {
		Plugin           string
		Version, Command uint64
		Value            vectors.Hex
	}]
	Broken []struct {
		Type string
		Hex  vectors.Hex
	}
}

func load(t testing.TB) messages { return vectors.Load[messages](t, "messages") }

// check holds a message to its vector and to the policy of the package.
func check[M message](t *testing.T, parse func([]byte) (M, error), m M, want vectors.Hex) {
	t.Helper()
	match(t, parse, m, want)
	prefixesFail(t, parse, want)
	trailingIgnored(t, parse, want)
}

func TestHandshakesMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).Handshake {
		check(t, wire.ParseHandshake, wire.Handshake{
			Mode: v.Value.Mode, Noise: v.Value.Noise,
			PeerAddr: v.Value.PeerAddress.AddrPort, RelayAddr: v.Value.RelayAddress.AddrPort,
		}, v.Hex)
	}
}

func TestHolepunchesMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).Holepunch {
		check(t, wire.ParseHolepunch, wire.Holepunch{
			Mode: v.Value.Mode, ID: v.Value.ID, Payload: v.Value.Payload, PeerAddr: v.Value.PeerAddress.AddrPort,
		}, v.Hex)
	}
}

func TestHolepunchPayloadsMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).HolepunchPayload {
		check(t, wire.ParseHolepunchPayload, v.Value.payload(t), v.Hex)
	}
}

func TestPeersMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).Peer {
		check(t, wire.ParsePeer, *v.Value.peer(t), v.Hex)
	}
}

func TestAnnouncesMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).Announce {
		check(t, wire.ParseAnnounce, wire.Announce{
			Peer: v.Value.Peer.peer(t), Refresh: array32(t, v.Value.Refresh),
			Signature: array64(v.Value.Signature), Bump: v.Value.Bump,
		}, v.Hex)
	}
}

func TestLookupRepliesMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).LookupReply {
		m, records := wire.LookupReply{Peers: []wire.Peer{}}, [][]byte{}
		for _, record := range v.Value.Peers {
			p, err := wire.ParsePeer(record)
			if err != nil {
				t.Fatal(err)
			}
			m.Peers, records = append(m.Peers, p), append(records, record)
		}
		if v.Value.Bump == nil { // only old nodes leave it out
			got, err := wire.ParseLookupReply(v.Hex)
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("parse %s = %+v, %v", v.Hex, got, err)
			}
			continue
		}
		m.Bump = *v.Value.Bump
		match(t, wire.ParseLookupReply, m, v.Hex)
		bumpless := len(v.Hex) - len(wire.MutableGet{Seq: m.Bump}.Append(nil))
		prefixesFail(t, wire.ParseLookupReply, v.Hex, bumpless)
		trailingIgnored(t, wire.ParseLookupReply, v.Hex)
		if got := wire.AppendLookupReply(nil, records, m.Bump); !bytes.Equal(got, v.Hex) {
			t.Errorf("append records = %x, want %s", got, v.Hex)
		}
	}
}

func TestMutableValuesMatchVectorsBothWays(t *testing.T) {
	f := load(t)
	value := func(v mutableValue) wire.MutableValue {
		return wire.MutableValue{Seq: v.Seq, Value: v.Value, Signature: [64]byte(v.Signature)}
	}
	for _, v := range f.MutableGetResponse {
		check(t, wire.ParseMutableValue, value(v.Value), v.Hex)
	}
	for _, v := range f.MutablePutRequest {
		check(t, wire.ParseMutablePut, wire.MutablePut{PublicKey: v.Value.PublicKey.Key(t), MutableValue: value(v.Value)}, v.Hex)
	}
	again(t, wire.ParseMutableGet, wire.MutableGet{Seq: 70000}.Append(nil))
}

func TestPluginRequestsMatchVectorsBothWays(t *testing.T) {
	for _, v := range load(t).PluginRequest {
		check(t, wire.ParsePluginRequest, wire.PluginRequest{
			Plugin: v.Value.Plugin, Version: v.Value.Version, Command: v.Value.Command, Value: v.Value.Value,
		}, v.Hex)
	}
}

func TestBrokenMessagesAreRefused(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"handshake":        func(b []byte) error { _, err := wire.ParseHandshake(b); return err },
		"holepunch":        func(b []byte) error { _, err := wire.ParseHolepunch(b); return err },
		"holepunchPayload": func(b []byte) error { _, err := wire.ParseHolepunchPayload(b); return err },
		"announce":         func(b []byte) error { _, err := wire.ParseAnnounce(b); return err },
		"peer":             func(b []byte) error { _, err := wire.ParsePeer(b); return err },
		"lookupReply":      func(b []byte) error { _, err := wire.ParseLookupReply(b); return err },
	}
	for _, v := range load(t).Broken {
		if parsers[v.Type](v.Hex) == nil {
			t.Errorf("%s %s was accepted", v.Type, v.Hex)
		}
	}
}

// The packages do not know this flag. It adds no bytes, so that they read the rest as ever.
func TestFastProbesAreAFlagWithoutBytes(t *testing.T) {
	m := wire.HolepunchPayload{Firewall: wire.FirewallRandom, Round: 1, Punching: true, Token: &[32]byte{7}}
	plain := m.Append(nil)
	m.FastProbes = true
	got := m.Append(nil)
	plain[0] |= 64
	if !bytes.Equal(got, plain) {
		t.Errorf("% x, want % x", got, plain)
	}
	if back, err := wire.ParseHolepunchPayload(got); err != nil || !back.FastProbes || !back.Punching || *back.Token != *m.Token {
		t.Errorf("read as %+v, %v", back, err)
	}
}

// The packages know neither this flag nor the number, which comes after all that they read. Flags of 253 and more take three bytes.
func TestRetryAfterIsANumberBehindTheRest(t *testing.T) {
	m := wire.HolepunchPayload{Error: wire.ErrorTryLater, Round: 1}
	plain := m.Append(nil)
	m.TakesRetryAfter, m.RetryAfter = true, 70000
	got := m.Append(nil)
	if want := vectors.ExampleBytes(t, "dhtprom", "clear text of an answer to wait 70 s"); !bytes.Equal(got, want) || !bytes.Equal(got[1:4], plain[1:]) {
		t.Errorf("% x, want %s", got, want)
	}
	m = wire.HolepunchPayload{
		Connected: true, Punching: true, Addrs: addrs(1), RemoteAddr: addrs(1)[0], Token: &[32]byte{7}, RemoteToken: &[32]byte{8},
		FastProbes: true, TakesRetryAfter: true, RetryAfter: 5,
	}
	got = m.Append(nil)
	if !bytes.HasPrefix(got, []byte{0xfd, 0xff, 0}) || len(got) != m.Size() {
		t.Errorf("%d bytes % x, want %d that begin with the flags", len(got), got, m.Size())
	}
	if back, err := wire.ParseHolepunchPayload(got); err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("read as %+v, %v", back, err)
	}
	for n := range len(got) {
		if _, err := wire.ParseHolepunchPayload(got[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(got))
		}
	}
}

func TestUnknownFlagsAreIgnored(t *testing.T) {
	if m, err := wire.ParseHandshake([]byte{0xfc, 0, 1, 7}); err != nil || len(m.Noise) != 1 {
		t.Errorf("handshake: %+v, %v", m, err)
	}
	if m, err := wire.ParseAnnounce([]byte{0xf0}); err != nil || m != (wire.Announce{}) {
		t.Errorf("announce: %+v, %v", m, err)
	}
	if m, err := wire.ParseHolepunchPayload([]byte{0xfd, 0, 0x81, 0, 2, 0}); err != nil || m.FastProbes || m.TakesRetryAfter {
		t.Errorf("holepunch payload: %+v, %v", m, err)
	}
	if _, err := wire.ParseResponse([]byte{0x13, 0xe0, 1, 0, 1, 2, 3, 4, 5, 6}); err != nil {
		t.Errorf("response: %v", err)
	}
}

func TestAddressListsAreNotAllocatedBeforeTheyAreThere(t *testing.T) {
	peer := append(make([]byte, 32), 0xfe, 0, 0, 0x10, 0, 1, 2, 3)
	if n := testing.AllocsPerRun(10, func() { _, _ = wire.ParsePeer(peer) }); n > 0 {
		t.Errorf("%v allocations for a count without contents", n)
	}
}

type relayVectors struct {
	Messages []struct {
		Type  int
		Value struct {
			IsInitiator bool
			Token       vectors.Hex
			ID          uint32
			Seq         uint64
		}
		Hex vectors.Hex
	}
}

func TestRelayMessagesMatchVectorsBothWays(t *testing.T) {
	for _, v := range vectors.Load[relayVectors](t, "blind-relay").Messages {
		token := v.Value.Token.Key(t)
		if v.Type == 1 {
			check(t, wire.ParseRelayUnpair, wire.RelayUnpair{Token: token}, v.Hex)
			continue
		}
		m := wire.RelayPair{Initiator: v.Value.IsInitiator, Token: token, ID: v.Value.ID, Seq: v.Value.Seq}
		check(t, wire.ParseRelayPair, m, v.Hex)

		wide := append([]byte{0xfd, v.Hex[0], 0}, v.Hex[1:]...)
		if got, err := wire.ParseRelayPair(wide); err != nil || got != m {
			t.Errorf("wide bitfield: %+v, %v", got, err)
		}
	}
}

func TestUnpairMayHaveAReason(t *testing.T) {
	m := wire.RelayUnpair{Token: [32]byte(bytes.Repeat([]byte{7}, 32)), Reason: wire.RelayKeyFull}
	b := vectors.ExampleBytes(t, "dhtprom", "unpair of a relay that is full for one key")
	if got, err := wire.ParseRelayUnpair(b); err != nil || got != m || !bytes.Equal(m.Append(nil), b) {
		t.Errorf("%s is read as %+v, %v, and written as %x", b, got, err, m.Append(nil))
	}
}

func TestStreamIDsAbove32BitsAreRefused(t *testing.T) {
	b := wire.RelayPair{ID: 1}.Append(nil)
	b = append(b[:33], 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0)
	if m, err := wire.ParseRelayPair(b); err == nil {
		t.Errorf("parsed as %+v", m)
	}
}

func FuzzParseRequest(f *testing.F) {
	fuzz(f, wire.ParseRequest, wire.Request{ID: &id.NodeID{1}, Token: &id.Token{2}, Target: &id.Target{3}, Command: 300, Value: []byte{1}})
}

func FuzzParseResponse(f *testing.F) {
	fuzz(f, wire.ParseResponse, wire.Response{ID: &id.NodeID{1}, Token: &id.Token{2}, Closer: addrs(2), Error: 16, Value: []byte{}})
}

func FuzzParsePingNAT(f *testing.F)  { fuzz(f, wire.ParsePingNAT, wire.PingNAT{Port: 49737}) }
func FuzzParseDownHint(f *testing.F) { fuzz(f, wire.ParseDownHint, wire.DownHint{Node: addrs(1)[0]}) }
func FuzzParseDelayedPing(f *testing.F) {
	fuzz(f, wire.ParseDelayedPing, wire.DelayedPing{Delay: 1e9})
}

func FuzzParseHandshake(f *testing.F) {
	fuzz(f, wire.ParseHandshake, wire.Handshake{Mode: wire.Reply, Noise: []byte("noise"), PeerAddr: addrs(1)[0], RelayAddr: addrs(1)[0]})
}

func FuzzParseHolepunch(f *testing.F) {
	fuzz(f, wire.ParseHolepunch, wire.Holepunch{Mode: wire.FromRelay, ID: 300, Payload: []byte("payload"), PeerAddr: addrs(1)[0]})
}

func FuzzParseHolepunchPayload(f *testing.F) {
	fuzz(f, wire.ParseHolepunchPayload, wire.HolepunchPayload{
		Firewall: 2, Connected: true, Addrs: addrs(2), RemoteAddr: addrs(1)[0], Token: &[32]byte{1}, RemoteToken: &[32]byte{2}, TakesRetryAfter: true, RetryAfter: 70000,
	})
}

func FuzzParsePeer(f *testing.F) { fuzz(f, wire.ParsePeer, wire.Peer{RelayAddrs: addrs(3)}) }

func FuzzParseLookupReply(f *testing.F) {
	fuzz(f, wire.ParseLookupReply, wire.LookupReply{Peers: []wire.Peer{{RelayAddrs: addrs(3)}, {}}, Bump: 1700000000000})
}

func FuzzParseAnnounce(f *testing.F) {
	fuzz(f, wire.ParseAnnounce, wire.Announce{Peer: &wire.Peer{RelayAddrs: addrs(1)}, Refresh: &[32]byte{1}, Signature: &[64]byte{2}, Bump: 3})
}

func FuzzParseMutablePut(f *testing.F) {
	fuzz(f, wire.ParseMutablePut, wire.MutablePut{MutableValue: wire.MutableValue{Seq: 5, Value: []byte("hello")}})
}

func FuzzParseMutableValue(f *testing.F) {
	fuzz(f, wire.ParseMutableValue, wire.MutableValue{Seq: 5, Value: []byte("hello")})
}

func FuzzParseMutableGet(f *testing.F) { fuzz(f, wire.ParseMutableGet, wire.MutableGet{Seq: 1 << 40}) }

func FuzzParsePluginRequest(f *testing.F) {
	fuzz(f, wire.ParsePluginRequest, wire.PluginRequest{Plugin: "example", Version: 1, Command: 2, Value: []byte{}})
}

func FuzzParseRelayPair(f *testing.F) {
	fuzz(f, wire.ParseRelayPair, wire.RelayPair{Initiator: true, ID: 70000, Seq: 1})
}

func FuzzParseRelayUnpair(f *testing.F) { fuzz(f, wire.ParseRelayUnpair, wire.RelayUnpair{}) }

func addrs(n byte) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 49737))
	}
	return list
}
