package udp

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/ports/host/hosttest"
)

// fill makes the last batch of an inbox a full one.
func (in *inbox) fill() { in.n = len(in.msgs) }

func TestInboxGrowsToItsLargestBatchAndNoFurther(t *testing.T) {
	in := inbox{s: &socket{h: &Host{}}}
	in.s.h.bulk.Store(bulkSockets) // others have all places
	in.resize(readBatchFirst, maxDatagram)
	in.n = readBatchFirst - 1
	in.grow()
	if len(in.msgs) != readBatchFirst {
		t.Errorf("grows to %d after a batch that was not full", len(in.msgs))
	}
	for range 10 {
		in.fill()
		in.grow()
	}
	if len(in.msgs) != readBatch || in.bulk {
		t.Fatalf("grows to %d, want %d", len(in.msgs), readBatch)
	}
	before := &in.bufs[0]
	in.fill()
	in.grow()
	if &in.bufs[0] != before {
		t.Error("makes its buffers again, though they cannot grow")
	}
	if got := in.s.h.bulk.Load(); got != bulkSockets {
		t.Errorf("%d sockets have a place, want %d", got, bulkSockets)
	}
}

// ends are two sockets, each on a host of its own.
type ends struct {
	from, to *socket
	arrived  chan [][]byte // all that the test waits for
}

// newEnds waits for the datagrams that want has.
func newEnds(t *testing.T, want [][]byte) *ends { return newEndsWith(t, Options{}, want) }

func newEndsWith(t *testing.T, o Options, want [][]byte) *ends {
	t.Helper()
	open := func() *socket {
		h := New(o)
		t.Cleanup(h.Close)
		var s *socket
		h.Do(func() {
			opened, err := h.OpenSocket(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				t.Error(err)
				return
			}
			s = opened.(*socket)
		})
		return s
	}
	e := &ends{open(), open(), make(chan [][]byte, 1)}
	var got [][]byte
	e.to.h.Do(func() {
		e.to.receive = func(_ netip.AddrPort, b []byte) {
			if got = append(got, bytes.Clone(b)); len(got) == len(want) {
				e.arrived <- got
				got = nil
			}
		}
	})
	return e
}

// send sends datagrams in a turn, and waits until they arrive as they are.
func (e *ends) send(t *testing.T, datagrams [][]byte) {
	t.Helper()
	e.from.h.Do(func() {
		for _, b := range datagrams {
			e.from.Send(e.to.local, 0, b)
		}
	})
	select {
	case got := <-e.arrived:
		if !slices.EqualFunc(got, datagrams, bytes.Equal) {
			t.Error("other datagrams arrive")
		}
	case <-time.After(hosttest.Deadline):
		t.Fatal("nothing came in time")
	}
}

// mixed are datagrams of which few have the size of the one before.
func mixed() (all [][]byte) {
	sizes := []int{1200, 1200, 1200, 300, 300, 1200, 0, 0, 20, 1400, 1400, 1400, 1401, 1200, 1}
	for range 100 {
		sizes = append(sizes, 500)
	}
	for i, size := range append(sizes, 20) {
		all = append(all, bytes.Repeat([]byte{byte(i)}, size))
	}
	return all
}

func TestMessagesOfSeveralDatagramsAreSplit(t *testing.T) {
	all := mixed()
	e := newEnds(t, all)
	coalesced := false
	for range 100 {
		if e.send(t, all); coalesced {
			break
		}
		e.to.h.Do(func() { coalesced = e.to.h.bulk.Load() == 1 })
	}
	if !coalesced {
		t.Error("the kernel coalesces nothing")
	}
	var before Stats
	e.from.h.Do(func() { before = e.from.h.stats })
	e.send(t, all)
	e.from.h.Do(func() {
		if !e.from.sys.segmented {
			t.Error("the kernel splits nothing")
		}
		if got := e.from.h.stats.Writes - before.Writes; got != 1 {
			t.Errorf("%d system calls", got)
		}
		if got := e.from.h.stats.Sent; got%uint64(len(all)) != 0 {
			t.Errorf("%d datagrams are counted", got)
		}
	})
	e.to.h.Do(func() { e.to.Close() })
	e.to.h.Close() // waits for its reader
	if got := e.to.h.bulk.Load(); got != 0 {
		t.Errorf("a closed socket keeps %d places", got)
	}
}

func TestWithoutOffloadEachDatagramIsAMessage(t *testing.T) {
	all := mixed()
	e := newEndsWith(t, Options{NoOffload: true}, all)
	for range 20 {
		e.send(t, all)
	}
	e.from.h.Do(func() {
		if n := e.from.sys.together([]outgoing{{to: e.to.local, end: 20}, {to: e.to.local, from: 20, end: 40}}); n != 1 {
			t.Errorf("%d datagrams together", n)
		}
	})
	e.to.h.Close() // waits for its reader
	if in := e.to.in; in.bulk || len(in.msgs) != readBatch {
		t.Errorf("coalesced: %t, with room for %d messages, want %d", in.bulk, len(in.msgs), readBatch)
	}
}

// A message that fails is sent again, as single datagrams.
func TestDatagramsOfARejectedMessageAreSentAlone(t *testing.T) {
	for failure, permanent := range map[unix.Errno]bool{
		unix.EIO: true, unix.EOPNOTSUPP: true, unix.ENOPROTOOPT: true, // of the kernel or the interface
		unix.EINVAL: false, unix.EMSGSIZE: false, // of the path's MTU, too
		unix.EAGAIN: false, unix.ENOBUFS: false, unix.EPERM: false,
	} {
		all := mixed()
		e := newEnds(t, all)
		rejected := 0
		e.from.h.Do(func() {
			sn := &e.from.sys
			sn.segmented = true
			try := sn.try
			sn.try = func(fd uintptr) bool {
				end := sn.end
				defer func() { sn.end = end }()
				for i := sn.next; i < end; i++ {
					if e.from.h.memory.counts[i] == 1 {
						continue
					}
					if sn.end = i; i == sn.next { // the first one
						rejected++
						sn.err = failure
						return true
					}
					break
				}
				return try(fd)
			}
		})
		e.send(t, all)
		e.from.h.Do(func() {
			st, sn := e.from.h.stats, &e.from.sys
			if st.Sent != uint64(len(all)) || st.WriteErrors != 0 || sn.alone != 0 {
				t.Errorf("%v: %+v, %d left", failure, st, sn.alone)
			}
			if rejected == 0 || sn.segmented == permanent || !sn.segmented && rejected != 1 {
				t.Errorf("%v: %d messages are rejected, then they are used: %t", failure, rejected, sn.segmented)
			}
		})
	}
}
