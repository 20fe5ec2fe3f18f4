package kernelnat

import (
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/interop/netns"
)

const (
	fromInside = `iifname "lan" accept; `
	answers    = `ct state established,related accept;`
)

// The kinds that both have. Linux has a mapping for each remote end, but gives it the port of the inside socket whenever it
// can: as long as two inside sockets do not use the same one, that is a port-restricted cone.
var (
	portRestricted    = kind{"port-restricted", simnet.PortRestricted(), fromInside + answers, `oifname "wan" masquerade`}
	masquerade        = kind{"masquerade", simnet.Masquerade(), fromInside + answers, `oifname "wan" masquerade`}
	masqueradeRandom  = kind{"random", simnet.MasqueradeRandom(), fromInside + answers, `oifname "wan" masquerade random`}
	masqueradeFully   = kind{"fully random", simnet.MasqueradeRandom(), fromInside + answers, `oifname "wan" masquerade fully-random`}
	symmetricRandom   = kind{"symmetric random", simnet.SymmetricRandom(), fromInside + answers, `oifname "wan" masquerade fully-random`}
	firewallOnly      = kind{"firewall", simnet.FirewallOnly(), fromInside + answers, ``}
	udpBlocked        = kind{"UDP blocked", simnet.UDPBlocked(), `meta l4proto udp drop; ` + fromInside + answers, `oifname "wan" masquerade`}
	udpBlockedNoRoute = kind{"UDP blocked", simnet.UDPBlocked(), `meta l4proto udp drop; ` + fromInside + answers, ``}
	onePort           = kind{"one port", simnet.OnePort(simnet.Masquerade(), 443), `iifname "lan" udp dport != 443 drop; ` + fromInside + answers, `oifname "wan" masquerade`}
	onePortNoNAT      = kind{"one port", simnet.OnePort(simnet.FirewallOnly(), 443), `iifname "lan" udp dport != 443 drop; ` + fromInside + answers, ``}
	openRouter        = kind{"open", simnet.Open(), `accept`, ``}
)

// The same with short timeouts for tests; Young is fixed in Linux, and the same in simnet.
var (
	shortMasquerade = withTimes(masquerade)
	shortFirewall   = withTimes(firewallOnly)
)

func withTimes(k kind) kind {
	k.nat.Unanswered, k.nat.Lifetime = 4*time.Second, 6*time.Second
	return k
}

// smallTable has room for two sessions.
var smallTable = func() kind {
	k := masquerade
	k.nat.Size, k.nat.Full = 2, simnet.RefuseNew
	k.forward = `ct state new ct count over 2 drop; ` + k.forward
	return k
}()

// home is two hosts behind a router, and two servers.
func home(k kind) topology {
	t := topology{
		joints: []joint{{name: "r", uplink: internet, addr: "198.18.0.1", lan: "192.168.1.0/24", lanAddr: "192.168.1.1", kind: k}},
		places: []place{
			{"x", "198.18.1.1", internet}, {"y", "198.18.1.2", internet},
			{"a", "192.168.1.2", "192.168.1.0/24"}, {"b", "192.168.1.3", "192.168.1.0/24"},
		},
	}
	return t
}

// nested is home inside another router.
func nested(inner, outer kind) topology {
	t := home(inner)
	t.joints[0].uplink, t.joints[0].addr = "100.64.0.0/24", "100.64.0.2"
	carrier := joint{name: "carrier", uplink: internet, addr: "198.18.0.1", lan: "100.64.0.0/24", lanAddr: "100.64.0.1", kind: outer}
	t.joints = append([]joint{carrier}, t.joints...)
	t.places = append(t.places, place{"n", "100.64.0.3", "100.64.0.0/24"})
	return t
}

// neighbours is two homes with a host each.
func neighbours(left, right kind) topology {
	return topology{
		joints: []joint{
			{name: "left", uplink: internet, addr: "198.18.0.1", lan: "192.168.1.0/24", lanAddr: "192.168.1.1", kind: left},
			{name: "right", uplink: internet, addr: "198.18.0.2", lan: "192.168.2.0/24", lanAddr: "192.168.2.1", kind: right},
		},
		places: []place{{"a", "192.168.1.2", "192.168.1.0/24"}, {"b", "192.168.2.2", "192.168.2.0/24"}, {"x", "198.18.1.1", internet}},
	}
}

// mapping tests the address that remote ends see, and which of them may answer.
func mapping(s *story) {
	s.say("x:1", "r:5000")
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.sayToPeerOf("x:2", "x:1")
	s.sayToPeerOf("y:1", "x:1")
	s.say("a:5000", "x:2")
	s.answer("x:2")
	s.say("a:5000", "y:1")
	s.answer("y:1")
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.say("a:5001", "x:1")
	s.answer("x:1")
	s.sayToPeerOf("y:1", "x:1")
}

// sharing has two hosts use the same port, towards different ends and towards one.
func sharing(s *story) {
	s.say("a:5000", "x:1")
	s.say("b:5000", "y:1")
	s.answer("x:1")
	s.answer("y:1")
	s.say("b:5000", "x:1")
	s.answer("x:1")
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.say("a:5000", "b:5000")
}

// hairpin has hosts call each other by their public addresses.
func hairpin(s *story) {
	s.say("a:5000", "x:1")
	s.say("b:6000", "x:2")
	s.say("b:6000", "r:5000")
	s.say("a:5000", "r:6000")
	s.say("a:5000", "b:6000")
	s.answer("x:1")
}

// lowTTL opens NATs with datagrams that are dropped on the way, and then lets both in.
func lowTTL(s *story) {
	s.sayTTL("a:5000", "right:6000", 1)
	s.say("b:6000", "left:5000") // the near router dropped it before it could create a session
	s.sayTTL("a:5000", "right:6000", 2)
	s.say("b:6000", "left:5000")
	s.say("a:5000", "right:6000")
	s.say("x:1", "left:5000")
	s.sayTTL("a:5000", "x:1", 1)
	s.sayTTL("a:5000", "x:1", 2)
}

// deep tests two nested routers, and a neighbour between them.
func deep(s *story) {
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.sayToPeerOf("y:1", "x:1")
	s.say("a:5000", "y:1")
	s.answer("y:1")
	s.say("b:5000", "x:1")
	s.answer("x:1")
	s.say("n:7000", "x:2")
	s.answer("x:2")
	s.say("a:5000", "n:7000")
	s.answer("n:7000")
	s.say("n:7000", "r:5001")
}

// web sends to the port that is let out, and to others.
func web(s *story) {
	s.say("a:5000", "x:443")
	s.answer("x:443")
	s.say("a:5000", "x:1")
	s.sayToPeerOf("x:1", "x:443")
	s.say("a:5001", "y:443")
	s.answer("y:443")
	s.say("a:5000", "y:53")
	s.say("a:5000", "x:443")
	s.answer("x:443")
}

// routed tests hosts behind a router that does not translate.
func routed(s *story) {
	s.say("x:1", "a:5000")
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.say("x:2", "a:5000")
	s.say("y:1", "a:5000")
	s.say("a:5001", "x:1")
	s.say("a:5000", "b:5000")
}

// lifetimes waits for sessions to end, those without refresh and not the others. Between the times of two decisions lie
// 0.75 seconds at least.
func lifetimes(s *story) {
	s.after(0)
	s.say("a:5001", "x:1") // never answered
	s.say("a:5002", "x:2")
	s.answer("x:2")
	s.say("a:5003", "x:3")
	s.answer("x:3")
	s.say("a:5004", "x:4") // answered twice, both within the first two seconds
	s.answer("x:4")
	s.say("a:5004", "x:4")
	s.answer("x:4")
	s.say("a:5005", "x:5")
	s.answer("x:5")
	s.say("a:5006", "x:6")
	s.after(2750 * time.Millisecond)
	s.say("a:5002", "x:2") // refreshed from inside
	s.answer("x:3")        // refreshed from outside
	s.say("a:5005", "x:5") // no refresh after that
	s.answer("x:6")        // the first answer refreshes, too, but as of an unanswered session
	s.after(5500 * time.Millisecond)
	s.answer("x:6")
	s.answer("x:1")
	s.answer("x:4")
	s.after(7750 * time.Millisecond)
	s.answer("x:2")
	s.answer("x:3")
	s.after(10 * time.Second)
	s.answer("x:3")
	s.answer("x:2")
	s.answer("x:5")
	s.answer("x:6")
}

// rebooting has the router forget its sessions between datagrams.
func rebooting(s *story) {
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.reboot("r")
	s.answer("x:1")
	s.say("a:5000", "x:1")
	s.answer("x:1")
}

// moving gives the router another address between datagrams.
func moving(s *story) {
	s.say("a:5000", "x:1")
	s.say("b:6000", "x:2")
	s.answer("x:1")
	s.move("r", "198.18.0.9")
	s.answer("x:1")
	s.say("x:1", "r:5000")
	s.say("a:5000", "x:1")
	s.answer("x:1")
	s.say("x:2", "r:6000")
	s.say("b:6000", "x:2")
	s.answer("x:2")
}

// crowding opens more sessions than the table holds.
func crowding(s *story) {
	s.say("a:5000", "x:1")
	s.answer("x:1") // to a rule, a session is new until an answer came
	s.say("a:5000", "x:2")
	s.answer("x:2")
	s.say("a:5000", "y:1")
	s.say("b:6000", "x:1")
	s.say("a:5000", "x:1")
	s.say("a:5000", "x:2")
	s.answer("x:1")
	s.answer("x:2")
}

func TestSimulatedNATsDoAsTheKernelDoes(t *testing.T) {
	netns.Need(t, "knat", "ip", "nft")
	tests := []struct {
		name     string
		topology topology
		story    func(*story)
		ends     string
		hears    int // least number of datagrams that must arrive: two worlds in which nothing arrives prove nothing
	}{
		{"port-restricted cone", home(portRestricted), mapping, "a:5000 a:5001 x:1 x:2 y:1", 10},
		{"masquerade", home(masquerade), mapping, "a:5000 a:5001 x:1 x:2 y:1", 10},
		{"masquerade random", home(masqueradeRandom), mapping, "a:5000 a:5001 x:1 x:2 y:1", 10},
		{"masquerade fully random", home(masqueradeFully), mapping, "a:5000 a:5001 x:1 x:2 y:1", 10},
		{"symmetric random", home(symmetricRandom), mapping, "a:5000 a:5001 x:1 x:2 y:1", 10},
		{"two hosts behind one", home(masquerade), sharing, "a:5000 b:5000 x:1 y:1", 9},
		{"no hairpin", home(masquerade), hairpin, "a:5000 b:6000 x:1 x:2", 4},
		{"no hairpin of a cone", home(portRestricted), hairpin, "a:5000 b:6000 x:1 x:2", 4},
		{"low TTL", neighbours(portRestricted, portRestricted), lowTTL, "a:5000 b:6000 x:1", 3},
		{"low TTL, masquerade", neighbours(masquerade, masquerade), lowTTL, "a:5000 b:6000 x:1", 3},
		{"cone in a cone", nested(portRestricted, portRestricted), deep, "a:5000 b:5000 n:7000 x:1 x:2 y:1", 10},
		{"cone in a random one", nested(masquerade, masqueradeFully), deep, "a:5000 b:5000 n:7000 x:1 x:2 y:1", 10},
		{"random in a cone", nested(masqueradeFully, masquerade), deep, "a:5000 b:5000 n:7000 x:1 x:2 y:1", 10},
		{"UDP blocked", home(udpBlocked), mapping, "a:5000 a:5001 x:1 x:2 y:1", 0},
		{"one port", home(onePort), web, "a:5000 a:5001 x:443 x:1 y:443 y:53", 6},
		{"one port through a firewall", routedHome(onePortNoNAT), web, "a:5000 a:5001 x:443 x:1 y:443 y:53", 6},
		{"firewall", routedHome(firewallOnly), routed, "a:5000 a:5001 b:5000 x:1 x:2 y:1", 4},
		{"open router", routedHome(openRouter), routed, "a:5000 a:5001 b:5000 x:1 x:2 y:1", 7},
		{"lifetimes", home(shortMasquerade), lifetimes, "a:5001 a:5002 a:5003 a:5004 a:5005 a:5006 x:1 x:2 x:3 x:4 x:5 x:6", 22},
		{"lifetimes of a firewall", routedHome(shortFirewall), lifetimes, "a:5001 a:5002 a:5003 a:5004 a:5005 a:5006 x:1 x:2 x:3 x:4 x:5 x:6", 22},
		{"reboot", home(masquerade), rebooting, "a:5000 x:1", 4},
		{"reboot of a firewall", routedHome(firewallOnly), rebooting, "a:5000 x:1", 4},
		{"another address", home(masquerade), moving, "a:5000 b:6000 x:1 x:2", 7},
		{"table for two", home(smallTable), crowding, "a:5000 b:6000 x:1 x:2 y:1", 8},
		{"blocking router", routedHome(udpBlockedNoRoute), routed, "a:5000 a:5001 b:5000 x:1 x:2 y:1", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			real, sim := build(t, test.topology), simulate(test.topology)
			for _, e := range strings.Fields(test.ends) {
				real.open(parse(e))
				sim.open(parse(e))
			}
			got := newStory(sim, test.topology, "")
			test.story(got)
			want := newStory(real, test.topology, got.text.String())
			test.story(want)
			if want.text.String() != got.text.String() {
				t.Errorf("the kernel:\n%s\nthe simulator:\n%s", want.text.String(), got.text.String())
			}
			if n := strings.Count(want.text.String(), "hears"); n != test.hears {
				t.Errorf("%d datagrams arrived, want %d:\n%s", n, test.hears, want.text.String())
			}
		})
	}
}

// routedHome is home with addresses that the internet knows.
func routedHome(k kind) topology {
	t := home(k)
	t.joints[0].lan, t.joints[0].lanAddr = "198.19.0.0/24", "198.19.0.1"
	for i, p := range t.places {
		if p.segment != internet {
			t.places[i].segment, t.places[i].addr = "198.19.0.0/24", strings.Replace(p.addr, "192.168.1.", "198.19.0.", 1)
		}
	}
	return t
}
