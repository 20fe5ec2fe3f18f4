package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// doubtful is a node that knows some peers, of which none answers any more when cut is true.
func doubtful(t *testing.T, doubts bool) (l *lab, cut *bool) {
	boot := netip.MustParseAddrPort("10.0.0.1:49737")
	l = newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}, Mode: Ephemeral, Doubts: doubts})
	l.peerAt(boot, empty)
	for _, other := range l.peersOf(20, empty) {
		l.do(func() { l.Ping(other.addr, nil, nil, nil) })
	}
	l.net.Run(time.Minute)
	cut = new(bool)
	l.net.SetFilter(func(simnet.Datagram) bool { return !*cut })
	return l, cut
}

func TestDoubtFindsTheSilenceWithinSeconds(t *testing.T) {
	l, cut := doubtful(t, true)
	*cut = true
	l.do(l.Doubt)
	l.net.Run(doubtTimeout - 10*time.Millisecond)
	if l.Silent() {
		t.Fatal("silent before the answers are late")
	}
	l.net.Run(20 * time.Millisecond)
	if !l.Silent() {
		t.Fatal("the silence is not noticed")
	}
	l.net.Run(3 * TickInterval)
	if !l.Silent() {
		t.Error("the silence ends without an answer")
	}
	*cut = false
	l.net.Run(time.Minute)
	if l.Silent() {
		t.Error("silent, though nodes answer")
	}
}

func TestDoubtIsLaidByAnyAnswer(t *testing.T) {
	l, _ := doubtful(t, true)
	sent := l.Stats().Requests.Total
	for range 10 {
		l.do(l.Doubt)
		l.net.Run(TickInterval / 10)
	}
	l.net.Run(doubtLimit)
	if n := l.Stats().Requests.Total - sent; l.Silent() || n == 0 || n > 3*doubtNodes+6 {
		t.Errorf("silent %v after %d requests", l.Silent(), n)
	}
}

func TestDoubtIsNoneUnlessConfigured(t *testing.T) {
	l, cut := doubtful(t, false)
	*cut = true
	l.do(l.Doubt)
	l.net.Run(2 * doubtLimit)
	if l.Silent() {
		t.Error("the silence is noticed within seconds")
	}
}

// A machine that sleeps during a doubt gets no answers.
func TestDoubtEndsWithASleep(t *testing.T) {
	l, _ := doubtful(t, true)
	l.do(l.Doubt)
	l.host.Sleep()
	l.net.Run(time.Minute)
	l.host.Wake()
	l.net.Run(time.Millisecond)
	if l.Silent() {
		t.Error("a sleep is taken for silence")
	}
}
