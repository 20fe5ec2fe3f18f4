package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2). The system calls are not made through
// golang.org/x/net/ipv4, because it makes two allocations per datagram and blocks when a send buffer is
// full, and the loop must not block.
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// sockaddr has room for the addresses of both families; family and port have the same offsets in both.
type sockaddr = unix.RawSockaddrInet6

func putSockaddr(sa *sockaddr, to netip.AddrPort) (length uint32) {
	if to.Addr().Is4() {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		four.Family, four.Addr = unix.AF_INET, to.Addr().As4()
		length = unix.SizeofSockaddrInet4
	} else {
		sa.Family, sa.Flowinfo, sa.Addr, sa.Scope_id = unix.AF_INET6, 0, to.Addr().As16(), 0
		length = unix.SizeofSockaddrInet6
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], to.Port())
	return length
}

func getSockaddr(sa *sockaddr) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
}

// inbox reads a socket in batches; it belongs to the socket's reader. On a socket with much traffic, the kernel may coalesce datagrams of
// one peer into a message (UDP_GRO), which read splits again.
type inbox struct {
	s         *socket
	raw       syscall.RawConn
	try       func(fd uintptr) bool // recvmmsg; a field so that it is allocated once
	msgs      []mmsghdr
	vecs      []unix.Iovec
	addrs     []sockaddr
	controls  []control
	bufs      []byte
	size      int // of the buffer of each message
	bulk      bool
	n         int // messages read last
	err       error
	datagrams []datagram // read last
}

// datagram is a received datagram in the buffers of an inbox.
type datagram struct {
	message, start, end int
}

func newInbox(s *socket) (*inbox, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	in := &inbox{s: s, raw: raw}
	in.try = func(fd uintptr) bool {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.msgs[0])), uintptr(len(in.msgs)), unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				in.n, in.err = int(n), nil
				return true
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				in.n, in.err = 0, errno
				return true
			}
		}
	}
	in.resize(readBatchFirst, maxDatagram)
	return in, nil
}

func (in *inbox) resize(count, size int) {
	in.msgs, in.vecs, in.addrs = make([]mmsghdr, count), make([]unix.Iovec, count), make([]sockaddr, count)
	in.bufs, in.size = make([]byte, count*size), size
	if in.bulk {
		in.controls = make([]control, count)
	}
	for i := range in.msgs {
		in.vecs[i].Base = &in.bufs[i*size]
		in.vecs[i].SetLen(size)
		in.msgs[i].Iov = &in.vecs[i]
		in.msgs[i].SetIovlen(1)
		in.msgs[i].Name = (*byte)(unsafe.Pointer(&in.addrs[i]))
	}
}

// grow allocates larger batches when the last one was full, and buffers for coalesced datagrams when that is repeated.
func (in *inbox) grow() {
	switch count := len(in.msgs); {
	case in.bulk || in.n < count:
	case count > readBatchFirst && in.coalesce():
		in.bulk = true
		in.resize(bulkBatch, bulkSize)
	case count < readBatch:
		in.resize(min(4*count, readBatch), maxDatagram)
	}
}

// coalesce has the kernel coalesce datagrams, on bulkSockets sockets of a host at most. It reports whether the kernel does.
func (in *inbox) coalesce() bool {
	if in.s.h.opt.NoOffload {
		return false
	}
	if in.s.h.bulk.Add(1) > bulkSockets {
		in.s.h.bulk.Add(-1)
		return false
	}
	var failed error
	err := in.raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if err == nil && failed == nil {
		_ = in.s.conn.SetReadBuffer(bulkBuffer) // the kernel takes less where its limit is lower
		return true
	}
	in.s.h.bulk.Add(-1)
	return false
}

// close releases what the socket has of the host.
func (in *inbox) close() {
	if in.bulk {
		in.s.h.bulk.Add(-1)
	}
}

// read waits for datagrams and returns their number.
func (in *inbox) read() (int, error) {
	for i := range in.msgs {
		in.msgs[i].Namelen = uint32(unsafe.Sizeof(in.addrs[0]))
		if in.bulk {
			in.msgs[i].Control = (*byte)(unsafe.Pointer(&in.controls[i]))
			in.msgs[i].SetControllen(unix.CmsgSpace(4))
		}
	}
	in.n, in.datagrams = 0, in.datagrams[:0]
	if err := in.raw.Read(in.try); err != nil {
		return 0, err
	}
	for i := range in.n {
		start := i * in.size
		end := start + int(in.msgs[i].n)
		for segment := in.segment(i); segment > 0 && end-start > segment; start += segment {
			in.datagrams = append(in.datagrams, datagram{i, start, start + segment})
		}
		in.datagrams = append(in.datagrams, datagram{i, start, end})
	}
	return len(in.datagrams), in.err
}

// segment returns the size of the datagrams in a message, of which the last may be smaller; 0 if it is a single one.
func (in *inbox) segment(i int) int {
	if !in.bulk || int(in.msgs[i].Controllen) < unix.CmsgLen(4) {
		return 0
	}
	c := &in.controls[i]
	if c.header.Level != unix.IPPROTO_UDP || c.header.Type != unix.UDP_GRO {
		return 0
	}
	return int(c.value)
}

// datagram returns one of the datagrams read last. ok is false if it was too large.
func (in *inbox) datagram(i int) (from netip.AddrPort, b []byte, ok bool) {
	d := &in.datagrams[i]
	ok = in.msgs[d.message].Flags&unix.MSG_TRUNC == 0 && d.end-d.start <= maxDatagram
	return getSockaddr(&in.addrs[d.message]), in.bufs[d.start:d.end:d.end], ok
}

// sender sends a socket's datagrams in batches; it belongs to the loop. Successive datagrams of one size to one peer are a message, which
// the kernel or the network card splits (UDP_SEGMENT).
type sender struct {
	s         *socket
	raw       syscall.RawConn
	try       func(fd uintptr) bool // sendmmsg; a field so that it is allocated once
	next      int                   // the first message of the batch that was not sent
	end       int
	err       error
	segmented bool // messages of several datagrams are possible
	near      bool // but only to this machine
	alone     int  // datagrams that are sent in a message each, since one with all of them failed
}

// batch is the memory in which the loop builds a batch of sends, shared by the sockets of a host.
type batch struct {
	msgs     [writeBatch]mmsghdr
	vecs     [writeBatch]unix.Iovec
	addrs    [writeBatch]sockaddr
	controls [writeBatch]control
	counts   [writeBatch]int // datagrams of each message
}

// control is a control message that carries an int: the TTL, or the size of the datagrams in a message.
type control struct {
	header unix.Cmsghdr
	value  int32
	_      [4]byte
}

func (sn *sender) init(s *socket) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	sn.s, sn.raw = s, raw
	sn.try = func(fd uintptr) bool {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.h.memory.msgs[sn.next])), uintptr(sn.end-sn.next), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			sn.err = errno
			return true
		}
		sn.next += int(n)
		return true
	}
	err = raw.Control(func(fd uintptr) {
		_, failed := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT) // Linux 4.18
		sn.segmented = failed == nil && !s.h.opt.NoOffload
		sn.near = manglesMessages()
	})
	if err != nil {
		return err
	}
	return setOptions(s.conn, raw, s.local.Addr().Is4())
}

// setOptions sets the don't-fragment bit and bypasses the kernel's path MTU cache: UDX does its own path MTU
// discovery. Sends larger than the interface's MTU fail with EMSGSIZE.
func setOptions(_ *net.UDPConn, raw syscall.RawConn, four bool) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if four {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	})
	if err != nil {
		return err
	}
	return failed
}

// send sends a queue; datagrams that the kernel rejects are counted and dropped.
func (sn *sender) send(queue []outgoing, bytes []byte) {
	for len(queue) > 0 {
		queue = queue[sn.sendBatch(queue, bytes):]
	}
}

// sendBatch sends the first messages of a queue, and returns the number of datagrams that are done.
func (sn *sender) sendBatch(queue []outgoing, bytes []byte) (done int) {
	h := sn.s.h
	b := &h.memory
	sn.next, sn.end = 0, 0
	for rest := queue; len(rest) > 0 && sn.end < writeBatch; sn.end++ {
		n := sn.together(rest)
		b.put(sn.end, rest[:n], bytes)
		rest = rest[n:]
	}
	for sn.next < sn.end {
		before := sn.next
		sn.err = nil
		if err := sn.raw.Write(sn.try); err != nil {
			sn.err = err
		}
		h.stats.Writes++
		for _, count := range b.counts[before:sn.next] {
			for _, out := range queue[done : done+count] {
				h.stats.Sent++
				h.stats.SentBytes += uint64(out.end - out.from)
			}
			done += count
		}
		switch {
		case sn.next > before || sn.err == unix.EINTR:
		case b.counts[before] > 1:
			sn.alone = b.counts[before]
			switch sn.err {
			case unix.EIO, // there is no checksum offload
				unix.EOPNOTSUPP, unix.ENOPROTOOPT:
				sn.segmented = false
			}
			return done
		default: // rejected: continue with the next
			h.stats.refused(sn.err)
			sn.next++
			done++
		}
	}
	return done
}

// together returns how many of the first datagrams of a queue make a message: those with the same destination and the size of the first,
// and one smaller, which ends it.
func (sn *sender) together(queue []outgoing) int {
	first := &queue[0]
	size := first.end - first.from
	switch {
	case sn.alone > 0:
		sn.alone--
		return 1
	case !sn.segmented || first.ttl > 0 || size == 0 || sn.near && !first.to.Addr().IsLoopback():
		return 1
	}
	n := 1
	for n < min(len(queue), segments) && (n+1)*size <= bulkSize-headersSize {
		next := &queue[n]
		nextSize := next.end - next.from
		if next.to != first.to || next.ttl > 0 || next.from != queue[n-1].end || nextSize > size || nextSize == 0 {
			break
		}
		n++
		if nextSize < size {
			break
		}
	}
	return n
}

// put makes datagrams the i-th message.
func (b *batch) put(i int, group []outgoing, bytes []byte) {
	first, last, m := &group[0], &group[len(group)-1], &b.msgs[i]
	b.counts[i] = len(group)
	b.vecs[i].Base = unsafe.SliceData(bytes[first.from:])
	b.vecs[i].SetLen(last.end - first.from)
	m.Iov = &b.vecs[i]
	m.SetIovlen(1)
	m.Name = (*byte)(unsafe.Pointer(&b.addrs[i]))
	m.Namelen = putSockaddr(&b.addrs[i], first.to)
	m.Control = nil
	m.SetControllen(0)
	c := &b.controls[i]
	switch {
	case len(group) > 1:
		c.header.Level, c.header.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&c.value)) = uint16(first.end - first.from)
		m.SetControllen(unix.CmsgSpace(2))
	case first.ttl > 0:
		c.header.Level, c.header.Type = unix.IPPROTO_IP, unix.IP_TTL
		if first.to.Addr().Is6() {
			c.header.Level, c.header.Type = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT
		}
		c.header.SetLen(unix.CmsgLen(4))
		c.value = int32(first.ttl)
		m.SetControllen(unix.CmsgSpace(4))
	default:
		return
	}
	m.Control = (*byte)(unsafe.Pointer(c))
}
