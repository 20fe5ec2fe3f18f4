package udx

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// dropOnce drops A's packets with these numbers the first time they leave.
func dropOnce(w *world, seqs ...Seq) {
	left := map[Seq]bool{}
	for _, s := range seqs {
		left[s] = true
	}
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a && p.Flags&(FlagData|FlagEnd) != 0 && left[p.Seq] {
			delete(left, p.Seq)
			return false
		}
		return true
	}
}

// writePackets writes n packets of one byte each.
func (w *world) writePackets(n int) {
	for i := range n {
		w.a.Write([]byte{byte('a' + i)})
		w.a.Flush(w.now)
	}
}

// The example of appendix B: 2, 4 and 5 are lost and repaired at once by the blocks above them.
func TestLossIsRepairedBySelectiveAcks(t *testing.T) {
	w := traced(t, link{delay: 5 * ms})
	w.writePackets(1) // an RTT sample
	w.run(20 * ms)
	w.log = nil
	dropOnce(w, 3, 5, 6)
	w.writePackets(10)
	w.run(100 * ms)
	w.expect(`
		20.00 A>B DATA seq=1 ack=0 len=1
		20.00 A>B DATA seq=2 ack=0 len=1
		20.00 A>B DATA seq=3 ack=0 len=1 lost
		20.00 A>B DATA seq=4 ack=0 len=1
		20.00 A>B DATA seq=5 ack=0 len=1 lost
		20.00 A>B DATA seq=6 ack=0 len=1 lost
		20.00 A>B DATA seq=7 ack=0 len=1
		20.00 A>B DATA seq=8 ack=0 len=1
		20.00 A>B DATA seq=9 ack=0 len=1
		20.00 A>B DATA seq=10 ack=0 len=1
		25.00 B>A ack seq=0 ack=2
		25.00 B>A ack seq=0 ack=3
		25.00 B>A SACK seq=0 ack=3 [4,5)
		25.00 B>A SACK seq=0 ack=3 [4,5) [7,8)
		25.00 B>A SACK seq=0 ack=3 [4,5) [7,9)
		25.00 B>A SACK seq=0 ack=3 [4,5) [7,10)
		25.00 B>A SACK seq=0 ack=3 [4,5) [7,11)
		30.00 A>B DATA seq=3 ack=0 len=1
		30.00 A>B DATA seq=5 ack=0 len=1
		30.00 A>B DATA seq=6 ack=0 len=1
		35.00 B>A SACK seq=0 ack=5 [7,11)
		35.00 B>A SACK seq=0 ack=6 [7,11)
		35.00 B>A ack seq=0 ack=11`)
	if string(w.b.got) != "a"+"abcdefghij" {
		t.Errorf("got %q", w.b.got)
	}
}

// One packet above a hole may be reordering: wait a quarter of the round trip.
func TestOneSelectiveAckWaitsForReordering(t *testing.T) {
	w := traced(t, link{delay: 10 * ms})
	w.writePackets(1)
	w.run(30 * ms)
	w.log = nil
	dropOnce(w, 1)
	w.writePackets(2)
	w.run(100 * ms)
	w.expect(`
		30.00 A>B DATA seq=1 ack=0 len=1 lost
		30.00 A>B DATA seq=2 ack=0 len=1
		40.00 B>A SACK seq=0 ack=1 [2,3)
		55.00 A>B DATA seq=1 ack=0 len=1
		65.00 B>A ack seq=0 ack=3`)
}

// The same losses, found by the tail-loss probe where nothing follows that could tell.
func TestTailLossIsProbed(t *testing.T) {
	w := traced(t, link{delay: 10 * ms})
	w.writePackets(1)
	w.run(30 * ms)
	w.log = nil
	dropOnce(w, 1)
	w.writePackets(1)
	w.run(500 * ms)
	w.expect(`
		30.00 A>B DATA seq=1 ack=0 len=1 lost
		72.00 A>B DATA seq=1 ack=0 len=1
		82.00 B>A ack seq=0 ack=2`)
	if s := w.a.Stats(); s.TailProbes != 1 || s.Timeouts != 0 {
		t.Errorf("%+v", s)
	}
}

// And by further probes, where the probe is lost too; the last resort is the timer.
func TestLostProbesAreRepeated(t *testing.T) {
	for lost, want := range map[int]string{
		2: `
		  30.00 A>B DATA seq=1 ack=0 len=1 lost
		  72.00 A>B DATA seq=1 ack=0 len=1 lost
		 156.00 A>B DATA seq=1 ack=0 len=1
		 166.00 B>A ack seq=0 ack=2`,
		5: `
		  30.00 A>B DATA seq=1 ack=0 len=1 lost
		  72.00 A>B DATA seq=1 ack=0 len=1 lost
		 156.00 A>B DATA seq=1 ack=0 len=1 lost
		 324.00 A>B DATA seq=1 ack=0 len=1 lost
		 660.00 A>B DATA seq=1 ack=0 len=1 lost
		1072.00 A>B DATA seq=1 ack=0 len=1
		1082.00 B>A ack seq=0 ack=2`,
	} {
		w := traced(t, link{delay: 10 * ms})
		w.writePackets(1)
		w.run(30 * ms)
		w.log = nil
		n := 0
		w.link.filter = func(from *end, p Packet) bool {
			if from == w.a && p.Flags == FlagData {
				n++
				return n > lost
			}
			return true
		}
		w.writePackets(1)
		w.run(3 * time.Second)
		w.expect(want)
	}
}

// A flight of which everything is lost for a while is probed again and again, after twice the time each, and ends in the timeout where that
// does not help. Probes that are not answered show that the path is bad: one where round trips are short, two elsewhere.
func TestProbesAreRepeatedThroughAnOutage(t *testing.T) {
	for _, test := range []struct {
		delay, outage time.Duration
		want          Counters
		stalled       bool
	}{
		{ms, 2 * ms, Counters{TailProbes: 1}, false},
		{ms, 10 * ms, Counters{TailProbes: 2}, true},
		{ms, 100 * ms, Counters{TailProbes: 5}, true},
		{ms, 500 * ms, Counters{TailProbes: 7}, true},
		{ms, 900 * ms, Counters{TailProbes: 7, Timeouts: 1}, true},
		{ms, 2000 * ms, Counters{TailProbes: 7, Timeouts: 2}, true},
		{20 * ms, 50 * ms, Counters{TailProbes: 1}, false},
		{20 * ms, 200 * ms, Counters{TailProbes: 2}, false},
		{20 * ms, 500 * ms, Counters{TailProbes: 3}, true},
		{20 * ms, 900 * ms, Counters{TailProbes: 3, Timeouts: 1}, true},
		{200 * ms, 1500 * ms, Counters{TailProbes: 1, Timeouts: 1}, true},
	} {
		w := pair(t, link{delay: test.delay}, 1)
		w.writePackets(1)
		w.run(test.delay + 429*ms)
		over := w.now.Add(test.outage)
		w.link.filter = func(from *end, _ Packet) bool { return from == w.b || w.now.After(over) }
		w.writePackets(5)
		w.run(9 * time.Second)
		if s := w.a.Stats(); string(w.b.got) != "aabcde" || s.TailProbes != test.want.TailProbes || s.Timeouts != test.want.Timeouts {
			t.Errorf("delay %s, after an outage of %s: %q arrived, %d probes, %d timeouts; want %d and %d",
				test.delay, test.outage, w.b.got, s.TailProbes, s.Timeouts, test.want.TailProbes, test.want.Timeouts)
		}
		if stalls := w.a.Stalls(); (stalls > 0) != test.stalled {
			t.Errorf("delay %s, after an outage of %s: %d stalls", test.delay, test.outage, stalls)
		}
	}
}

// behindARestartedRouter returns a world in which a has written "a" and, at began, "b", which does not reach b before open is called.
func behindARestartedRouter(t *testing.T) (w *world, began host.Instant, open func()) {
	w = pair(t, link{delay: 20 * time.Millisecond}, 1)
	w.a.Write([]byte("a"))
	w.flush()
	w.run(time.Second)
	w.link.filter = func(from *end, _ Packet) bool { return from == w.b }
	w.a.Write([]byte("b"))
	w.flush()
	return w, w.now, func() { w.link.filter = nil }
}

// A router that has lost its state lets nothing in until the host behind it sends something. What was lost meanwhile is sent again then, and
// not only when the timer is due, which would count timeouts until then.
func TestWhatWasLostIsSentAgainWhenThePeerIsHeard(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		from          netip.AddrPort // of what is heard; invalid: from the peer
		heard         time.Duration
		least, within time.Duration // of the write
	}{
		{heard: 1500 * ms, within: 1600 * ms},
		{heard: 2900 * ms, within: 3000 * ms},
		{heard: 4200 * ms, within: 4300 * ms},
		{heard: 500 * ms, within: 1100 * ms},                                       // the first timeout is as good
		{from: addrB, heard: 1500 * ms, least: 3 * time.Second, within: 3150 * ms}, // another host's heartbeat changes nothing
		{from: addrA, heard: 11 * time.Second, within: 11100 * ms},                 // the last timeout before the end is at 13 s
	} {
		w, began, open := behindARestartedRouter(t)
		w.run(test.heard)
		open()
		if test.from == addrB {
			w.a.ReceiveFrom(w.now, netip.MustParseAddrPort("10.0.0.3:1"), w.b.control(FlagHeartbeat))
		} else {
			w.b.sendHeartbeat()
		}
		w.flush()
		for string(w.b.got) != "ab" && w.step(began.Add(time.Minute)) {
		}
		if took := w.now.Sub(began); string(w.b.got) != "ab" || took < test.least || took > test.within {
			t.Errorf("heard after %v: %q after %v, want it after %v to %v", test.heard, w.b.got, took, test.least, test.within)
		}
	}
}

// What comes right after a timeout may have left before what was sent again could arrive.
func TestWhatIsHeardTooSoonAfterATimeoutSaysNothing(t *testing.T) {
	const ms = time.Millisecond
	w := pair(t, link{delay: 100 * ms}, 1)
	w.a.Write([]byte("a"))
	w.flush()
	w.run(time.Second)
	lost, again := true, 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a && p.Flags&FlagData != 0 && w.a.Stats().Timeouts > 0 {
			lost = false
			again++
		}
		return from == w.b || !lost
	}
	w.a.Write([]byte("b"))
	w.flush()
	for w.a.Stats().Timeouts == 0 && w.step(never) {
	}
	w.b.sendHeartbeat()
	w.b.SendMessage([]byte("c"))
	w.flush()
	w.run(5 * time.Second)
	if string(w.b.got) != "ab" || again != 1 {
		t.Errorf("%q, and %d packets after the timeout, want 1", w.b.got, again)
	}
}

// A peer that is heard now and then and gets nothing costs one more packet for each timeout, one that is heard all the time none, and the
// stream ends at its time.
func TestPeerThatOnlySendsIsGivenUp(t *testing.T) {
	const ms = time.Millisecond
	for every, more := range map[time.Duration]int{10 * ms: 0, 700 * ms: 6} {
		w := pair(t, link{delay: 50 * ms}, 1)
		w.a.Write([]byte("a"))
		w.flush()
		w.run(time.Second)
		sent := 0
		w.link.filter = func(from *end, p Packet) bool {
			if from == w.a && p.Flags&FlagData != 0 {
				sent++
			}
			return from == w.b
		}
		w.a.Write([]byte("b"))
		w.flush()
		began := w.now
		for !w.a.closed && w.now.Sub(began) < time.Minute {
			w.b.sendHeartbeat()
			w.run(every)
		}
		if took := w.now.Sub(began); took < 13*time.Second || took > 14*time.Second || w.a.err != ErrTimeout {
			t.Errorf("heard every %v: ended after %v with %v, want 13 s", every, took, w.a.err)
		}
		if sent != 1+2+6+more {
			t.Errorf("heard every %v: %d packets in 13 s, want the first one, two tail probes, six after timeouts, and %d more", every, sent, more)
		}
	}
}

// A path becomes slow by what waits before it: its timeouts come too soon, while the peer is heard all the time. That is no news.
func TestPeerThatIsHeardOverASlowPathChangesNothing(t *testing.T) {
	const ms = time.Millisecond
	repeated := map[bool]uint64{}
	for _, deaf := range []bool{true, false} {
		for seed := range uint64(20) {
			w := pair(t, link{delay: 20 * ms, rate: 20e3, queue: 60_000, loss: 0.01}, seed)
			w.deaf = deaf
			w.b.Write(make([]byte, 100<<10))
			w.flush()
			w.transport(100 << 10)
			repeated[deaf] += w.a.Stats().Retransmits
		}
	}
	if with, without := repeated[false], repeated[true]; with > without+without/50 {
		t.Errorf("%d packets were sent again, and %d where what is heard counts for nothing", with, without)
	}
}

// The first packets of a peer that is back may come too soon after a timeout; a later one is as good.
func TestPeerThatIsBackIsHeardLaterToo(t *testing.T) {
	const ms = time.Millisecond
	w, began, open := behindARestartedRouter(t)
	for w.a.Stats().Timeouts == 0 && w.step(never) {
	}
	open()
	for range 10 {
		w.b.sendHeartbeat()
		w.run(20 * ms)
	}
	if took := w.now.Sub(began); string(w.b.got) != "ab" || took > 1300*ms {
		t.Errorf("%q after %v, want it within 1.3 s", w.b.got, took)
	}
}

// What was sent again and lost again, with nothing behind it, is found by a probe there, and not by the timer of a second.
func TestLostRetransmissionsAreProbed(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.writePackets(1)
	w.run(30 * ms)
	lost := 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a && p.Flags == FlagData && p.Seq == 1 && lost < 2 {
			lost++
			return false
		}
		return true
	}
	w.writePackets(6)
	w.run(900 * ms)
	if s := w.a.Stats(); string(w.b.got) != "aabcdef" || s.Timeouts != 0 || s.TailProbes != 1 {
		t.Errorf("%q arrived, %+v", w.b.got, s)
	}
}

// A probe sends what is new, whatever the window says.
func TestTailProbePrefersNewData(t *testing.T) {
	w := traced(t, link{delay: 10 * ms})
	w.writePackets(1)
	w.run(30 * ms)
	w.a.window.size, w.log = 1, nil
	dropOnce(w, 1)
	w.writePackets(2)
	w.run(65 * ms)
	w.expect(`
		30.00 A>B DATA seq=1 ack=0 len=1 lost
		72.00 A>B DATA seq=2 ack=0 len=1
		82.00 B>A SACK seq=0 ack=1 [2,3)
		92.00 A>B DATA seq=1 ack=0 len=1`)
}

func TestEndOvertakesLostData(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.writePackets(1)
	w.run(10 * ms)
	w.log = nil
	dropOnce(w, 1)
	w.writePackets(1)
	w.a.End()
	w.flush()
	w.run(10 * ms)
	w.expect(`
		10.00 A>B DATA seq=1 ack=0 len=1 lost
		10.00 A>B END seq=2 ack=0
		11.00 B>A SACK seq=0 ack=1 [2,3)
		12.50 A>B DATA seq=1 ack=0 len=1
		13.50 B>A ack seq=0 ack=3`)
	if string(w.b.got) != "aa" || !w.b.eof {
		t.Errorf("got %q, end %v", w.b.got, w.b.eof)
	}
}

func TestLostAckIsCoveredByTheNext(t *testing.T) {
	w := traced(t, link{delay: ms})
	n := 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.b {
			n++
			return n != 1
		}
		return true
	}
	w.writePackets(2)
	w.run(500 * ms)
	w.expect(`
		0.00 A>B DATA seq=0 ack=0 len=1
		0.00 A>B DATA seq=1 ack=0 len=1
		1.00 B>A ack seq=0 ack=1 lost
		1.00 B>A ack seq=0 ack=2`)
}

func TestDuplicatesAreAckedAndNotDelivered(t *testing.T) {
	w := traced(t, link{delay: ms})
	pkt := append(Header{Flags: FlagData, StreamID: idB, Seq: 0}.Append(nil), 'x')
	above := append(Header{Flags: FlagData, StreamID: idB, Seq: 2}.Append(nil), 'z')
	for _, p := range [][]byte{pkt, pkt, above, above} {
		w.b.Receive(w.now, p)
		w.b.Flush(w.now)
	}
	w.expect(`
		0.00 B>A ack seq=0 ack=1
		0.00 B>A ack seq=0 ack=1
		0.00 B>A SACK seq=0 ack=1 [2,3)
		0.00 B>A SACK seq=0 ack=1 [2,3)`)
	if string(w.b.got) != "x" || w.b.Stats().Duplicates != 2 {
		t.Errorf("got %q, %+v", w.b.got, w.b.Stats())
	}
}

// Acks of acks would never end (§6).
func TestOnlyDataEndAndHeartbeatAreAnswered(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flags   Flags
		answers int
	}{
		{"ack", 0, 0}, {"sack", FlagSACK, 0}, {"message", FlagMessage, 0},
		{"data", FlagData, 1}, {"end", FlagEnd, 1}, {"heartbeat", FlagHeartbeat, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := traced(t, link{})
			w.b.Receive(0, Header{Flags: tc.flags, StreamID: idB}.Append(nil))
			w.b.Flush(0)
			if len(w.log) != tc.answers {
				t.Errorf("answers %q", w.log)
			}
		})
	}
}

func TestAckOfTheUnsentInvalidatesTheRest(t *testing.T) {
	w := traced(t, link{delay: ms})
	w.a.Write([]byte("x"))
	w.a.Flush(0)
	w.log = nil
	w.a.Receive(0, append(Header{Flags: FlagData, Seq: 0, Ack: 2, Window: 1}.Append(nil), 'y'))
	w.a.Flush(0)
	w.expect("") // delivered, but not acked: the reference does the same
	if string(w.a.got) != "y" || w.a.window.size != DefaultWindow || w.a.Stats().BadAcks != 1 || w.a.Stats().InFlight == 0 {
		t.Errorf("got %q, window %d, %+v", w.a.got, w.a.window.size, w.a.Stats())
	}
}

func TestBadBlocksAreSkipped(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.writePackets(10)
	var area []byte
	for _, b := range []Block{{5, 4}, {7, 7}, {9, 12}, {1 << 31, 3}, {2, 3}, {0xfffffff0, 4}, {6, 8}} {
		area = AppendBlock(area, b)
	}
	w.a.Receive(0, append(Header{Flags: FlagSACK, Window: DefaultWindow}.Append(nil), area...))
	if s := w.a.Stats(); s.BadBlocks != 5 || w.a.out.sacked != 3 {
		t.Errorf("%d bad blocks, %d packets acked", s.BadBlocks, w.a.out.sacked)
	}
}

// Comparison of wrapping numbers is not transitive: a block may start after the acknowledged packets, and end after
// its start and before the packets sent next, without lying between the two.
func TestBlocksOutsideWhatWasSentAreRefused(t *testing.T) {
	const packets = 10
	far := []Seq{0, 1, packets, packets + 1, 1<<30 - 1, 1 << 30, 1<<31 - 1, 1 << 31, 1<<31 + 1, 3 << 30, 1<<32 - 1}
	for _, first := range []Seq{0, 1<<31 - 5, 1<<32 - 5} {
		for _, start := range far {
			for _, end := range far {
				w := pair(t, link{delay: ms}, 1, Config{FirstSeq: first}, Config{FirstAck: first})
				w.writePackets(packets)
				want := 0
				if start < end && end <= packets {
					want = int(end - start)
				}
				block := AppendBlock(nil, Block{first + start, first + end})
				w.a.Receive(0, Packet{Header: Header{Flags: FlagSACK, Window: DefaultWindow, Ack: first}, SACK: block}.Append(nil))
				if bad := w.a.Stats().BadBlocks; w.a.out.sacked != want || (bad == 0) != (want > 0) {
					t.Errorf("first %d, block [+%d,+%d): %d packets acked, want %d; %d bad blocks", first, start, end, w.a.out.sacked, want, bad)
				}
			}
		}
	}
}

// A SACKed packet is released for good, so whatever was reported must be kept (§19.11).
func TestReportedPacketsAreNeverSentAgain(t *testing.T) {
	w := pair(t, link{delay: 5 * ms, loss: 0.2, jitter: 3 * ms}, 3)
	reported := map[Seq]bool{}
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a && p.Flags&FlagData != 0 && reported[p.Seq] {
			t.Errorf("%v: %d was reported and sent again", w.now, p.Seq)
		}
		return true
	}
	w.a.Write(randomBytes(300<<10, 1))
	w.flush()
	for w.step(never - 1) {
		for s := w.a.out.acked; s != w.a.out.sent; s++ {
			if w.a.out.ring.at(s) == nil {
				reported[s] = true
			}
		}
	}
	if len(w.b.got) != 300<<10 || len(reported) == 0 {
		t.Errorf("got %d bytes, %d reported", len(w.b.got), len(reported))
	}
}

// Of more blocks than fit, an acknowledgement names the lowest, the highest and what is new. In turn, it names all.
func TestAcknowledgementsOfManyGapsTakeTurns(t *testing.T) {
	w := traced(t, link{})
	receive := func(s Seq) []string {
		w.log = nil
		w.b.Receive(0, append(Header{Flags: FlagData, StreamID: idB, Seq: s}.Append(nil), 'x'))
		w.b.Flush(0)
		line := w.log[len(w.log)-1]
		return strings.Fields(line[strings.Index(line, "["):])
	}
	for i := range 200 {
		receive(Seq(4*i + 1))
	}
	named := map[string]bool{}
	for range 20 { // until nothing is news, 39 at a time three times, and once more
		blocks := receive(1)
		if len(blocks) > MaxSACKBlocks || blocks[0] != "[1,2)" || blocks[lowBlocks-1] != "[37,38)" || blocks[len(blocks)-1] != "[797,798)" {
			t.Fatalf("%d blocks: %v", len(blocks), blocks)
		}
		for _, b := range blocks {
			named[b] = true
		}
	}
	if len(named) != 200 {
		t.Errorf("%d of 200 blocks are named in turn", len(named))
	}
	for i, s := range []Seq{402, 611, 204} {
		want := []string{"[401,403)", "[611,612)", "[204,206)"}[i]
		for n := range 2 * newsRepeats {
			blocks := receive(s)
			if n < newsRepeats && !slices.Contains(blocks, want) {
				t.Errorf("%d is new, and acknowledgement %d does not name %s: %v", s, n, want, blocks)
			}
		}
	}
}

// Data carries the ack that is owed, but no blocks.
func TestDataDoesNotReplaceASelectiveAck(t *testing.T) {
	w := traced(t, link{})
	w.b.Receive(0, append(Header{Flags: FlagData, StreamID: idB, Seq: 1, Window: 9999}.Append(nil), 'x'))
	w.b.Write([]byte("y"))
	w.b.Flush(0)
	w.expect(`
		0.00 B>A DATA seq=0 ack=0 len=1
		0.00 B>A SACK seq=1 ack=0 [1,2)`)
	w.b.Receive(0, append(Header{Flags: FlagData, StreamID: idB, Seq: 0, Window: 9999}.Append(nil), 'x'))
	w.b.Write([]byte("z"))
	w.b.Flush(0)
	w.expect(`0.00 B>A DATA seq=1 ack=2 len=1`)
}

func TestRetransmissionsCarryFreshAcks(t *testing.T) {
	w := traced(t, link{delay: ms, filter: func(from *end, p Packet) bool { return false }})
	w.a.Write([]byte("rtx me"))
	w.a.Flush(0)
	w.log = nil
	w.a.Receive(0, append(Header{Flags: FlagData, Seq: 0, Window: 9}.Append(nil), 'x'))
	w.a.Flush(0)
	w.run(1100 * ms)
	w.expect(`
		   0.00 A>B ack seq=1 ack=1 lost
		1000.00 A>B DATA seq=0 ack=1 len=6 lost`)
}

func TestReorderingAloneRetransmitsLittle(t *testing.T) {
	w := pair(t, link{delay: 20 * ms, jitter: 4 * ms}, 5)
	data := randomBytes(4<<20, 2)
	w.a.Write(data)
	w.flush()
	w.run(20 * time.Second)
	if s := w.a.Stats(); !bytes.Equal(w.b.got, data) || s.Retransmits > s.PacketsSent/20 {
		t.Errorf("%d of %d packets were sent again", s.Retransmits, s.PacketsSent)
	}
}

// A guess of the round trip repeats a lost first packet after two of them, not after the initial second.
func TestLostFirstPacketIsRepeatedByTheGuessedRoundTrip(t *testing.T) {
	w := traced(t, link{delay: 5 * ms})
	w.a.GuessRTT(15 * ms)
	dropOnce(w, 0)
	w.writePackets(1)
	w.run(100 * ms)
	w.expect(`
		0.00 A>B DATA seq=0 ack=0 len=1 lost
		32.00 A>B DATA seq=0 ack=0 len=1
		37.00 B>A ack seq=0 ack=1`)
}

// A probe of the tail waits two round trips from the last packet on; where the timeout comes first there is none.
func TestTailProbeWaitsForTheLastPacket(t *testing.T) {
	w := traced(t, link{delay: ms, filter: func(*end, Packet) bool { return false }})
	w.a.GuessRTT(300 * ms)
	w.a.Write([]byte("x"))
	w.a.Flush(0)
	w.run(500 * ms)
	w.a.Write([]byte("y"))
	w.a.Flush(w.now)
	w.run(400 * ms)
	w.expect(`
		   0.00 A>B DATA seq=0 ack=0 len=1 lost
		 500.00 A>B DATA seq=1 ack=0 len=1 lost`)
}
