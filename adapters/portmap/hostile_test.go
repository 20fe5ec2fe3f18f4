package portmap

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// asking returns a lab whose client waits for an answer by PCP, from a router that is off, and the address of that.
func asking(t *testing.T) (*lab, netip.AddrPort) {
	l := newLab(t, simnet.PortMapping{PCP: true})
	l.router.Reboot(simnet.Reboot{DownFor: 1000 * time.Hour})
	l.host.Do(l.Start)
	return l, netip.AddrPortFrom(inner, serverPort)
}

// granting is an answer by PCP for the pending request.
func granting(l *lab, external netip.AddrPort, life time.Duration) []byte {
	b := appendPCP(nil, us, l.mapping.nonce, port, external, life)
	b[1] |= answerBit
	clear(b[8:24])
	return b
}

func TestMappingsThatAreNoneAreDropped(t *testing.T) {
	for what, b := range map[string]func(*lab) []byte{
		"no lifetime":  func(l *lab) []byte { return granting(l, mappedAddr, 0) },
		"no port":      func(l *lab) []byte { return granting(l, netip.AddrPortFrom(public, 0), lifetime) },
		"IPv6":         func(l *lab) []byte { return granting(l, netip.MustParseAddrPort("[2001:db8::1]:5000"), lifetime) },
		"multicast":    func(l *lab) []byte { return granting(l, netip.MustParseAddrPort("224.0.0.1:5000"), lifetime) },
		"this machine": func(l *lab) []byte { return granting(l, netip.MustParseAddrPort("127.0.0.1:5000"), lifetime) },
	} {
		l, router := asking(t)
		l.host.Do(func() { l.receive(router, b(l)) })
		if l.External().IsValid() || l.state != stateResting || l.Status().Problem == "" {
			t.Errorf("%s: %+v in state %d", what, l.Status(), l.state)
		}
	}
}

func TestTimesOfARouterAreBounded(t *testing.T) {
	const huge = (1<<32 - 1) * time.Second
	l, router := asking(t)
	l.host.Do(func() { l.receive(router, granting(l, mappedAddr, huge)) })
	if got := l.Status().Lifetime; got != maxLifetime {
		t.Errorf("a mapping lasts %s", got)
	}
	l, router = asking(t)
	l.host.Do(func() { l.receive(router, granting(l, mappedAddr, time.Second)) })
	before := l.Status().Stats.Requests
	l.net.Run(minRenewal - time.Millisecond)
	if now := l.Status().Stats.Requests; now != before {
		t.Errorf("renewed within %s", minRenewal)
	}
	for life, want := range map[time.Duration]time.Duration{0: minRest, huge: maxRest} {
		l, router := asking(t)
		b := granting(l, mappedAddr, life)
		b[3] = 8 // NO_RESOURCES
		l.host.Do(func() { l.receive(router, b) })
		before := l.Status().Stats.Requests
		l.net.Run(want * 8 / 10)
		if l.Status().Stats.Requests != before {
			t.Errorf("refused for %s: asked again before %s", life, want*8/10)
		}
		l.net.Run(want * 4 / 10)
		if l.Status().Stats.Requests == before {
			t.Errorf("refused for %s: not asked again after %s", life, want*12/10)
		}
	}
}

// Answers by NAT-PMP have no nonce: the opcode and the port show what they answer.
func TestAnswersByNATPMPBelongToTheRequest(t *testing.T) {
	l, router := asking(t)
	address := []byte{0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 7}
	mapping := []byte{0, 129, 0, 0, 0, 0, 0, 1, port >> 8, port & 255, port >> 8, port & 255, 0, 0, 2, 0}
	other := append([]byte(nil), mapping...)
	other[9]++
	version := []byte{0, 129, 0, 1, 0, 0, 0, 1}
	take := func(b []byte) { l.host.Do(func() { l.receive(router, b) }) }
	take(version)
	take(mapping)
	if l.pending == nil || l.pending.opcode != opAddress {
		t.Error("a mapping answers the request for the address")
	}
	take(address)
	take(other)
	if l.External().IsValid() {
		t.Errorf("the mapping of another port counts")
	}
	take(mapping)
	l.want(mappedAddr)
}

// A check costs a request each ten seconds at most, however often the network seems to change.
func TestChecksAreLimited(t *testing.T) {
	l := newLab(t, simnet.PortMapping{PCP: true}).start()
	before := l.Status().Stats.Requests
	for range 100 {
		l.host.Do(l.Check)
		l.net.Run(time.Second / 10)
	}
	if n := l.Status().Stats.Requests - before; n != 1 {
		t.Errorf("%d requests in ten seconds", n)
	}
}
