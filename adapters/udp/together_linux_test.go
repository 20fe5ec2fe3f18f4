package udp

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// queued returns a queue of datagrams of some sizes to one peer.
func queued(sizes ...int) (queue []outgoing) {
	end := 0
	for _, size := range sizes {
		queue = append(queue, outgoing{to: netip.MustParseAddrPort("192.0.2.1:1"), from: end, end: end + size})
		end += size
	}
	return queue
}

func TestDatagramsThatMakeOneMessage(t *testing.T) {
	with := func(queue []outgoing, i int, change func(*outgoing)) []outgoing {
		change(&queue[i])
		return queue
	}
	ttl := func(o *outgoing) { o.ttl = 3 }
	for _, c := range []struct {
		name  string
		queue []outgoing
		want  []int // datagrams of each message
	}{
		{"one size", queued(1200, 1200, 1200), []int{3}},
		{"the last one is smaller", queued(1200, 1200, 1), []int{3}},
		{"one in the middle is smaller", queued(1200, 300, 1200), []int{2, 1}},
		{"one is larger", queued(300, 1200, 1200), []int{1, 2}},
		{"one is a byte larger", queued(300, 301), []int{1, 1}},
		{"empty ones", queued(0, 0), []int{1, 1}},
		{"an empty one at the end", queued(20, 20, 0), []int{2, 1}},
		{"an empty one in the middle", queued(20, 0, 20), []int{1, 1, 1}},
		{"as many as a message may have", queued(slices.Repeat([]int{10}, segments)...), []int{segments}},
		{"one more", queued(slices.Repeat([]int{10}, segments+1)...), []int{segments, 1}},
		{"one more, smaller", queued(append(slices.Repeat([]int{10}, segments), 9)...), []int{segments, 1}},
		{"as large as a message may be", queued(slices.Repeat([]int{(bulkSize - headersSize) / 32}, 32)...), []int{32}},
		{"a byte larger each", queued(slices.Repeat([]int{(bulkSize-headersSize)/32 + 1}, 32)...), []int{31, 1}},
		{"more than 64 kB", queued(slices.Repeat([]int{1400}, 60)...), []int{46, 14}},
		{"one alone is larger than a message of several", queued(65507, 65507), []int{1, 1}},
		{"a TTL at the beginning", with(queued(20, 20, 20), 0, ttl), []int{1, 2}},
		{"a TTL in the middle", with(queued(20, 20, 20), 1, ttl), []int{1, 1, 1}},
		{"another peer", with(queued(20, 20, 20), 2, func(o *outgoing) { o.to = netip.MustParseAddrPort("192.0.2.1:2") }), []int{2, 1}},
		{"bytes of another socket in between", with(queued(20, 20, 20), 1, func(o *outgoing) { o.from, o.end = 60, 80 }), []int{1, 1, 1}},
	} {
		split := func(sn *sender) (got []int) {
			for queue := c.queue; len(queue) > 0; queue = queue[got[len(got)-1]:] {
				got = append(got, sn.together(queue))
			}
			return got
		}
		if got := split(&sender{segmented: true}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		if got := split(&sender{}); len(got) != len(c.queue) {
			t.Errorf("%s: %d by a kernel that does not split", c.name, got)
		}
		if got := split(&sender{segmented: true, alone: len(c.queue)}); len(got) != len(c.queue) {
			t.Errorf("%s: %d after a rejection", c.name, got)
		}
	}
}

// Kernels that damage messages of several datagrams get none for other machines.
func TestKernelsThatMangleMessages(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44": false, "6.17.0-41-generic": false, "7.0.0": true, "7.0.2-6-pve": true, "7.0-rc1": true, "7.1.4": true, "7.1.5": false, "7.1.14": false,
		"7.2.0": false, "17.0.1": false, "7": true, "": false, "next": false,
	} {
		if got := mangles(release); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
	queue := queued(1200, 1200, 1200)
	sn := &sender{segmented: true, near: true}
	if n := sn.together(queue); n != 1 {
		t.Errorf("%d datagrams together to another machine", n)
	}
	for i := range queue {
		queue[i].to = netip.MustParseAddrPort("127.0.0.1:1")
	}
	if n := sn.together(queue); n != 3 {
		t.Errorf("%d datagrams together on this machine", n)
	}
}

// rawReader is a connection of which only reads are used.
type rawReader struct{ syscall.RawConn }

func (rawReader) Read(f func(fd uintptr) bool) error {
	f(0)
	return nil
}

func TestMessagesAreSplitAsTheKernelSays(t *testing.T) {
	type message struct {
		n, segment int // segment is 0 for no control message
		flags      int32
		cut        bool // the control message is incomplete
		level      int32
	}
	for _, c := range []struct {
		name string
		m    message
		want []int // sizes; negative for those that are dropped
	}{
		{"no control message", message{n: 1000}, []int{1000}},
		{"no control message, several datagrams' bytes", message{n: 3000}, []int{-3000}},
		{"equal datagrams", message{n: 300, segment: 100}, []int{100, 100, 100}},
		{"the last one is smaller", message{n: 301, segment: 100}, []int{100, 100, 100, 1}},
		{"an odd size", message{n: 20, segment: 7}, []int{7, 7, 6}},
		{"one byte each", message{n: 3, segment: 1}, []int{1, 1, 1}},
		{"a single one of the size", message{n: 100, segment: 100}, []int{100}},
		{"a single one that is smaller", message{n: 99, segment: 100}, []int{99}},
		{"an empty one", message{n: 0, segment: 100}, []int{0}},
		{"a negative size", message{n: 100, segment: -1}, []int{100}},
		{"datagrams that are too large", message{n: 2*maxDatagram + 5, segment: maxDatagram + 1}, []int{-maxDatagram - 1, -maxDatagram - 1, 3}},
		{"the largest message", message{n: bulkSize, segment: maxDatagram}, slices.Repeat([]int{maxDatagram}, bulkSize/maxDatagram)},
		{"truncated", message{n: 200, segment: 100, flags: unix.MSG_TRUNC}, []int{-100, -100}},
		{"an incomplete control message", message{n: 200, segment: 100, cut: true}, []int{200}},
		{"another control message", message{n: 200, segment: 100, level: unix.IPPROTO_IPV6}, []int{200}},
	} {
		in := inbox{raw: rawReader{}, bulk: true}
		in.resize(2, bulkSize)
		in.controls[1] = control{value: 1} // of an earlier read
		in.controls[1].header.Level, in.controls[1].header.Type = unix.IPPROTO_UDP, unix.UDP_GRO
		in.try = func(uintptr) bool {
			first, second := &in.msgs[0], &in.msgs[1]
			first.n, first.Flags = uint32(c.m.n), c.m.flags
			first.SetControllen(0)
			if c.m.segment != 0 {
				k := &in.controls[0]
				k.header.Level, k.header.Type, k.value = unix.IPPROTO_UDP, unix.UDP_GRO, int32(c.m.segment)
				if c.m.level != 0 {
					k.header.Level = c.m.level
				}
				if first.SetControllen(unix.CmsgLen(4)); c.m.cut {
					first.SetControllen(unix.CmsgLen(4) - 1)
				}
			}
			second.n = 5
			second.SetControllen(0)
			in.n = 2
			return true
		}
		n, err := in.read()
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for i := range n {
			_, b, ok := in.datagram(i)
			if size := len(b); ok {
				got = append(got, size)
			} else {
				got = append(got, -size)
			}
		}
		if want := append(slices.Clone(c.want), 5); !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d", c.name, got, want)
		}
	}
}
