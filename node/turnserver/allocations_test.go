package turnserver

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/turn/v5"
)

// desk plays pion's server: it carries out the requests of clients.
type desk struct {
	*Server
	local net.Addr
	next  uint16 // channel
}

func newDesk() *desk {
	s := &Server{
		cfg:   Config{Secret: "secret", MaxUserAllocations: 2, Logger: slog.New(slog.DiscardHandler), AllowPeers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		users: map[string]*user{}, allocations: map[string]*allocation{},
	}
	s.clients = newClients(&s.stats, 1)
	return &desk{Server: s, local: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 443}}
}

func (d *desk) allocate(client net.Addr) { d.created(client, d.local, "", "a", "", d.local, 0) }

// ask has a client ask for a permission or a channel, by the method of its request.
func (d *desk) ask(client net.Addr, method int, peer string) bool {
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer))
	r := &turn.RequestAttributes{Username: "stranger", SrcAddr: client}
	if method == channelBind {
		r.Method = channelBind
	}
	d.authenticate(r)
	return d.permits(client, at.IP)
}

func (d *desk) permit(client net.Addr, peer string) bool {
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer))
	if !d.ask(client, 0, peer) {
		return false
	}
	d.permitted(client, d.local, "", "a", "", d.local, at.IP)
	return true
}

func (d *desk) bind(client net.Addr, peer string) bool {
	if !d.ask(client, channelBind, peer) {
		return false
	}
	d.bound(client, d.local, "", "a", "", d.local, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer)), d.next)
	d.next++
	return true
}

// peer returns the peer of a number.
func peer(n int) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 9).String()
}

func TestChannelsAreLimited(t *testing.T) {
	d := newDesk()
	one, two := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1}
	d.allocate(one)
	d.allocate(two)
	for n := range maxChannels {
		if !d.bind(one, peer(n)) {
			t.Fatalf("after %d", n)
		}
	}
	if d.bind(one, peer(maxChannels)) {
		t.Error("one more than the limit")
	}
	if !d.permit(one, peer(maxChannels)) {
		t.Error("no permission for the peer without a channel")
	}
	if !d.bind(two, peer(0)) {
		t.Error("another client has none")
	}
	if !d.ask(one, channelBind, peer(7)) {
		t.Error("a channel is not renewed")
	}
	if !d.bind(one, "10.0.0.7:10") { // which looks like a renewal
		t.Error("another port of a peer")
	}
	if d.bind(one, "10.0.0.7:11") || d.bind(one, peer(maxChannels)) {
		t.Error("and one more")
	}
	end := func(peer string) {
		d.unbound(one, d.local, "", "a", "", d.local, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer)), 0)
	}
	end("10.0.0.7:10")
	end(peer(3))
	if !d.bind(one, peer(maxChannels)) {
		t.Error("no channel in place of one that has ended")
	}
	if n := d.stats.Forbidden.Load(); n != 3 {
		t.Errorf("%d forbidden, want 3", n)
	}
}

// Two allocations of one address are over two connections, whose requests may run at the same time.
func TestChannelsOfTwoConnectionsAreLimitedTogether(t *testing.T) {
	d := newDesk()
	client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	d.allocate(client)
	d.allocate(client)
	for n := range maxChannels {
		d.bind(client, peer(n))
	}
	if d.ask(client, 0, peer(maxChannels)) {
		t.Error("what may be for a channel is granted")
	}
	d.deleted(client, d.local, "", "a", "")
	if d.bind(client, peer(maxChannels)) {
		t.Error("no limit after the end of one of them")
	}
	d.deleted(client, d.local, "", "a", "")
	if len(d.allocations) != 0 || len(d.users) != 0 {
		t.Errorf("%d allocations and %d users are left", len(d.allocations), len(d.users))
	}
}

// A client with as many permissions as it may have keeps them, and takes none from others of its user.
func TestPermissionsOfAnAllocationAreLimited(t *testing.T) {
	d := newDesk()
	d.cfg.MaxUserAllocations = 256
	one, two := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1}
	d.allocate(one)
	d.allocate(two)
	for n := range maxPermissions {
		if !d.permit(one, peer(n)) {
			t.Fatalf("after %d", n)
		}
	}
	if d.permit(one, peer(maxPermissions)) {
		t.Error("one more than the limit")
	}
	if !d.ask(one, 0, peer(1)) {
		t.Error("a permission is not renewed")
	}
	if !d.permit(two, peer(maxPermissions)) {
		t.Error("another client has none")
	}
	d.unpermitted(one, d.local, "", "a", "", d.local, net.IPv4(10, 0, 0, 1))
	if !d.permit(one, peer(maxPermissions)) {
		t.Error("no permission in place of one that has ended")
	}
}
