package kad

import "net/netip"

// Address classes as npm bogon draws them. They decide whether two peers may meet on a local network.
var (
	private = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
	// 224/4 and 240/4 together are 224/3.
	reserved = prefixes("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func in(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// IsPrivate reports whether addr is in a private, carrier grade NAT, loopback or link local range.
func IsPrivate(addr netip.Addr) bool { return in(private, addr) }

// IsReserved reports whether addr is in a range set aside for documentation, tests, multicast or the future.
func IsReserved(addr netip.Addr) bool { return in(reserved, addr) }

// IsBogon reports whether addr cannot be an address on the public internet.
func IsBogon(addr netip.Addr) bool { return IsPrivate(addr) || IsReserved(addr) }

// MatchLAN picks the remote address that most likely lies on one of our local networks: the first that
// shares three leading octets with a local one, else the first that shares two, else one
// (hyperdht lib/holepuncher.js). It reports false if nothing shares the first octet.
func MatchLAN(local, remote []netip.AddrPort) (netip.AddrPort, bool) {
	var best netip.AddrPort
	shared := 0
	for _, l := range local {
		for _, r := range remote {
			n := sharedOctets(l.Addr(), r.Addr())
			if n >= 3 {
				return r, true
			}
			// The reference implementation raises its mark one octet at a time, so the first two-octet match after
			// any one-octet match wins, as here.
			if n > shared {
				best, shared = r, n
			}
		}
	}
	return best, shared > 0
}

func sharedOctets(a, b netip.Addr) int {
	if !a.Is4() || !b.Is4() {
		return 0
	}
	x, y := a.As4(), b.As4()
	n := 0
	for n < len(x) && x[n] == y[n] {
		n++
	}
	return n
}
