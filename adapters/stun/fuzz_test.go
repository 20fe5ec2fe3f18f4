package stun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// FuzzReceive sends arbitrary datagrams to a client with a pending request and a responder: from the queried server, with
// the transaction's id where there is room for it.
func FuzzReceive(f *testing.F) {
	addr := netip.MustParseAddrPort("192.0.2.1:1234")
	f.Add(newRequest(transactionID{}))
	f.Add(newAnswer(transactionID{}, addr, addr, addr))
	f.Add(newRefusal(&message{unknown: []stun.AttrType{3}}))
	for _, a := range []stun.AttrType{stun.AttrXORMappedAddress, stun.AttrMappedAddress, stun.AttrOtherAddress, stun.AttrResponseOrigin, stun.AttrErrorCode, stun.AttrFingerprint, 3} {
		for n := range 10 {
			f.Add(stun.MustBuild(stun.BindingSuccess, stun.RawAttribute{Type: a, Value: make([]byte, n)}).Raw)
		}
	}
	server := netip.MustParseAddrPort("198.51.100.1:3478")
	f.Fuzz(func(t *testing.T, b []byte) {
		cost.Repeat(t, func() {
			net := simnet.New(simnet.Config{Seed: 1})
			h := net.AddHost("us", us)
			r := NewResponder(h, ResponderConfig{})
			c, err := New(h, Config{Servers: []string{server.String()}, Responder: r})
			if err != nil {
				t.Fatal(err)
			}
			sock, err := h.OpenSocket(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			c.Bind(sock, sock)
			done := 0
			h.Do(func() {
				c.Probe(sock, func(seen, from netip.AddrPort) {
					if !isUsable(seen) || from != server {
						t.Errorf("seen at %v by %v", seen, from)
					}
				}, func() { done++ })
			})
			for k := range c.transactions {
				if len(b) >= headerSize {
					copy(b[8:headerSize], k.id[:])
				}
			}
			var consumed bool
			h.Do(func() {
				work := cost.Start(t, cost.Bound{StepsPerByte: 16, Steps: 1000, BytesPerByte: 32, Bytes: 32 << 10})
				defer work.Stop()
				work.Allow(len(b))
				consumed = c.Receive(sock, server, b)
			})
			if consumed != isSTUN(b) {
				t.Errorf("consumed %v", consumed)
			}
			net.Run(10 * time.Second)
			if done != 1 || len(c.transactions) != 0 {
				t.Errorf("done %d times, %d transactions left", done, len(c.transactions))
			}
		})
	})
}

func TestEveryPrefixOfAnAnswerIsRefused(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:1234")
	full := newAnswer(transactionID{1, 2, 3}, addr, addr, addr)
	if m, err := parse(full); err != nil || m.mapped != addr || m.other != addr || m.origin != addr {
		t.Fatalf("%+v, %v", m, err)
	}
	for n := range full {
		if _, err := parse(full[:n:n]); err == nil {
			t.Errorf("%d of %d bytes are read", n, len(full))
		}
	}
}
