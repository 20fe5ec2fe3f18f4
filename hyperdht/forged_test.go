package hyperdht_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// all are the addresses of the sockets that a host without a router has, or has had.
func (a *actor) all() (addrs []netip.AddrPort) {
	for _, port := range a.l.log.sockets[a.host.Name()] {
		addrs = append(addrs, netip.AddrPortFrom(a.host.Addr(), port))
	}
	return addrs
}

// nuisance sends unsolicited datagrams to all sockets of both sides: responses without a request, requests with invalid
// contents, replayed responses, packets of unknown streams, and bytes of no protocol.
func (s *spy) nuisance() {
	l := s.l
	target, relayTarget := keysOf(answererKey).Public.Target(), keysOf(relayKey).Public.Target()
	over := l.log.responses
	for _, to := range append(l.dialler.all(), l.answerer.all()...) {
		for _, b := range append([][]byte{{}, {0, 0}, {0xff, 1}, make([]byte, 100), {2, 1}, {3, 1}}, over...) {
			s.send(to, b)
		}
		for mode := range wire.Mode(6) {
			h := wire.Handshake{Mode: mode, Noise: make([]byte, 120), PeerAddr: s.addr(), RelayAddr: s.addr()}.Append(nil)
			p := wire.Holepunch{Mode: mode, Payload: make([]byte, 60), PeerAddr: s.addr()}.Append(nil)
			for command, value := range [][]byte{wire.CmdPeerHandshake: h, wire.CmdPeerHolepunch: p} {
				r := wire.Request{TID: 0xfff1, To: to, Command: uint64(command), Value: value}
				s.send(to, wire.Response{TID: 0xfff0, To: to, Value: value}.Append(nil))
				s.send(to, r.Append(nil))
				for _, r.Target = range []*id.Target{&target, &relayTarget} {
					s.send(to, r.Append(nil))
				}
			}
		}
		for _, flags := range []udx.Flags{0, udx.FlagData, udx.FlagEnd, udx.FlagDestroy, udx.FlagMessage, udx.FlagHeartbeat} {
			s.send(to, udx.Header{Flags: flags, StreamID: 12345, Window: udx.DefaultWindow}.Append(nil))
		}
	}
}

var numbers = regexp.MustCompile(`id=\d+|answerer#\d`)

// outcome is the transcript of a dial without counts and without the numbers that count a stranger's handshakes, too.
func outcome(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "= ") && !strings.Contains(line, "* refused") {
			kept = append(kept, numbers.ReplaceAllString(line, "answerer  "))
		}
	}
	return strings.Join(kept, "")
}

// Unsolicited datagrams of an off-path host do not change a dial, in any of its phases.
func TestStrangersChangeNothing(t *testing.T) {
	for _, p := range phases {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			play := func(strangers bool) string {
				l, _ := p.reach(t, public())
				l.log.deaf = true
				if strangers {
					s := l.spy()
					for range 4 {
						s.nuisance()
						l.run(7 * time.Millisecond)
					}
				} else {
					l.run(28 * time.Millisecond)
				}
				l.run(20 * time.Second)
				return outcome(l.finish())
			}
			quiet, disturbed := play(false), play(true)
			if quiet != disturbed {
				t.Errorf("undisturbed:\n%s\ndisturbed:\n%s", quiet, disturbed)
			}
		})
	}
}

// What an off-path host can do, and what it cannot, if it knows or guesses a port or an identifier.
func TestForgeries(t *testing.T) {
	for _, test := range []struct {
		name  string
		phase phase
		forge func(l *lab, s *spy)
	}{
		// One byte to a punching socket counts as the peer's probe, from any host. It takes the port.
		{name: "forged-probe", phase: phases[4], forge: func(l *lab, s *spy) {
			for _, to := range l.dialler.all() {
				s.send(to, []byte{0})
			}
		}},
		// Even a connection that works, over a relay, ends by it while its sides still punch.
		{name: "forged-probe-while-relayed", phase: phases[7], forge: func(l *lab, s *spy) {
			for _, to := range l.dialler.all() {
				s.send(to, []byte{0})
			}
		}},
		// The first packet decides the path, wherever it is from, but it has to begin as only the peer's stream can. The id, of 32
		// bits that are encrypted, is known to hosts that got first packets of the dialler at an address that is not the peer's. Before
		// the answer the dialler cannot tell, and only the server knows its id.
		{name: "forged-stream-packet-for-the-dialler", phase: phases[2], forge: func(l *lab, s *spy) {
			s.send(l.dialler.addr(), udx.Header{Flags: udx.FlagData, StreamID: l.log.streamIDs["dialler"], Window: udx.DefaultWindow}.Append(nil))
		}},
		{name: "forged-stream-packet-before-the-answer", phase: phases[1], forge: func(l *lab, s *spy) {
			s.send(l.dialler.addr(), udx.Header{Flags: udx.FlagData, StreamID: l.log.streamIDs["dialler"], Window: udx.DefaultWindow}.Append(nil))
		}},
		{name: "forged-stream-packet-for-the-answerer", phase: phases[2], forge: func(l *lab, s *spy) {
			s.send(l.answerer.addr(), udx.Header{Flags: udx.FlagData, StreamID: l.log.streamIDs["answerer"], Window: udx.DefaultWindow}.Append(nil))
		}},
		// A response with the 16 bits of the transaction comes from a host that was not asked: nothing happens.
		{name: "forged-answer-to-the-handshake", phase: phases[1], forge: func(l *lab, s *spy) { s.answerAll(wire.CmdPeerHandshake) }},
		{name: "forged-answer-to-the-round", phase: phases[2], forge: func(l *lab, s *spy) { s.answerAll(wire.CmdPeerHolepunch) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := test.phase
			p.apart = p.name == "punching" || p.relay // else the true path is free, and would be found at once
			l, _ := p.reach(t, public())
			test.forge(l, l.spy())
			l.run(30 * time.Second)
			l.end(test.name)
		})
	}
}

// answerAll sends a response with nothing in it to the dialler's requests of a command.
func (s *spy) answerAll(command uint64) {
	for tid := range uint16(0xffff) {
		for _, relay := range s.l.dht {
			for _, from := range s.l.dialler.all() {
				if c, ok := s.l.log.calls[callKey{from, relay.addr(), tid}]; ok && c == command {
					s.send(from, wire.Response{TID: tid, To: from}.Append(nil))
				}
			}
		}
	}
}

// Two homes behind one carrier, and in the dialler's a bystander that has the answerer's private address. It answers the
// ping of the LAN shortcut, and the dial takes it for the server: it gives up punching and the relay, each time.
func TestBystanderOnTheLAN(t *testing.T) {
	t.Parallel()
	twin := netip.MustParseAddr("192.168.1.10")
	var carrier *simnet.Router
	home := func(name, outside string, inside netip.Addr) place {
		return place{host: func(l *lab) (*simnet.Host, *simnet.Router) {
			if carrier == nil {
				carrier = l.net.AddRouter("carrier", simnet.PortRestricted(), netip.MustParseAddr("100.128.2.99"))
			}
			r := carrier.LAN().AddRouter(name, simnet.PortRestricted(), netip.MustParseAddr(outside))
			l.log.names[carrier.Addr()], l.log.actors["carrier"] = "carrier", true
			if name == "dialler's home" {
				h := r.AddHost("bystander", twin)
				l.start("bystander", h, nil, hyperdht.Config{
					Bootstrap: l.bootstrap, Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), mainPort),
				})
			}
			return r.AddHost(name[:len(name)-len("'s home")], inside), nil
		}}
	}
	l := newLab(t, 4, home("dialler's home", "100.64.0.2", netip.MustParseAddr("192.168.1.11")), home("answerer's home", "100.64.0.3", twin))
	l.relay(hyperdht.RelayConfig{})
	l.log.names[twin] = "twin"
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	l.begin()
	l.log.main["twin"] = l.log.main["answerer"]
	l.dial(hyperdht.ConnectOptions{})
	l.run(30 * time.Second)
	l.end("lan-bystander")
}
