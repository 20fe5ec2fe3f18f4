package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// In a network of private addresses, the address at which the DHT sees a server is no other way over a LAN.
func TestPrivateNetworkIsDirect(t *testing.T) {
	t.Parallel()
	for name, dialler := range map[string]place{"open": open(), "not known to be open": public(), "behind a NAT": cone()} {
		where := open()
		where.host = func(l *lab) (*simnet.Host, *simnet.Router) {
			return l.net.AddHost("answerer", netip.AddrFrom4([4]byte{10, 0, 0, 5})), nil
		}
		l := newLab(t, 4, dialler, where)
		l.listen(hyperdht.ListenOptions{})
		c := l.dial(hyperdht.ConnectOptions{})
		l.run(5 * time.Second)
		if n := l.dialler.node.Status().Peering.PathsLAN; c.Path() != hyperdht.PathDirect || n != 0 {
			t.Errorf("a dialler that is %s: path %v, %d paths over a LAN", name, c.Path(), n)
		}
	}
}
