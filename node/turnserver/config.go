package turnserver

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// The defaults of Config.
const (
	DefaultRealm          = "dhtprom"
	DefaultFirstPort      = 49152
	DefaultLastPort       = 65535
	DefaultAllocations    = 1024
	DefaultUserAllocation = 256
	DefaultBandwidth      = 2 << 20
)

const (
	// minBandwidth is the least bandwidth, in bytes per second: a few datagrams.
	minBandwidth = 16 << 10
	// maxWaiting bounds the connections that have not allocated: the clients of a server that was restarted come back at the same time.
	maxWaiting = 1024
	// networkBits4 and networkBits6 are the sizes of the networks that are counted as one client where there are too many of these.
	networkBits4 = 24
	networkBits6 = 48
	// maxPermissions bounds the permissions of an allocation: a scraper with ten thousand clients needs about as many. They last for five
	// minutes, and take half a kilobyte each. permissionsFor times MaxUserAllocations is the number of those of a user, if that is more.
	maxPermissions = 16384
	permissionsFor = 512
	// maxChannels bounds the channels of an allocation. The server searches all of them for each datagram, which takes five microseconds
	// for as many; datagrams of peers without one are 32 bytes longer.
	maxChannels = 512
	// waitingBytes bounds what a client sends before it has allocated: the requests take less than a kilobyte.
	waitingBytes = 8 << 10
	// allocateTimeout bounds the time from accepting a connection to its allocation, silence the time without a byte on one that has
	// allocated, and writeTimeout the time that a write takes.
	allocateTimeout = 15 * time.Second
	silence         = 11 * time.Minute
	writeTimeout    = 10 * time.Second
	// acceptPause is the time before a listener accepts again after the machine had no file left for a connection.
	acceptPause = 100 * time.Millisecond
	// headers is the size of the IPv4 and UDP headers of a datagram, which count for its bandwidth: empty ones would be free.
	headers = 28
	// deadlineStep is the least time by which a deadline is moved: setting it costs more than most reads.
	deadlineStep = 5 * time.Second
	// channelBind is the method of requests for channels (RFC 8656, section 17).
	channelBind = 0x009
	// portTries is the number of ports that are drawn for an allocation before it is refused.
	portTries = 20
)

// Config configures a Server.
type Config struct {
	// Listeners accept clients over TCP, or TLS if they are listeners of crypto/tls, and Packets receive from clients over UDP. The server
	// closes them.
	Listeners []net.Listener
	Packets   []net.PacketConn
	// Public is the IPv4 address at which peers reach the ports of this machine.
	Public netip.Addr
	// Bind is the address of this machine for these ports. The default is Public if it is an address of this machine, else all
	// addresses: behind a one-to-one NAT the public one cannot be bound.
	Bind netip.Addr
	// FirstPort and LastPort are the range of these ports.
	FirstPort, LastPort uint16
	// Realm names the server to clients.
	Realm string
	// Secret is shared with those who make credentials that expire (draft-uberti-behave-turn-rest), Users are passwords by user. One of them
	// is needed.
	Secret string
	Users  map[string]string
	// MaxAllocations bounds the allocations, MaxUserAllocations those of one user; each client has one.
	MaxAllocations, MaxUserAllocations int
	// Bandwidth bounds what an allocation relays in each direction, in bytes per second, with the headers of its datagrams. The rest is dropped.
	Bandwidth int
	// AllowPeers are networks that clients may reach through the server although they are not public: by default none is, so that a server
	// is no way into its own network.
	AllowPeers []netip.Prefix
	Logger     *slog.Logger // nil: no logging
}

// normal fills in the defaults.
func (c Config) normal() Config {
	c.FirstPort, c.LastPort = cmp.Or(c.FirstPort, DefaultFirstPort), cmp.Or(c.LastPort, DefaultLastPort)
	c.Realm = cmp.Or(c.Realm, DefaultRealm)
	c.MaxAllocations = cmp.Or(c.MaxAllocations, DefaultAllocations)
	c.MaxUserAllocations = cmp.Or(c.MaxUserAllocations, DefaultUserAllocation)
	c.Bandwidth = cmp.Or(c.Bandwidth, DefaultBandwidth)
	if !c.Bind.IsValid() {
		c.Bind = netip.IPv4Unspecified()
		if isLocal(c.Public) {
			c.Bind = c.Public
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c *Config) check() error {
	switch {
	case len(c.Listeners)+len(c.Packets) == 0:
		return errors.New("a TURN server needs an address to listen on")
	case !c.Public.Is4() || c.Public.IsUnspecified():
		return fmt.Errorf("a TURN server needs the public IPv4 address of its machine, got %s", c.Public)
	case c.FirstPort > c.LastPort:
		return fmt.Errorf("want a range of ports, got %d to %d", c.FirstPort, c.LastPort)
	case c.Secret == "" && len(c.Users) == 0:
		return errors.New("a TURN server needs a secret or users: without, it would relay for every host on the internet")
	case c.MaxAllocations < 1 || c.MaxUserAllocations < 1:
		return fmt.Errorf("want at least one allocation, got %d and %d for a user", c.MaxAllocations, c.MaxUserAllocations)
	case c.Bandwidth < minBandwidth:
		return fmt.Errorf("want a bandwidth of at least %d bytes per second, got %d", minBandwidth, c.Bandwidth)
	}
	return nil
}

// isLocal reports whether an address is of an interface of this machine.
func isLocal(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, local := range addrs {
		if n, ok := local.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// notPublic are the networks beside those that netip.Addr knows as private, in which no peer can be (RFC 6890).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// admits reports whether clients may reach an address through the server.
func (c *Config) admits(peer netip.Addr) bool {
	for _, p := range c.AllowPeers {
		if p.Contains(peer) {
			return true
		}
	}
	if !peer.Is4() || !peer.IsGlobalUnicast() || peer.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(peer) {
			return false
		}
	}
	return true
}
