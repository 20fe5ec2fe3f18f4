package udx

import (
	"net/netip"
	"testing"
	"time"
)

// grow writes in pieces for a while, so that later packets use what earlier ones found.
func (w *world) grow(d time.Duration) {
	for limit := w.now.Add(d); w.now.Before(limit); {
		w.a.Write(make([]byte, 20000))
		w.a.Flush(w.now)
		w.run(20 * ms)
	}
}

func TestMTUSearchFindsThePath(t *testing.T) {
	for _, tc := range []struct {
		name      string
		path, max int
		want      int
	}{
		{"ethernet", 1500, 0, 1500},
		{"unlimited", 0, 0, 1500},
		{"tunnel", 1400, 0, 1392}, // the last step below it
		{"base", 1200, 0, 1200},
		{"configured", 1500, 1300, 1300},
		{"off", 1500, 1200, 1200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := pair(t, link{delay: ms, mtu: tc.path}, 1, Config{MaxMTU: tc.max})
			w.grow(4 * time.Second)
			s := w.a.Stats()
			if s.MTU != tc.want || s.Recoveries != 0 || s.Timeouts != 0 {
				t.Errorf("%+v", s)
			}
			if s.Retransmits > mtuAttempts {
				t.Errorf("%d retransmissions for %d attempts", s.Retransmits, mtuAttempts)
			}
			if w.a.mtu.state != mtuDone && tc.want != 1500 {
				t.Error("the search goes on")
			}
		})
	}
}

func TestProbesArePaddedAndRepeatedBare(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	var pads []int
	sizes := map[Seq]int{}
	w.link.filter = func(from *end, p Packet) bool {
		if from != w.a || p.Flags&FlagData == 0 {
			return true
		}
		if first, again := sizes[p.Seq]; again && (p.DataOffset != 0 || first != len(p.Payload)) {
			t.Errorf("%d was sent again with padding %d and %d bytes for %d", p.Seq, p.DataOffset, len(p.Payload), first)
		}
		sizes[p.Seq] = len(p.Payload)
		if p.DataOffset > 0 {
			pads = append(pads, int(p.DataOffset)+len(p.Payload)+HeaderSize+overheadIPv4)
			return false
		}
		return true
	}
	w.grow(time.Second)
	want := []int{1232, 1232, 1232}
	if len(pads) != len(want) || pads[0] != want[0] || pads[2] != want[2] || w.a.Stats().MTU != 1200 {
		t.Errorf("probes %v, want %v, then none", pads, want)
	}
}

func TestPayloadFollowsTheFamily(t *testing.T) {
	for _, tc := range []struct {
		remote string
		want   int
	}{{"10.0.0.2:2000", 1152}, {"[2001:db8::1]:2000", 1132}} {
		w := newWorld(t, link{}, 1)
		w.a.Connect(0, Remote{1, netip.MustParseAddrPort(tc.remote)})
		var largest int
		w.a.route = func(_ netip.AddrPort, b []byte) { largest = max(largest, len(b)-HeaderSize) }
		w.a.Write(make([]byte, 5000))
		w.a.Flush(0)
		if largest != tc.want {
			t.Errorf("%s: payload %d, want %d", tc.remote, largest, tc.want)
		}
	}
}

func TestChangeOfRemoteRestartsTheSearch(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.grow(time.Second)
	if w.a.Stats().MTU != 1500 {
		t.Fatalf("MTU %d", w.a.Stats().MTU)
	}
	w.link.mtu = 1300
	w.a.ChangeRemote(w.now, Remote{idB, addrB})
	if w.a.Stats().MTU != 1200 {
		t.Errorf("MTU %d after the change", w.a.Stats().MTU)
	}
	w.grow(time.Second)
	if s := w.a.Stats(); s.MTU != 1296 || s.Timeouts != 0 {
		t.Errorf("%+v", s)
	}
}
