package interop_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// Records of topics and servers on DHTs whose nodes are Go nodes, written by either implementation and read by both.

// record is a record of a topic, without its signature.
type record struct {
	key    string // hex
	relays []netip.AddrPort
}

// found is the result of a lookup: the records of all nodes, and the latest bump.
type found struct {
	records []record
	bump    uint64
	from    []netip.AddrPort // nodes that had records
}

func (f *found) add(from netip.AddrPort, key string, relays []netip.AddrPort, bump uint64) {
	if !slices.ContainsFunc(f.records, func(r record) bool { return r.key == key }) {
		f.records = append(f.records, record{key, relays})
	}
	f.bump = max(f.bump, bump)
	f.from = append(f.from, from)
}

func (f *found) relays(key string) []netip.AddrPort {
	for _, r := range f.records {
		if r.key == key {
			return r.relays
		}
	}
	return nil
}

func (f *found) has(key string) bool {
	return slices.ContainsFunc(f.records, func(r record) bool { return r.key == key })
}

// announcer writes and reads records; seeds name keys.
type announcer struct {
	name        string
	announce    func(topic id.Target, seed string, opts hyperdht.AnnounceOptions)
	unannounce  func(topic id.Target, seed string) // as a part of a lookup
	lookup      func(topic id.Target) found
	serverNodes func(key string) []netip.AddrPort // those that lead to a server
}

func announcers(t *testing.T, p *jspeer.Peer, theirs *jspeer.Node, ours *goNode) []announcer {
	goLookup := func(what string, start func(tell func(hyperdht.Found), done func(error)) *hyperdht.Query) (f found) {
		t.Helper()
		(goLibrarian{t, ours}).must(what, func(done func(error)) {
			start(func(a hyperdht.Found) {
				for _, peer := range a.Peers {
					f.add(a.From, peer.PublicKey.Hex(), peer.RelayAddrs, a.Bump)
				}
			}, done)
		})
		return f
	}
	type jsPeer struct {
		PublicKey      string
		RelayAddresses []jspeer.Address
	}
	type jsFound struct {
		Found []struct {
			From  jspeer.Address
			Peer  *jsPeer
			Peers []jsPeer
			Bump  uint64
		}
	}
	jsLookup := func(command string, args jspeer.Args) (f found) {
		var got jsFound
		args["on"] = theirs.On
		p.Call(command, args, &got)
		for _, a := range got.Found {
			if a.Peer != nil {
				a.Peers = append(a.Peers, *a.Peer)
			}
			for _, peer := range a.Peers {
				var relays []netip.AddrPort
				for _, r := range peer.RelayAddresses {
					relays = append(relays, r.AddrPort())
				}
				f.add(a.From.AddrPort(), peer.PublicKey, relays, a.Bump)
			}
		}
		return f
	}
	return []announcer{{
		name: "JavaScript",
		announce: func(topic id.Target, seed string, opts hyperdht.AnnounceOptions) {
			relays := []jspeer.Address{}
			for _, a := range opts.Relays {
				relays = append(relays, jspeer.AddressOf(a))
			}
			p.Call("announce", jspeer.Args{
				"on": theirs.On, "target": hex.EncodeToString(topic[:]), "seed": jspeer.Seed(seed), "relayAddresses": relays, "bump": opts.Bump,
			}, nil)
		},
		unannounce: func(topic id.Target, seed string) {
			p.Call("lookupAndUnannounce", jspeer.Args{"on": theirs.On, "target": hex.EncodeToString(topic[:]), "seed": jspeer.Seed(seed)}, nil)
		},
		lookup: func(topic id.Target) found {
			return jsLookup("lookup", jspeer.Args{"target": hex.EncodeToString(topic[:])})
		},
		serverNodes: func(key string) []netip.AddrPort {
			return jsLookup("findPeer", jspeer.Args{"key": key}).from
		},
	}, {
		name: "Go",
		announce: func(topic id.Target, seed string, opts hyperdht.AnnounceOptions) {
			(goLibrarian{t, ours}).must("announce", func(done func(error)) { ours.Announce(topic, keys(t, seed), opts, done) })
		},
		unannounce: func(topic id.Target, seed string) {
			(goLibrarian{t, ours}).must("unannounce", func(done func(error)) { ours.Unannounce(topic, keys(t, seed), done) })
		},
		lookup: func(topic id.Target) found {
			return goLookup("lookup", func(tell func(hyperdht.Found), done func(error)) *hyperdht.Query {
				return ours.Lookup(topic, tell, done)
			})
		},
		serverNodes: func(k string) []netip.AddrPort {
			return goLookup("find peer", func(tell func(hyperdht.Found), done func(error)) *hyperdht.Query {
				return ours.FindPeer(key(t, k), tell, done)
			}).from
		},
	}}
}

func TestRecordsOfTopicsHaveRelaysAndBumps(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), bootstrapTestnet(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	both := announcers(t, p, theirs, ours)
	bumped := bumps.in(t, p)
	relays := []netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:1234"), netip.MustParseAddrPort("4.3.2.1:4321")}
	for _, writer := range both {
		topic := target("bumped by " + writer.name)
		one, two := writer.name+" one", writer.name+" two"
		want := func(what string, bump uint64) {
			t.Helper()
			for _, reader := range both {
				f, bump := reader.lookup(topic), bump
				if !bumped && (writer.name == "JavaScript" || reader.name == "JavaScript") {
					bump = 0
				}
				if len(f.records) != 2 || len(f.relays(keys(t, one).Public.Hex())) != 0 || !slices.Equal(f.relays(keys(t, two).Public.Hex()), relays) || f.bump != bump {
					t.Errorf("%s: %s wrote, %s found %+v, want bump %d", what, writer.name, reader.name, f, bump)
				}
			}
		}
		now := uint64(time.Now().UnixMilli())
		writer.announce(topic, one, hyperdht.AnnounceOptions{})
		writer.announce(topic, two, hyperdht.AnnounceOptions{Relays: relays})
		want("no bump", 0)
		for _, bump := range []struct {
			what       string
			bump, want uint64
		}{{"first", 1, 1}, {"higher", 2, 2}, {"lower", 1, 2}, {"in a day", now + 24*3600*1000, 2}, {"now", now, now}} {
			writer.announce(topic, one, hyperdht.AnnounceOptions{Bump: bump.bump})
			want(bump.what, bump.want)
		}
		writer.unannounce(topic, two)
		for _, reader := range both {
			if f := reader.lookup(topic); !f.has(keys(t, one).Public.Hex()) || f.has(keys(t, two).Public.Hex()) {
				t.Errorf("%s took a record back, %s found %+v", writer.name, reader.name, f)
			}
		}
	}

	// An announcement with nothing but a refresh token that no node has issued.
	topic := target("refreshed")
	both[1].announce(topic, "refreshed", hyperdht.AnnounceOptions{})
	var refreshed struct{ Asked int }
	p.Call("refresh", jspeer.Args{"on": theirs.On, "target": hex.EncodeToString(topic[:])}, &refreshed)
	if f := both[0].lookup(topic); refreshed.Asked == 0 || len(f.records) != 1 {
		t.Errorf("%d nodes asked to refresh nothing; found %+v", refreshed.Asked, f)
	}
}

// A server is found under its key's hash and by its key, at nodes that lead to it, as long as it is not suspended; also by those nodes themselves.
func TestServersOfEitherAreFoundByBoth(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net, storing := goTestnetNodes(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	reading := announcers(t, p, jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{}))
	var server struct {
		On             int
		PublicKey      string
		RelayAddresses []jspeer.Address
	}
	p.Call("listen", jspeer.Args{"on": theirs.On, "seed": jspeer.Seed("listens")}, &server)
	us := ours.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "listens too")})
	for name, s := range map[string]struct {
		key             string
		own             netip.AddrPort
		relays          func() []netip.AddrPort
		suspend, resume func()
	}{
		"JavaScript": {
			server.PublicKey, theirs.Address.AddrPort(), func() (all []netip.AddrPort) {
				for _, a := range server.RelayAddresses {
					all = append(all, a.AddrPort())
				}
				return all
			},
			func() { p.Call("serverSuspend", jspeer.Args{"on": server.On}, nil) },
			func() { p.Call("serverResume", jspeer.Args{"on": server.On}, nil) },
		},
		"Go": {
			us.PublicKey().Hex(), local(ours), func() (all []netip.AddrPort) {
				ours.do(func() { all = us.Relays() })
				return all
			},
			func() {
				suspended := make(chan struct{})
				ours.do(func() { ours.Suspend(func() { close(suspended) }) })
				await(t, "a node is suspended", suspended)
			},
			func() {
				ours.do(func() {
					if err := ours.Resume(); err != nil {
						t.Error(err)
					}
				})
			},
		},
	} {
		public := key(t, s.key)
		hash := id.Target(id.Hash(public[:]))
		// A node whose address is known leads to its own servers, too.
		relays := slices.DeleteFunc(s.relays(), func(a netip.AddrPort) bool { return a == s.own })
		if len(relays) == 0 {
			t.Errorf("%s server: no node leads to it", name)
		}
		for _, reader := range reading {
			if f := reader.lookup(hash); !f.has(s.key) || len(f.records) != 1 {
				t.Errorf("%s server, looked up by %s: %+v", name, reader.name, f)
			}
			at := reader.serverNodes(s.key)
			for _, relay := range relays {
				if !slices.Contains(at, relay) {
					t.Errorf("%s server: %s does not find it at %v, but at %v", name, reader.name, relay, at)
				}
			}
		}
		dialled := 0
		for _, n := range storing {
			if slices.Contains(relays, local(n)) {
				dialled++
				n.connect(public, hyperdht.ConnectOptions{}).echoed(1000)
			}
		}
		if dialled != len(relays) {
			t.Errorf("%s server: %d nodes lead to it, %d of them are known", name, len(relays), dialled)
		}

		s.suspend()
		for _, reader := range reading {
			if at := reader.serverNodes(s.key); len(at) != 0 {
				t.Errorf("%s server is suspended, %s finds it at %v", name, reader.name, at)
			}
		}
		s.resume()
		late := time.Now().Add(patience)
		for _, reader := range reading {
			for len(reader.serverNodes(s.key)) == 0 {
				if time.Now().After(late) {
					t.Fatalf("%s server is resumed, %s does not find it", name, reader.name)
				}
			}
		}
	}
}

func local(n *goNode) (addr netip.AddrPort) {
	n.do(func() { addr = n.Status().Local })
	return addr
}

// A value under a key is replaced by one with a higher sequence number only.
func TestNodesKeepTheNewestValue(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	theirNode, ourNode := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	js, ours := theirs(t, p, theirNode), goLibrarian{t, ourNode}
	const who = "keeps the newest"
	rejected := func(seq uint64, value string) {
		t.Helper()
		err := ours.wait("put", func(done func(error)) {
			ourNode.MutablePut(keys(t, who), seq, []byte(value), func(_ hyperdht.MutableValue, err error) { done(err) })
		})
		var refused *hyperdht.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("Go put %q with %d: %v", value, seq, err)
		}
		// The package does not report that its value was rejected, unless fewer nodes took it than a query needs.
		var failed *jspeer.Error
		if err := p.Try("mutablePut", jspeer.Args{
			"on": theirNode.On, "seed": jspeer.Seed(who), "seq": seq, "value": hex.EncodeToString([]byte(value)),
		}, nil); err != nil && !errors.As(err, &failed) {
			t.Error(err)
		}
	}
	holds := func(seq int, value string) {
		t.Helper()
		for _, reader := range []librarian{js, ours} {
			if s, v, _ := reader.getMutable(who); s != seq || v != value {
				t.Errorf("%T reads %q with %d, want %q with %d", reader, v, s, value, seq)
			}
		}
	}
	js.putMutable(who, 5, "five")
	rejected(5, "another five")
	rejected(4, "four")
	holds(5, "five")
	ours.putMutable(who, 5, "five") // the same again
	ours.putMutable(who, 6, "six")
	rejected(5, "five")
	holds(6, "six")
	js.putMutable(who, 7, "")
	holds(7, "")
}
