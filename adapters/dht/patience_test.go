package dht

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// mute is a connection whose other side acknowledges everything and says nothing.
type mute struct {
	onOpen  func()
	onClose func(error)
	ended   bool
}

func (c *mute) Send([]byte) bool              { return true }
func (c *mute) End()                          {}
func (c *mute) Close()                        { c.Destroy(nil) }
func (c *mute) Pause()                        {}
func (c *mute) Resume()                       {}
func (c *mute) OnStart(func())                {}
func (c *mute) OnOpen(f func())               { c.onOpen = f }
func (c *mute) OnMessage(func([]byte))        {}
func (c *mute) OnDrain(func())                {}
func (c *mute) OnEnd(func())                  {}
func (c *mute) OnClose(f func(error))         { c.onClose = f }
func (c *mute) HandshakeHash() [64]byte       { return [64]byte{1} }
func (c *mute) RemotePublicKey() id.PublicKey { return id.PublicKey{} }
func (c *mute) RemoteAddr() netip.AddrPort    { return netip.AddrPort{} }
func (c *mute) Path() hyperdht.Path           { return hyperdht.PathDirect }
func (c *mute) Destroy(err error) {
	if !c.ended {
		c.ended = true
		c.onClose(err)
	}
}

func TestConnectionsThatProveNothingAreFewAndEndSoon(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	h := net.AddHost("scraper", netip.MustParseAddr("192.0.2.1"))
	s := &listener{transport: &Transport{host: h}}
	var all []*mute
	come := func() (awaited bool) {
		c := &mute{}
		h.Do(func() {
			l := newLink(h, c)
			s.links = append(s.links, l)
			awaited = s.await(l)
		})
		all = append(all, c)
		return awaited
	}
	for range maxUnopened {
		if !come() {
			t.Fatalf("there is no room after %d", len(all)-1)
		}
	}
	if come() {
		t.Errorf("there is room for one more than %d", maxUnopened)
	}
	h.Do(all[0].onOpen)
	if !come() {
		t.Error("one has opened, and there is no room for another")
	}
	net.Run(openPatience + time.Second)
	for i, c := range all[:maxUnopened] {
		if c.ended != (i > 0) {
			t.Fatalf("connection %d: ended %v", i, c.ended)
		}
	}
	if s.awaited() != 0 || h.Timers() != 0 {
		t.Errorf("%d are awaited, %d timers armed", s.awaited(), h.Timers())
	}
}
