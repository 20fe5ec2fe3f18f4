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

// inbox reads a socket in batches; it belongs to the socket's reader.
type inbox struct {
	raw   syscall.RawConn
	try   func(fd uintptr) bool // recvmmsg; a field so that it is allocated once
	msgs  []mmsghdr
	vecs  []unix.Iovec
	addrs []sockaddr
	bufs  []byte
	n     int
	err   error
}

func newInbox(s *socket) (*inbox, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	in := &inbox{raw: raw}
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
	in.resize(readBatchFirst)
	return in, nil
}

func (in *inbox) resize(count int) {
	in.msgs, in.vecs, in.addrs = make([]mmsghdr, count), make([]unix.Iovec, count), make([]sockaddr, count)
	in.bufs = make([]byte, count*maxDatagram)
	for i := range in.msgs {
		in.vecs[i].Base = &in.bufs[i*maxDatagram]
		in.vecs[i].SetLen(maxDatagram)
		in.msgs[i].Iov = &in.vecs[i]
		in.msgs[i].SetIovlen(1)
		in.msgs[i].Name = (*byte)(unsafe.Pointer(&in.addrs[i]))
	}
}

// grow allocates larger batches when the last one was full.
func (in *inbox) grow(n int) {
	if n == len(in.msgs) && n < readBatch {
		in.resize(min(4*n, readBatch))
	}
}

// read waits for datagrams and returns their number.
func (in *inbox) read() (int, error) {
	for i := range in.msgs {
		in.msgs[i].Namelen = uint32(unsafe.Sizeof(in.addrs[0]))
	}
	if err := in.raw.Read(in.try); err != nil {
		return 0, err
	}
	return in.n, in.err
}

// datagram returns one of the datagrams read last. ok is false if it was truncated.
func (in *inbox) datagram(i int) (from netip.AddrPort, b []byte, ok bool) {
	m := &in.msgs[i]
	start := i * maxDatagram
	end := start + int(m.n)
	return getSockaddr(&in.addrs[i]), in.bufs[start:end:end], m.Flags&unix.MSG_TRUNC == 0
}

// sender sends a socket's datagrams in batches; it belongs to the loop.
type sender struct {
	s    *socket
	raw  syscall.RawConn
	try  func(fd uintptr) bool // sendmmsg; a field so that it is allocated once
	next int                   // the first of the batch that was not sent
	end  int
	err  error
}

// batch is the memory in which the loop builds a batch of sends, shared by the sockets of a host.
type batch struct {
	msgs     [writeBatch]mmsghdr
	vecs     [writeBatch]unix.Iovec
	addrs    [writeBatch]sockaddr
	controls [writeBatch]control
}

// control is a control message that carries an int: the TTL.
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
		count := min(len(queue), writeBatch)
		sn.sendBatch(queue[:count], bytes)
		queue = queue[count:]
	}
}

func (sn *sender) sendBatch(queue []outgoing, bytes []byte) {
	h := sn.s.h
	b := &h.memory
	for i := range queue {
		out, m := &queue[i], &b.msgs[i]
		b.vecs[i].Base = unsafe.SliceData(bytes[out.from:])
		b.vecs[i].SetLen(out.end - out.from)
		m.Iov = &b.vecs[i]
		m.SetIovlen(1)
		m.Name = (*byte)(unsafe.Pointer(&b.addrs[i]))
		m.Namelen = putSockaddr(&b.addrs[i], out.to)
		m.Control = nil
		m.SetControllen(0)
		if out.ttl > 0 {
			c := &b.controls[i]
			c.header.Level, c.header.Type = unix.IPPROTO_IP, unix.IP_TTL
			if out.to.Addr().Is6() {
				c.header.Level, c.header.Type = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT
			}
			c.header.SetLen(unix.CmsgLen(4))
			c.value = int32(out.ttl)
			m.Control = (*byte)(unsafe.Pointer(c))
			m.SetControllen(unix.CmsgSpace(4))
		}
	}
	sn.next, sn.end = 0, len(queue)
	for sn.next < sn.end {
		before := sn.next
		sn.err = nil
		if err := sn.raw.Write(sn.try); err != nil {
			sn.err = err
		}
		h.stats.Writes++
		for _, out := range queue[before:sn.next] {
			h.stats.Sent++
			h.stats.SentBytes += uint64(out.end - out.from)
		}
		if sn.next == before { // the first one was rejected: continue with the next
			if sn.err != unix.EINTR {
				h.stats.refused(sn.err)
				sn.next++
			}
		}
	}
}
