package hyperdht

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Public types stand for internal ones by conversion, so their values must agree.
func TestPublicConstantsAreTheInternalOnes(t *testing.T) {
	for public, internal := range map[Mode]rpc.Mode{Adaptive: rpc.Adaptive, Ephemeral: rpc.Ephemeral, Persistent: rpc.Persistent} {
		if rpc.Mode(public) != internal {
			t.Errorf("mode %d is %d", public, internal)
		}
	}
	for public, internal := range map[NATKind]nat.Kind{NATUnknown: nat.Unknown, NATOpen: nat.Open, NATConsistent: nat.Consistent, NATRandom: nat.Random} {
		if nat.Kind(public) != internal {
			t.Errorf("NAT %v is %v", public, internal)
		}
	}
}

func TestPublicPayloadHasAllThatWasSent(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:1")
	sent := wire.NoisePayload{
		Version: 1, Error: 2, Firewall: 300,
		Holepunch: &wire.HolepunchInfo{ID: 3, Relays: []wire.RelayInfo{{RelayAddr: at, PeerAddr: netip.MustParseAddrPort("192.0.2.2:2")}}},
		Addrs4:    []netip.AddrPort{at}, Addrs6: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:3")},
		UDX: &wire.UDXInfo{Version: 1, ReusableSocket: true, ID: 4, Seq: 5}, SecretStream: &wire.SecretStreamInfo{Version: 1},
		RelayThrough: &wire.RelayThrough{Version: 1, Key: [32]byte{6}, Token: [32]byte{7}}, RelayAddrs: []netip.AddrPort{at},
	}
	for name, m := range map[string]wire.NoisePayload{"full": sent, "empty": {Version: 1}} {
		p := publicPayload(&m)
		if got := p.Append(nil); !bytes.Equal(got, m.Append(nil)) || p.Size() != len(got) {
			t.Errorf("%s: %+v, %d bytes, stands for %+v", name, p, p.Size(), m)
		}
	}
}

func TestListenErrorNamesTheAddress(t *testing.T) {
	taken := netip.MustParseAddrPort("192.0.2.1:4000")
	net := simnet.New(simnet.Config{Seed: 1})
	h := net.AddHost("h", taken.Addr())
	occupy := func() func() {
		s, err := h.OpenSocket(taken)
		if err != nil {
			t.Fatal(err)
		}
		return s.Close
	}
	check := func(what string, err error) {
		t.Helper()
		if e, ok := errors.AsType[*ListenError](err); !ok || e.Addr != taken || e.Err == nil || !errors.Is(err, e.Err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ended := false
	h.Do(func() {
		free := occupy()
		_, err := New(h, Config{Listen: taken, Bootstrap: []string{}})
		check("new", err)
		free()
		n, err := New(h, Config{Listen: taken, Bootstrap: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		n.Suspend(func() {
			free := occupy()
			check("resume", n.Resume())
			free()
			n.Close(nil)
			ended = true
		})
	})
	if !net.RunUntil(func() bool { return ended }, time.Minute) {
		t.Error("suspending did not end")
	}
}
