//go:build !linux

package udp

import (
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/dhtprom/dhtprom/ports/host"
)

// batch is empty where datagrams are sent one by one.
type batch struct{}

// inbox reads a socket, one datagram at a time; it belongs to the socket's reader.
type inbox struct {
	s    *socket
	buf  [maxDatagram + 1]byte
	n    int
	from netip.AddrPort
}

func newInbox(s *socket) (*inbox, error) { return &inbox{s: s}, nil }

// read waits for a datagram.
func (in *inbox) read() (int, error) {
	var err error
	in.n, in.from, err = in.s.conn.ReadFromUDPAddrPort(in.buf[:])
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func (in *inbox) grow() {}

func (in *inbox) close() {}

// datagram returns the datagram read last. ok is false if it was truncated.
func (in *inbox) datagram(int) (from netip.AddrPort, b []byte, ok bool) {
	n := min(in.n, maxDatagram)
	return netip.AddrPortFrom(in.from.Addr().Unmap(), in.from.Port()), in.buf[:n:n], in.n <= maxDatagram
}

// sender sends a socket's datagrams; it belongs to the loop.
type sender struct {
	s   *socket
	ttl int
}

func (sn *sender) init(s *socket) error {
	sn.s, sn.ttl = s, host.DefaultTTL
	return sn.setTTL(host.DefaultTTL)
}

func (sn *sender) setTTL(ttl int) error {
	if sn.s.local.Addr().Is4() {
		return ipv4.NewConn(sn.s.conn).SetTTL(ttl)
	}
	return ipv6.NewConn(sn.s.conn).SetHopLimit(ttl)
}

// send sends a queue; datagrams that the system rejects are counted and dropped. The TTL is an option of the
// socket, so it is changed for datagrams with another one and reset at the end.
func (sn *sender) send(queue []outgoing, bytes []byte) {
	stats := &sn.s.h.stats
	for _, out := range queue {
		ttl := out.ttl
		if ttl == 0 {
			ttl = host.DefaultTTL
		}
		err := sn.change(ttl)
		if err == nil {
			_, err = sn.s.conn.WriteToUDPAddrPort(bytes[out.from:out.end], out.to)
			stats.Writes++
		}
		if err != nil {
			stats.refused(err)
			continue
		}
		stats.Sent++
		stats.SentBytes += uint64(out.end - out.from)
	}
	// After a failure the next send tries again.
	_ = sn.change(host.DefaultTTL)
}

func (sn *sender) change(ttl int) error {
	if ttl == sn.ttl {
		return nil
	}
	if err := sn.setTTL(ttl); err != nil {
		return err
	}
	sn.ttl = ttl
	return nil
}
