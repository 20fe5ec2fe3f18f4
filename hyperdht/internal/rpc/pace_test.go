package rpc

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// find is a FIND_NODE request, whose answer is many times as long.
func find(tid uint16) []byte {
	target := id.Target{1}
	return wire.Request{TID: tid, To: us, Internal: true, Command: wire.CmdFindNode, Target: &target}.Append(nil)
}

func TestRequestsOfOneHostAreLimited(t *testing.T) {
	l := newLab(t, Config{Mode: Ephemeral})
	flooder, honest := netip.MustParseAddr("82.1.1.1"), netip.MustParseAddrPort("82.2.2.2:4000")
	flood := func(n int) {
		l.host.Do(func() {
			for i := range n {
				// The port is the flooder's choice, or forged.
				l.Receive(l.sockets.server, netip.AddrPortFrom(flooder, uint16(1000+i%50000)), find(uint16(i)))
			}
		})
	}
	flood(10 * requestPace.Burst)
	received := func() int { return int(l.Stats().Received.Requests) }
	if n := received(); n != 2*requestPace.Burst || int(l.Stats().Dropped.Limited) != 8*requestPace.Burst {
		t.Errorf("%d requests of a flood are answered, %d dropped", n, l.Stats().Dropped.Limited)
	}
	before := received()
	l.host.Do(func() { l.Receive(l.sockets.server, honest, find(1)) })
	if received() != before+1 {
		t.Error("another host has no answer")
	}
	before = received()
	l.net.Run(time.Second)
	flood(requestPace.Burst)
	if n, most := received()-before, 2*int(time.Second/requestPace.Every)+10; n > most {
		t.Errorf("%d more requests are answered in the second after it, want %d at most", n, most)
	}
	l.net.Run(time.Minute)
	flood(1)
	if n := l.answering.requests.len(l.h.Now()); n != 0 || l.answering.requests.hosts != nil {
		t.Errorf("%d hosts are counted a minute later", n)
	}
}

func TestHostsThatAreCountedAreBounded(t *testing.T) {
	l := newLab(t, Config{Mode: Ephemeral})
	l.host.Do(func() {
		for i := range requestPace.Burst + 2*maxPacedHosts {
			l.Receive(l.sockets.server, netip.AddrPortFrom(netip.AddrFrom4([4]byte{82, byte(i >> 16), byte(i >> 8), byte(i)}), 1000), find(1))
		}
	})
	if n := l.answering.requests.len(l.h.Now()); n == 0 || n > maxPacedHosts {
		t.Errorf("%d hosts are counted", n)
	}
	if l.Stats().Dropped.Limited != 0 {
		t.Errorf("%d requests of hosts that ask once were dropped", l.Stats().Dropped.Limited)
	}
}

// What means nothing is counted, and costs neither memory nor state: 66,000 datagrams a second are dropped as they come.
func TestGarbageIsDroppedWithoutAllocating(t *testing.T) {
	l := newLab(t, Config{Mode: Ephemeral})
	from := netip.MustParseAddrPort("82.1.1.1:1000")
	stream := make([]byte, 1200)
	stream[0], stream[1] = 0xff, 1
	binary.LittleEndian.PutUint32(stream[4:], 0xdeadbeef)
	for name, b := range map[string][]byte{
		"zeros":                   make([]byte, 1200),
		"one byte":                {0},
		"a packet of no stream":   stream,
		"a request cut short":     find(1)[:12],
		"a request without To":    {3, 0, 1},
		"a response cut short":    {0x13, 4, 1, 2, 3, 4},
		"a response to nothing":   wire.Response{TID: 7, To: us}.Append(nil),
		"text":                    []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
		"a request of long value": append(find(1)[:10], make([]byte, 1000)...),
	} {
		t.Run(name, func(t *testing.T) {
			var n float64
			l.host.Do(func() {
				n = testing.AllocsPerRun(100, func() { l.Receive(l.sockets.server, from, b) })
			})
			if n > 0 {
				t.Errorf("%v allocations for each", n)
			}
		})
	}
	d := l.Stats().Dropped
	if d.Unusable == 0 || d.Malformed == 0 || d.Unexpected == 0 {
		t.Errorf("dropped: %+v", d)
	}
}
