package rpc

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// sockets owns the two sockets of a node and remembers the ports that they had, to take them again.
type sockets struct {
	server, client         host.Socket // nil while suspended
	serverPort, clientPort uint16      // 0 before they are bound for the first time
}

// main is the client socket while firewalled, else the server socket.
func (s *sockets) main(firewalled bool) host.Socket {
	if firewalled {
		return s.client
	}
	return s.server
}

func (s *sockets) isOpen() bool { return s.server != nil }

// bind opens both sockets (dht-rpc lib/io.js, _bindSockets).
func (s *sockets) bind(h host.Host, cfg *Config) error {
	addr := cfg.Listen.Addr()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	server, err := s.bindServer(h, addr, cfg)
	if err != nil {
		return fmt.Errorf("rpc: server socket: %w", err)
	}
	var client host.Socket
	if s.clientPort != 0 {
		client, err = h.OpenSocket(netip.AddrPortFrom(addr, s.clientPort))
	}
	if client == nil {
		client, err = openFree(h, addr, cfg)
	}
	if err != nil {
		server.Close()
		return fmt.Errorf("rpc: client socket: %w", err)
	}
	s.server, s.client = server, client
	s.serverPort, s.clientPort = server.LocalAddr().Port(), client.LocalAddr().Port()
	return nil
}

// bindServer opens the server socket. An explicit port is that port or an error; without one the port from before, one of
// a few that others may have seen this node at, or any that is free.
func (s *sockets) bindServer(h host.Host, addr netip.Addr, cfg *Config) (host.Socket, error) {
	exact := cfg.Listen.Port()
	if exact == 0 && cfg.PublicAddr.IsValid() {
		exact = cfg.PublicAddr.Port()
	}
	if exact != 0 {
		at := netip.AddrPortFrom(addr, exact)
		server, err := h.OpenSocket(at)
		if err != nil {
			return nil, &ListenError{Addr: at, Err: err}
		}
		return server, nil
	}
	if s.serverPort != 0 {
		if server, err := h.OpenSocket(netip.AddrPortFrom(addr, s.serverPort)); err == nil {
			return server, nil
		}
	}
	for port := uint16(implicitPort); port < implicitPort+implicitPorts; port++ {
		if reserved(port, cfg) {
			continue
		}
		if server, err := h.OpenSocket(netip.AddrPortFrom(addr, port)); err == nil {
			return server, nil
		}
	}
	server, err := openFree(h, addr, cfg)
	if err != nil {
		return nil, &ListenError{Addr: netip.AddrPortFrom(addr, 0), Err: err}
	}
	return server, nil
}

func (s *sockets) close() {
	if s.isOpen() {
		s.server.Close()
		s.client.Close()
		s.server, s.client = nil, nil
	}
}

// openFree opens a socket on any port but those of bootstrap nodes. The system gives such a port at random, and hardly
// ever twice.
func openFree(h host.Host, addr netip.Addr, cfg *Config) (s host.Socket, err error) {
	for range freeTries {
		last := s
		s, err = h.OpenSocket(netip.AddrPortFrom(addr, 0))
		if last != nil {
			last.Close() // not earlier, or it might be given again
		}
		if err != nil || !reserved(s.LocalAddr().Port(), cfg) {
			return s, err
		}
	}
	return s, nil
}

// reserved reports whether a port is that of a bootstrap node, which may be about to start on this machine.
func reserved(port uint16, cfg *Config) bool {
	return port >= DefaultPort && port < DefaultPort+defaultPorts ||
		slices.ContainsFunc(cfg.Bootstrap, func(b Bootstrap) bool { return b.Port == port })
}
