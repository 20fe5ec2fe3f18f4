package hyperdht

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Forged probes from any number of ports make a bounded number of records, and the way that is selected is one of them.
func TestRecordedWaysAreFew(t *testing.T) {
	var events []AttemptEvent
	net := simnet.New(simnet.Config{Seed: 1})
	net.SetObserver(func(_ *simnet.Host, e host.Event) {
		if a, ok := e.(AttemptEvent); ok {
			events = append(events, a)
		}
	})
	p := &peering{host: net.AddHost("h", netip.MustParseAddr("100.128.0.1"))}
	l := &wayLog{conn: &Connection{p: p, attemptTrace: attemptTrace{p: p}}}
	peer := netip.MustParseAddr("100.128.0.2")
	l.try(PathPunched, netip.AddrPort{})
	for port := range uint16(1000) {
		l.answer(PathPunched, netip.AddrPortFrom(peer, 1+port))
	}
	l.leave(WayUnavailable, PathRelayed, PathLAN, PathDirect)
	last := netip.AddrPortFrom(peer, 2000)
	l.won(PathPunched, last)
	selected := 0
	for _, e := range events {
		if e.Step != AttemptWay {
			t.Errorf("%v", e.Step)
		}
		if e.Outcome == WaySelected {
			selected++
			if e.Addr != last {
				t.Errorf("selected %v", e.Addr)
			}
		}
	}
	if len(events) > maxWayRecords+3 || selected != 1 {
		t.Errorf("%d records, %d selected", len(events), selected)
	}
}

// A log that has ended records nothing.
func TestEndedWayLogRecordsNothing(t *testing.T) {
	var l *wayLog
	addr := netip.MustParseAddrPort("100.128.0.2:1")
	l.try(PathDirect, addr)
	l.answer(PathDirect, addr)
	l.fail(PathDirect, addr, nil)
	l.leave(WayUnneeded, PathLAN)
	l.won(PathDirect, addr)
	l.lost()
}
