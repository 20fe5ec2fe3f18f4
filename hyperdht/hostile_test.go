package hyperdht_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// TestNonsenseIsCountedAndDropped floods the sockets of a server's node, the DHT's and a live connection's among them,
// with random bytes, with real packets cut short, lengthened and altered, and with packets replayed from elsewhere. All
// of it is counted somewhere, and none of it keeps the node from its work.
func TestNonsenseIsCountedAndDropped(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 60})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	var captured [][]byte
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.To.Addr() == sh.Addr() && len(captured) < 400 {
			captured = append(captured, append([]byte(nil), d.Payload...))
		}
		return true
	})
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	echoes := 0
	var conn *hyperdht.Connection
	var closed error
	ch.Do(func() {
		conn = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		conn.OnMessage(func([]byte) { echoes++ })
		conn.OnClose(func(err error) { closed = err })
		for range 20 {
			conn.Send(make([]byte, 3000))
		}
	})
	w.until("the echoes are back", 10*time.Second, func() bool { return echoes == 20 })

	attacker := w.host("attacker")
	var sock host.Socket
	attacker.Do(func() {
		var err error
		if sock, err = attacker.OpenSocket(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
	})
	targets := []netip.AddrPort{sn.Status().Local, conn.RemoteAddr()}
	for i, a := range targets {
		targets[i] = netip.AddrPortFrom(sh.Addr(), a.Port())
	}
	before := sn.Status()
	rnd := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for range 50 {
		attacker.Do(func() {
			for range 100 {
				b := mangle(rnd, captured[rnd.IntN(len(captured))])
				sock.Send(targets[rnd.IntN(len(targets))], 0, b)
				sent++
			}
		})
		w.net.Run(20 * time.Millisecond)
	}
	w.net.Run(time.Minute)

	after := sn.Status()
	counted := after.RPC.Dropped.Unusable - before.RPC.Dropped.Unusable +
		after.RPC.Dropped.Malformed - before.RPC.Dropped.Malformed +
		after.RPC.Dropped.Unexpected - before.RPC.Dropped.Unexpected +
		after.RPC.Received.Requests - before.RPC.Received.Requests +
		after.Streams.Packets - before.Streams.Packets
	if counted < uint64(sent)*9/10 {
		t.Errorf("%d of %d packets were counted: %+v %+v", counted, sent, after.RPC.Dropped, after.Streams)
	}
	if closed != nil {
		t.Fatalf("the connection ended with %v", closed)
	}
	ch.Do(func() { conn.Send([]byte("still there?")) })
	w.until("the connection still works", 10*time.Second, func() bool { return echoes == 21 })
	if !w.canConnect(ch, cn) {
		t.Error("the server cannot be reached any more")
	}
}

// mangle makes nonsense of a packet, or leaves it as it is: then it is a replay from another address.
func mangle(rnd *rand.Rand, packet []byte) []byte {
	b := append([]byte(nil), packet...)
	// Stream ids are 32 random bits that only the two ends know. A host that knows them can end a stream, as in the
	// reference implementation, so packets of streams are altered there as well.
	if len(b) >= 20 && b[0] == 0xff {
		b[4+rnd.IntN(4)] ^= byte(1 + rnd.IntN(255))
	}
	switch rnd.IntN(5) {
	case 0: // random bytes of any length
		b = make([]byte, rnd.IntN(1500))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
	case 1: // cut short
		b = b[:rnd.IntN(len(b)+1)]
	case 2: // lengthened
		b = append(b, make([]byte, rnd.IntN(1400-min(len(b), 1300)))...)
	case 3: // a few bytes altered
		for range 1 + rnd.IntN(4) {
			if len(b) > 0 {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
		}
	}
	return b
}
