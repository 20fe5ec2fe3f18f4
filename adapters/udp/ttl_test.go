package udp_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/dhtprom/dhtprom/ports/host/hosttest"
)

const batched = runtime.GOOS == "linux"

// ttlReader returns a function that reads the TTL of the next datagram.
func ttlReader(t *testing.T, conn *net.UDPConn) func() int {
	p := ipv4.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv4.FlagTTL, true); err != nil {
		t.Fatal(err)
	}
	return func() int {
		conn.SetReadDeadline(time.Now().Add(hosttest.Deadline))
		_, cm, _, err := p.ReadFrom(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		return cm.TTL
	}
}
