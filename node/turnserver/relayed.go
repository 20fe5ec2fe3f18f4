package turnserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// relayed makes the relayed addresses of allocations. It implements turn.RelayAddressGenerator for UDP over IPv4.
type relayed struct {
	cfg   *Config
	stats *Stats
	inner bool // Public is no address of this machine, so that datagrams to it are delivered here

	mu    sync.RWMutex
	ports map[uint16]bool // of allocations
}

var (
	errNoTCP  = errors.New("TCP is not relayed")
	errNoIPv6 = errors.New("IPv6 is not relayed")
)

// Validate implements turn.RelayAddressGenerator.
func (r *relayed) Validate() error { return nil }

// AllocateListener implements turn.RelayAddressGenerator.
func (r *relayed) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocateConn implements turn.RelayAddressGenerator.
func (r *relayed) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// AllocatePacketConn implements turn.RelayAddressGenerator.
func (r *relayed) AllocatePacketConn(cfg turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if cfg.Network != "udp4" {
		return nil, nil, errNoIPv6
	}
	if r.stats.Allocations.Add(1) > int64(r.cfg.MaxAllocations) {
		r.stats.Allocations.Add(-1)
		r.stats.Refused.Add(1)
		return nil, nil, fmt.Errorf("there are %d allocations", r.cfg.MaxAllocations)
	}
	conn, port, err := r.listen()
	if err != nil {
		r.stats.Allocations.Add(-1)
		return nil, nil, err
	}
	limit := func() *rate.Limiter { return rate.NewLimiter(rate.Limit(r.cfg.Bandwidth), r.cfg.Bandwidth) }
	c := &relayConn{UDPConn: conn, of: r, port: port, out: limit(), in: limit()}
	return c, net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.cfg.Public, port)), nil
}

// listen opens a socket on a free port, drawn at random so that it cannot be guessed.
func (r *relayed) listen() (conn *net.UDPConn, port uint16, err error) {
	for range portTries {
		port = r.cfg.FirstPort + uint16(rand.IntN(int(r.cfg.LastPort-r.cfg.FirstPort)+1))
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.cfg.Bind, port)))
		if err == nil {
			r.mu.Lock()
			r.ports[port] = true
			r.mu.Unlock()
			return conn, port, nil
		}
	}
	return nil, 0, err
}

func (r *relayed) drop(port uint16) {
	r.mu.Lock()
	delete(r.ports, port)
	r.mu.Unlock()
	r.stats.Allocations.Add(-1)
}

// has reports whether a port is that of an allocation.
func (r *relayed) has(port uint16) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ports[port]
}

// relayConn is the socket of one allocation.
type relayConn struct {
	*net.UDPConn
	of      *relayed
	port    uint16
	out, in *rate.Limiter
	once    sync.Once
}

// WriteTo implements net.PacketConn.
func (c *relayConn) WriteTo(b []byte, to net.Addr) (int, error) {
	peer, err := addrPort(to)
	if err != nil {
		return 0, err
	}
	if !c.out.AllowN(time.Now(), len(b)+headers) {
		c.of.stats.Throttled.Add(1)
		return len(b), nil
	}
	c.of.stats.Sent.Add(1)
	c.of.stats.SentBytes.Add(uint64(len(b)))
	if c.of.inner && peer.Addr() == c.of.cfg.Public && c.of.has(peer.Port()) {
		// Few one-to-one NATs send back what comes from inside.
		peer = netip.AddrPortFrom(c.local(), peer.Port())
	}
	return c.WriteToUDPAddrPort(b, peer)
}

// local returns the address of this machine at which its own ports are reached.
func (c *relayConn) local() netip.Addr {
	if c.of.cfg.Bind.IsUnspecified() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return c.of.cfg.Bind
}

// ReadFrom implements net.PacketConn.
func (c *relayConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return n, nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if c.of.inner && from.Addr() == c.local() && c.of.has(from.Port()) {
			from = netip.AddrPortFrom(c.of.cfg.Public, from.Port())
		}
		if !c.in.AllowN(time.Now(), n+headers) {
			c.of.stats.Throttled.Add(1)
			continue
		}
		c.of.stats.Received.Add(1)
		c.of.stats.ReceivedBytes.Add(uint64(n))
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// Close implements net.PacketConn.
func (c *relayConn) Close() error {
	c.once.Do(func() { c.of.drop(c.port) })
	return c.UDPConn.Close()
}

// addrPort returns the address of a peer.
func addrPort(a net.Addr) (netip.AddrPort, error) {
	if u, ok := a.(*net.UDPAddr); ok {
		if at := u.AddrPort(); at.Addr().IsValid() {
			return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
		}
	}
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return at, errors.New("no address of a peer: " + strconv.Quote(a.String()))
	}
	return at, nil
}
