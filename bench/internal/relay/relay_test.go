package relay

import (
	"net"
	"net/netip"
	"testing"
)

func listen(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return c, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func TestProgramsKnowEachOtherByTheirSecondAddresses(t *testing.T) {
	r := New(Path{})
	defer r.Close()
	a, atA := listen(t)
	b, atB := listen(t)
	secondB, err := r.Of(atB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteToUDPAddrPort([]byte("question"), secondB); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 16)
	n, from, err := b.ReadFromUDPAddrPort(got)
	if err != nil || string(got[:n]) != "question" {
		t.Fatalf("got %q, %v", got[:n], err)
	}
	secondA, err := r.Of(atA)
	if err != nil {
		t.Fatal(err)
	}
	if from.Port() != secondA.Port() {
		t.Errorf("the question is from %v, want %v", from, secondA)
	}
	if _, err := b.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	if n, from, err = a.ReadFromUDPAddrPort(got); err != nil || string(got[:n]) != "answer" || from.Port() != secondB.Port() {
		t.Errorf("got %q from %v, %v", got[:n], from, err)
	}
}
