package turnserver

import (
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/time/rate"
)

// Empty datagrams cost the server as much as others, so that they are limited, too.
func TestEmptyDatagramsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		stats := &Stats{}
		c := &relayConn{UDPConn: socket, of: &relayed{cfg: &Config{}, stats: stats}, out: rate.NewLimiter(minBandwidth, minBandwidth)}
		for range 1000 {
			if _, err := c.WriteTo(nil, socket.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		if sent, throttled := stats.Sent.Load(), stats.Throttled.Load(); sent != minBandwidth/headers || throttled != 1000-sent {
			t.Errorf("%d sent, %d stopped, want %d sent", sent, throttled, minBandwidth/headers)
		}
	})
}
