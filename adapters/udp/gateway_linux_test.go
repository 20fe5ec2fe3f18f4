package udp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestRoutesToTheInternetAreParsed(t *testing.T) {
	word := func(ip string) string {
		b := netip.MustParseAddr(ip).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b[:]))
	}
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t" + word("192.168.0.1") + "\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
		"wg0\t00000000\t00000000\t0001\t0\t0\t200\t00000000\t0\t0\t0\n" +
		"wlan0\t00000000\t" + word("192.168.2.1") + "\t0003\t0\t0\t600\t00000000\t0\t0\t0\n" +
		"eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n" +
		"tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n" +
		"bad\t00000000\tx\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"short\t00000000\n"
	want := []defaultRoute{{"eth0", netip.MustParseAddr("192.168.0.1")}, {"wlan0", netip.MustParseAddr("192.168.2.1")}}
	if got := parseRoutes(table); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
