package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Connections of which one side allows some paths only.
func TestPathRules(t *testing.T) {
	by := func(r hyperdht.PathRule) func(id.PublicKey) hyperdht.PathRule {
		return func(key id.PublicKey) hyperdht.PathRule {
			if key != keysOf(diallerKey).Public {
				return hyperdht.AnyPath
			}
			return r
		}
	}
	for _, test := range []struct {
		name              string
		dialler, answerer place
		server            hyperdht.ListenOptions
		client            hyperdht.ConnectOptions
		want              hyperdht.Path
	}{
		{
			name: "rule-relay-of-dialler", dialler: open(), answerer: open(), want: hyperdht.PathRelayed,
			client: hyperdht.ConnectOptions{Paths: hyperdht.RelayOnly, RelayThrough: throughRelay},
		},
		{
			name: "rule-relay-of-answerer", dialler: open(), answerer: open(), want: hyperdht.PathRelayed,
			server: hyperdht.ListenOptions{Paths: by(hyperdht.RelayOnly), RelayThrough: throughRelay},
		},
		{
			name: "rule-relay-of-answerer-named-by-dialler", dialler: cone(), answerer: cone(), want: hyperdht.PathRelayed,
			server: hyperdht.ListenOptions{Paths: by(hyperdht.RelayOnly)}, client: hyperdht.ConnectOptions{RelayThrough: throughRelay},
		},
		{
			name: "rule-relay-of-both", dialler: cone(), answerer: cone(), want: hyperdht.PathRelayed,
			server: hyperdht.ListenOptions{Paths: by(hyperdht.RelayOnly), RelayThrough: throughRelay},
			client: hyperdht.ConnectOptions{Paths: hyperdht.RelayOnly},
		},
		{
			name: "rule-relay-of-dialler-without-one", dialler: open(), answerer: open(),
			client: hyperdht.ConnectOptions{Paths: hyperdht.RelayOnly},
		},
		{
			name: "rule-relay-of-answerer-without-one", dialler: cone(), answerer: cone(),
			server: hyperdht.ListenOptions{Paths: by(hyperdht.RelayOnly)},
		},
		{
			name: "rule-direct-of-dialler", dialler: random(), answerer: random(),
			server: hyperdht.ListenOptions{RelayThrough: throughRelay}, client: hyperdht.ConnectOptions{Paths: hyperdht.DirectOnly},
		},
		{
			name: "rule-direct-of-answerer", dialler: random(), answerer: random(),
			server: hyperdht.ListenOptions{Paths: by(hyperdht.DirectOnly), RelayThrough: throughRelay},
			client: hyperdht.ConnectOptions{RelayThrough: throughRelay},
		},
		{
			name: "rule-direct-punches", dialler: cone(), answerer: cone(), want: hyperdht.PathPunched,
			server: hyperdht.ListenOptions{RelayThrough: throughRelay}, client: hyperdht.ConnectOptions{Paths: hyperdht.DirectOnly},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			l.relay(hyperdht.RelayConfig{})
			l.listen(test.server)
			l.begin()
			c := l.dial(test.client)
			l.run(30 * time.Second)
			l.end(test.name)
			if c.Path() != test.want || c.Closed() != (test.want == hyperdht.PathNone) {
				t.Errorf("the path is %v, closed: %v", c.Path(), c.Closed())
			}
		})
	}
}

// The path of an earlier connection is not used where a relay has to be.
func TestStoredPathsAreNotUsedInPlaceOfRelays(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{ReusableSocket: true, RelayThrough: throughRelay})
	before := l.dial(hyperdht.ConnectOptions{ReusableSocket: true})
	l.run(2 * time.Second)
	l.dialler.host.Do(before.Close)
	l.run(time.Second)
	if before.Path() != hyperdht.PathPunched || !before.Closed() {
		t.Fatalf("the first connection: path %v, closed %v", before.Path(), before.Closed())
	}
	direct := 0
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == l.dialler.host.Addr() && d.To.Addr() == l.answerer.router.Addr() {
			direct++
		}
		return true
	})
	c := l.dial(hyperdht.ConnectOptions{ReusableSocket: true, Paths: hyperdht.RelayOnly})
	l.run(2 * time.Second)
	if c.Path() != hyperdht.PathRelayed || direct > 0 {
		t.Errorf("path %v, %d datagrams to the other side", c.Path(), direct)
	}
}
