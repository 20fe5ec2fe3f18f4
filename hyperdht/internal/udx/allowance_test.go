package udx

import (
	"net/netip"
	"testing"
	"time"
)

func TestUnansweringAddressGetsThreeTimesItsBytes(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	var a Allowance
	a.Receive(50)
	w.a.Limit(&a)
	sent := 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a {
			sent += p.Size()
		}
		return false
	}
	w.a.SetKeepalive(0, 5*time.Second)
	w.a.Write(make([]byte, 60))
	w.a.Flush(0)
	w.a.SendMessage(make([]byte, 200))
	w.run(time.Minute)
	if sent == 0 || sent > 150 || !w.a.closed {
		t.Errorf("sent %d bytes for 50, closed %v", sent, w.a.closed)
	}
	w.a.Destroy()
	if sent > 150 {
		t.Errorf("sent %d bytes for 50 in the end", sent)
	}
}

// Each byte from there brings three; an acknowledgement from there, of something sent there, brings all.
func TestAddressIsValidatedByItsAcknowledgement(t *testing.T) {
	w := pair(t, link{delay: ms, filter: func(*end, Packet) bool { return false }}, 1)
	var a Allowance
	a.Receive(100)
	w.a.Limit(&a)
	w.a.Write(make([]byte, 40))
	w.a.Flush(0)
	w.a.Write(make([]byte, 10_000))
	w.a.Flush(0)
	if w.a.out.sent != 1 {
		t.Fatalf("%d packets for 100 bytes", w.a.out.sent)
	}
	receive := func(from netip.AddrPort, p Packet) {
		w.now++
		p.StreamID, p.Window = idA, 1<<20
		w.a.ReceiveFrom(w.now, from, p.Append(nil))
		w.a.Flush(w.now)
	}
	receive(addrA, Packet{Header: Header{Ack: 1}})
	if !a.Limited() || w.a.out.sent != 1 {
		t.Fatal("validated from elsewhere")
	}
	receive(addrB, Packet{Header: Header{Ack: 1, Flags: FlagMessage}, Payload: make([]byte, 400)})
	if !a.Limited() || w.a.out.sent != 2 {
		t.Fatalf("%d packets for 520 bytes, limited %v", w.a.out.sent, a.Limited())
	}
	receive(addrB, Packet{Header: Header{Ack: 2}})
	if a.Limited() || w.a.out.sent < 4 {
		t.Errorf("%d packets after an acknowledgement, limited %v", w.a.out.sent, a.Limited())
	}
}

// An acknowledgement says nothing of an address to which nothing has been sent.
func TestNewRemoteIsNotValidatedByAcksOfTheOldOne(t *testing.T) {
	w := pair(t, link{delay: ms, filter: func(*end, Packet) bool { return false }}, 1)
	w.a.Write(make([]byte, 500))
	w.a.Flush(0)
	if _, err := w.a.ChangeRemote(0, Remote{idB, addrA}); err != nil {
		t.Fatal(err)
	}
	var a Allowance
	a.Receive(10)
	w.a.Limit(&a)
	w.a.ReceiveFrom(1, addrA, Header{StreamID: idA, Window: 1 << 20, Ack: 1}.Append(nil))
	if !a.Limited() {
		t.Error("validated by an acknowledgement of what was sent elsewhere")
	}
}
