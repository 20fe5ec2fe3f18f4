package netns

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The line delays, loses and limits packets as configured.
func TestWire(t *testing.T) {
	Need(t, "wire", "ip")
	name := func(side string) string { return fmt.Sprintf("wire%d-%s", os.Getpid(), side) }
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	for _, side := range []string{"a", "b"} {
		ip("netns", "add", name(side))
		t.Cleanup(func() { ip("netns", "del", name(side)) })
	}
	const delay = 30 * time.Millisecond
	w, err := NewWire(End{name("a"), "one"}, End{name("b"), "two"}, Link{Delay: delay})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, side := range [][3]string{{"a", "one", "10.9.0.1/24"}, {"b", "two", "10.9.0.2/24"}} {
		ip("-n", name(side[0]), "addr", "add", side[2], "dev", side[1])
		ip("-n", name(side[0]), "link", "set", side[1], "up")
	}
	listen := func(side, addr string) (c *net.UDPConn) {
		t.Helper()
		var err error
		if nsErr := Do(name(side), func() {
			c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr), Port: 4000})
		}); nsErr != nil || err != nil {
			t.Fatal(nsErr, err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	a, b := listen("a", "10.9.0.1"), listen("b", "10.9.0.2")
	// ping returns the round-trip time of n bytes; 0 if they do not come back.
	ping := func(n int) time.Duration {
		t.Helper()
		began := time.Now()
		if _, err := a.WriteTo(make([]byte, n), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, maxFrame)
		b.SetReadDeadline(began.Add(time.Second))
		n, err := b.Read(buf)
		if err != nil {
			return 0
		}
		b.WriteTo(buf[:n], a.LocalAddr())
		a.SetReadDeadline(began.Add(2 * time.Second))
		if _, err := a.Read(buf); err != nil {
			return 0
		}
		return time.Since(began)
	}
	ping(1) // to resolve the addresses
	if took := ping(1000); took < 2*delay {
		t.Errorf("there and back in %v, with %v each way", took, delay)
	}
	w.Set(Link{MTU: 1000})
	if ping(972) == 0 || ping(973) != 0 { // 28 bytes of headers
		t.Error("packets of 1,000 bytes do not pass, or longer ones do")
	}
	w.Set(Link{Loss: 1})
	if ping(1) != 0 {
		t.Error("a dead line delivers")
	}
}
