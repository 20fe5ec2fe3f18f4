package turnserver

import (
	"net"
	"net/netip"

	"github.com/pion/turn/v5"
)

// user is the use of the server by one user.
type user struct{ allocations, permissions int }

// allocation is the use of the server by the client at an address, over all listeners together.
type allocation struct {
	name        string // of the user
	open        int    // allocations
	permissions map[netip.Addr]int
	channels    map[netip.Addr]int // by the IP addresses of their peers
	bound       int                // all of them
	binds       bool               // the request that is being carried out is for a channel
}

// mayAllocate decides whether a user may have one more allocation.
func (s *Server) mayAllocate(name, _ string, _ net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u == nil || u.allocations < s.cfg.MaxUserAllocations {
		return true
	}
	s.stats.Refused.Add(1)
	return false
}

func (s *Server) created(client, server net.Addr, _, name, _ string, at net.Addr, _ int) {
	s.mu.Lock()
	s.count(name, 1, 0)
	a := s.allocations[client.String()]
	if a == nil {
		a = &allocation{permissions: map[netip.Addr]int{}, channels: map[netip.Addr]int{}}
		s.allocations[client.String()] = a
	}
	a.name = name
	a.open++
	s.mu.Unlock()
	s.stats.Allocated.Add(1)
	s.clients.allocated(client, server)
	s.cfg.Logger.Debug("Relaying by TURN", "client", client.String(), "user", name, "relayed", at.String())
}

// deleted follows the events of the ends of all permissions and channels.
func (s *Server) deleted(client, server net.Addr, _, name, _ string) {
	s.mu.Lock()
	s.count(name, -1, 0)
	if a := s.allocations[client.String()]; a != nil {
		if a.open--; a.open <= 0 {
			delete(s.allocations, client.String())
		}
	}
	s.mu.Unlock()
	s.clients.released(client, server)
	s.cfg.Logger.Debug("The client has left", "client", client.String(), "user", name)
}

func (s *Server) permitted(client, _ net.Addr, _, name, _ string, _ net.Addr, peer net.IP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(name, 0, 1)
	if a := s.allocations[client.String()]; a != nil {
		a.permissions[addrOf(peer)]++
	}
}

func (s *Server) unpermitted(client, _ net.Addr, _, name, _ string, _ net.Addr, peer net.IP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(name, 0, -1)
	if a := s.allocations[client.String()]; a != nil {
		decrement(a.permissions, addrOf(peer))
	}
}

func (s *Server) bound(client, _ net.Addr, _, _, _ string, _, peer net.Addr, _ uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := addrPort(peer)
	if a := s.allocations[client.String()]; a != nil && err == nil {
		a.channels[at.Addr()]++
		a.bound++
	}
}

func (s *Server) unbound(client, _ net.Addr, _, _, _ string, _, peer net.Addr, _ uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := addrPort(peer)
	if a := s.allocations[client.String()]; a != nil && err == nil && a.channels[at.Addr()] > 0 {
		decrement(a.channels, at.Addr())
		a.bound--
	}
}

func addrOf(peer net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(peer)
	return a.Unmap()
}

func decrement(counts map[netip.Addr]int, a netip.Addr) {
	if counts[a]--; counts[a] <= 0 {
		delete(counts, a)
	}
}

// count changes the use of the server by a user.
func (s *Server) count(name string, allocations, permissions int) {
	u := s.users[name]
	if u == nil {
		u = &user{}
		s.users[name] = u
	}
	u.allocations += allocations
	u.permissions += permissions
	if u.allocations <= 0 && u.permissions <= 0 {
		delete(s.users, name)
	}
}

// requested notes what a client asks for. permits is called for its peers before the next request of the connection.
func (s *Server) requested(r *turn.RequestAttributes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.allocations[r.SrcAddr.String()]; a != nil {
		a.binds = r.Method == channelBind
	}
}

// permits decides whether a client may exchange datagrams with a peer, or have a channel to it.
func (s *Server) permits(client net.Addr, peer net.IP) bool {
	at := addrOf(peer)
	if s.cfg.admits(at) && s.hasRoom(client, at) {
		return true
	}
	s.stats.Forbidden.Add(1)
	return false
}

// hasRoom reports whether a client may have what it asks for without more than a client needs. What it has it may keep.
func (s *Server) hasRoom(client net.Addr, peer netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.allocations[client.String()]
	if a == nil {
		return false
	}
	// Requests over two connections may run at the same time, so that it is not known which of them is for a channel.
	if (a.binds || a.open > 1) && a.bound >= maxChannels {
		// A peer with a channel has it renewed. That may be a further one, for another port, and then there is none until some have ended.
		if a.bound > maxChannels || a.channels[peer] == 0 {
			return false
		}
	}
	if a.permissions[peer] > 0 {
		return true
	}
	u := s.users[a.name]
	return len(a.permissions) < maxPermissions && (u == nil || u.permissions < max(maxPermissions, permissionsFor*s.cfg.MaxUserAllocations))
}
