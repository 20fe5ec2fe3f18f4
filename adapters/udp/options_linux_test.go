package udp

import (
	"net"
	"testing"
)

// A socket whose options cannot be set is not used.
func TestSocketOptionsThatFail(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := setOptions(conn, raw, true); err != nil {
		t.Fatal(err)
	}
	if setOptions(conn, raw, false) == nil {
		t.Error("an IPv4 socket takes options of IPv6")
	}
	conn.Close()
	if setOptions(conn, raw, true) == nil {
		t.Error("a closed socket takes options")
	}
}
