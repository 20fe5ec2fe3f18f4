package hyperdht_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// sameHome is a place behind the dialler's or answerer's router.
func sameHome(name string) place { return place{home: name} }

// Each way in which a dial finds a path, or none, without interference.
func TestPaths(t *testing.T) {
	for _, test := range []struct {
		name              string
		dialler, answerer place
		server            hyperdht.ListenOptions
		client            hyperdht.ConnectOptions
		apart             bool // nothing gets through between the two
		lucky             bool
		lasts             time.Duration
	}{
		{name: "direct", dialler: public(), answerer: open()},
		{name: "direct-dialler-is-open", dialler: open(), answerer: cone(), lasts: 20 * time.Second},
		{name: "direct-both-open", dialler: open(), answerer: open()},
		{name: "direct-nothing-arrives", dialler: cone(), answerer: open(), apart: true, lasts: 40 * time.Second},
		{name: "direct-dialler-is-open-nothing-arrives", dialler: open(), answerer: cone(), apart: true, lasts: 40 * time.Second},
		{name: "lan", dialler: sameHome("answerer"), answerer: cone(), lasts: 20 * time.Second},
		{name: "lan-hidden", dialler: sameHome("answerer"), answerer: cone(), server: hyperdht.ListenOptions{HideLocalAddrs: true}, lasts: 20 * time.Second},
		{name: "lan-not-wanted", dialler: sameHome("answerer"), answerer: cone(), client: hyperdht.ConnectOptions{NoLocal: true}, lasts: 20 * time.Second},
		{name: "lan-blocked", dialler: sameHome("answerer"), answerer: cone(), apart: true, lasts: 20 * time.Second},
		{name: "punch-consistent", dialler: cone(), answerer: cone(), lasts: 20 * time.Second},
		{name: "punch-consistent-slow-open", dialler: cone(), answerer: cone(), client: hyperdht.ConnectOptions{SlowOpen: true}},
		{name: "punch-consistent-lost", dialler: cone(), answerer: cone(), apart: true, lasts: 40 * time.Second},
		{name: "punch-dialler-random", dialler: random(), answerer: cone(), lucky: true, lasts: 60 * time.Second},
		{name: "punch-dialler-random-lost", dialler: random(), answerer: cone(), apart: true, lasts: 60 * time.Second},
		{name: "punch-answerer-random", dialler: cone(), answerer: random(), lucky: true, lasts: 60 * time.Second},
		{name: "punch-answerer-random-lost", dialler: cone(), answerer: random(), apart: true, lasts: 60 * time.Second},
		{name: "punch-random-both", dialler: random(), answerer: random(), lasts: 30 * time.Second},
		{name: "punch-server-never-does", dialler: cone(), answerer: cone(), server: hyperdht.ListenOptions{NeverPunch: true}, lasts: 30 * time.Second},
		{name: "firewall-rejects", dialler: cone(), answerer: cone(), lasts: 30 * time.Second, server: hyperdht.ListenOptions{
			Admit: func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool { return false },
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			l.listen(test.server)
			if test.apart {
				l.apart()
			}
			l.begin()
			l.log.lucky = test.lucky
			l.log.guessed = test.apart && strings.Contains(test.name, "random")
			l.dial(test.client)
			l.run(max(test.lasts, 5*time.Second))
			l.end(test.name)
		})
	}
}

// The search for a key that leads nowhere.
func TestSearches(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(l *lab)
		client hyperdht.ConnectOptions
		lasts  time.Duration
	}{
		{name: "search-unknown-key", before: func(*lab) {}},
		{name: "search-no-node-answers", lasts: time.Minute, before: func(l *lab) {
			for _, n := range l.dht {
				l.off(n)
			}
		}},
		{name: "search-hint-leads-nowhere", before: func(*lab) {}, lasts: 20 * time.Second, client: hyperdht.ConnectOptions{
			RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.1.2:49737"), netip.MustParseAddrPort("100.128.1.3:49737")},
		}},
		{name: "search-hint-is-dead", lasts: 20 * time.Second, before: func(l *lab) { l.listen(hyperdht.ListenOptions{}) }, client: hyperdht.ConnectOptions{
			RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.9.9:49737")},
		}},
		{name: "search-node-is-the-server", lasts: 5 * time.Second, before: func(l *lab) { l.listen(hyperdht.ListenOptions{}) }, client: hyperdht.ConnectOptions{
			RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.2.1:49737")},
		}},
		{name: "search-server-has-gone", lasts: 30 * time.Second, before: func(l *lab) {
			l.listen(hyperdht.ListenOptions{})
			l.off(l.answerer)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), open())
			test.before(l)
			l.begin()
			l.dial(test.client)
			l.run(max(test.lasts, 5*time.Second))
			l.end(test.name)
		})
	}
}
