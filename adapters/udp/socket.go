package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// socket is a bound UDP socket. Its reader owns in; everything else belongs to the loop.
type socket struct {
	h       *Host
	conn    *net.UDPConn
	local   netip.AddrPort
	receive func(from netip.AddrPort, b []byte)
	closed  bool
	queue   []outgoing // of the outbox
	in      *inbox
	sys     sender
}

// OpenSocket implements host.Host.
func (h *Host) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	if h.down {
		return nil, ErrClosed
	}
	addr, network := local.Addr().Unmap(), "udp4"
	switch {
	case !addr.IsValid():
		addr = netip.IPv4Unspecified()
	case addr.Is6():
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, local.Port())))
	if err != nil {
		return nil, fmt.Errorf("opening a socket on %v: %w", local, err)
	}
	s := &socket{h: h, conn: conn}
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s.local = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	for size := readBuffer; size >= readBufferLeast && conn.SetReadBuffer(size) != nil; size /= 2 {
	}
	_ = conn.SetWriteBuffer(writeBuffer) // the default suffices where this fails
	if s.in, err = newInbox(s); err == nil {
		err = s.sys.init(s)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening a socket on %v: %w", local, err)
	}
	h.sockets[s] = struct{}{}
	h.tasks.Go(s.read)
	return s, nil
}

// read is the goroutine that reads the socket.
func (s *socket) read() {
	h := s.h
	defer s.in.close()
	for failed := 0; ; {
		n, err := s.in.read()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if failed++; failed > errorsInARow {
				time.Sleep(errorPause)
			}
		default:
			failed = 0
		}
		if !h.enter() {
			return
		}
		if err != nil {
			h.stats.ReadErrors++
		} else {
			h.stats.Reads++
			h.turn(func() { s.deliver(n) })
		}
		h.leave()
		s.in.grow()
	}
}

// deliver hands a batch to the socket's receiver.
func (s *socket) deliver(n int) {
	stats := &s.h.stats
	for i := range n {
		from, b, ok := s.in.datagram(i)
		switch {
		case s.closed:
			return
		case !ok:
			stats.Oversized++
		case s.receive == nil:
			stats.Unread++
		default:
			stats.Received++
			stats.ReceivedBytes += uint64(len(b))
			s.receive(from, b)
		}
	}
}

// LocalAddr implements host.Socket.
func (s *socket) LocalAddr() netip.AddrPort { return s.local }

// OnReceive implements host.Socket.
func (s *socket) OnReceive(f func(from netip.AddrPort, b []byte)) { s.receive = f }

// Send implements host.Socket.
func (s *socket) Send(to netip.AddrPort, ttl int, b []byte) {
	if s.closed {
		return
	}
	h := s.h
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case !to.IsValid() || to.Port() == 0 || to.Addr().Is4() != s.local.Addr().Is4():
		h.stats.WriteErrors++
		return
	case len(b) > 65507:
		h.stats.TooBig++
		return
	case ttl == host.DefaultTTL:
		ttl = 0
	}
	h.out.add(s, outgoing{to: to, ttl: ttl}, b)
	if h.out.count >= outMax || len(h.out.bytes) >= outBytesMax {
		h.flush()
	}
}

// Close implements host.Socket.
func (s *socket) Close() {
	if s.closed {
		return
	}
	if len(s.queue) > 0 {
		s.h.flush() // sends the queued datagrams first
	}
	s.closed = true
	delete(s.h.sockets, s)
	s.conn.Close()
}

// outgoing is a datagram that waits for the end of the turn.
type outgoing struct {
	to        netip.AddrPort
	ttl       int // 0 is the socket's default
	from, end int // its payload in the outbox
}

// outbox holds the datagrams that the turn sends, with their payloads concatenated in one buffer.
type outbox struct {
	bytes []byte
	dirty []*socket // those with a queue, in the order of their first send
	count int
}

func (o *outbox) add(s *socket, out outgoing, b []byte) {
	if len(s.queue) == 0 {
		o.dirty = append(o.dirty, s)
	}
	out.from = len(o.bytes)
	o.bytes = append(o.bytes, b...)
	out.end = len(o.bytes)
	s.queue = append(s.queue, out)
	o.count++
}

// flush sends the queued datagrams.
func (h *Host) flush() {
	o := &h.out
	for i, s := range o.dirty {
		s.sys.send(s.queue, o.bytes)
		s.queue = s.queue[:0]
		o.dirty[i] = nil
	}
	o.dirty, o.bytes, o.count = o.dirty[:0], o.bytes[:0], 0
}

// refused counts a failed send.
func (st *Stats) refused(err error) {
	switch {
	case errors.Is(err, syscall.EMSGSIZE):
		st.TooBig++
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS):
		st.Full++
	default:
		st.WriteErrors++
	}
}
