package interop_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// librarian stores records in the DHT and finds them, in either implementation. Keys are named by seeds.
type librarian interface {
	announce(topic, who string)
	unannounce(topic, who string)
	lookup(topic string) map[string]bool // keys in hex
	putMutable(who string, seq int, value string)
	getMutable(who string) (seq int, value string, found bool)
	putImmutable(value string) (hash string)
	getImmutable(hash string) (value string, found bool)
	findPeer(key string) bool
}

func TestRecordsAreSharedAcrossImplementations(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("on "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			theirNode, ourNode := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
			for _, pair := range []struct {
				name           string
				writer, reader func(t *testing.T) librarian
			}{
				{"JavaScript writes", func(t *testing.T) librarian { return theirs(t, p, theirNode) }, func(t *testing.T) librarian { return goLibrarian{t, ourNode} }},
				{"Go writes", func(t *testing.T) librarian { return goLibrarian{t, ourNode} }, func(t *testing.T) librarian { return theirs(t, p, theirNode) }},
				{"JavaScript alone", func(t *testing.T) librarian { return theirs(t, p, theirNode) }, func(t *testing.T) librarian { return theirs(t, p, theirNode) }},
			} {
				t.Run(pair.name, func(t *testing.T) {
					writer, reader := pair.writer(t), pair.reader(t)
					prefix := network.name + pair.name
					t.Run("announcements", func(t *testing.T) {
						topic, one, two := prefix+"topic", prefix+"one", prefix+"two"
						writer.announce(topic, one)
						writer.announce(topic, two)
						found := reader.lookup(topic)
						if !found[keys(t, one).Public.Hex()] || !found[keys(t, two).Public.Hex()] || len(found) != 2 {
							t.Errorf("found %v", found)
						}
						writer.unannounce(topic, one)
						found = reader.lookup(topic)
						if found[keys(t, one).Public.Hex()] || !found[keys(t, two).Public.Hex()] {
							t.Errorf("after one was taken back: found %v", found)
						}
						if reader.findPeer(keys(t, two).Public.Hex()) {
							t.Error("an announcement on a topic made a server")
						}
					})
					t.Run("mutable values", func(t *testing.T) {
						who := prefix + "who"
						if _, _, found := reader.getMutable(who); found {
							t.Error("found before it was put")
						}
						writer.putMutable(who, 1, "first")
						if seq, value, _ := reader.getMutable(who); seq != 1 || value != "first" {
							t.Errorf("got %d, %q", seq, value)
						}
						writer.putMutable(who, 300, "second")
						if seq, value, _ := reader.getMutable(who); seq != 300 || value != "second" {
							t.Errorf("got %d, %q", seq, value)
						}
					})
					t.Run("immutable values", func(t *testing.T) {
						value := prefix + "for ever"
						hash := writer.putImmutable(value)
						if got, _ := reader.getImmutable(hash); got != value {
							t.Errorf("got %q", got)
						}
						if _, found := reader.getImmutable(jspeer.Seed(prefix + "never put")); found {
							t.Error("found what was never put")
						}
					})
				})
			}
			t.Run("servers", func(t *testing.T) {
				var server struct{ PublicKey string }
				p.Call("listen", jspeer.Args{"on": theirNode.On}, &server)
				if !(goLibrarian{t, ourNode}).findPeer(server.PublicKey) {
					t.Error("Go does not find a JavaScript server")
				}
				us := ourNode.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "us")})
				if !theirs(t, p, theirNode).findPeer(us.PublicKey().Hex()) {
					t.Error("JavaScript does not find a Go server")
				}
				closed := make(chan struct{})
				ourNode.do(func() { us.Close(func() { close(closed) }) })
				await(t, "our server is unannounced", closed)
				if theirs(t, p, theirNode).findPeer(us.PublicKey().Hex()) {
					t.Error("a closed Go server is still found")
				}
			})
		})
	}
}

type goLibrarian struct {
	t testing.TB
	n *goNode
}

// wait starts an operation on the loop and waits for its end.
func (l goLibrarian) wait(what string, start func(done func(error))) error {
	l.t.Helper()
	ended := make(chan error, 1)
	l.n.do(func() { start(func(err error) { ended <- err }) })
	return await(l.t, what, ended)
}

func (l goLibrarian) must(what string, start func(done func(error))) {
	l.t.Helper()
	if err := l.wait(what, start); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

func topicOf(t testing.TB, name string) id.Target { return id.Target(keys(t, name).Public) }

func (l goLibrarian) announce(topic, who string) {
	l.must("announce", func(done func(error)) {
		l.n.Announce(topicOf(l.t, topic), keys(l.t, who), hyperdht.AnnounceOptions{}, done)
	})
}

func (l goLibrarian) unannounce(topic, who string) {
	l.must("unannounce", func(done func(error)) { l.n.Unannounce(topicOf(l.t, topic), keys(l.t, who), done) })
}

func (l goLibrarian) lookup(topic string) map[string]bool {
	found := map[string]bool{}
	l.must("lookup", func(done func(error)) {
		l.n.Lookup(topicOf(l.t, topic), func(f hyperdht.Found) {
			for _, peer := range f.Peers {
				found[peer.PublicKey.Hex()] = true
			}
		}, done)
	})
	return found
}

func (l goLibrarian) findPeer(k string) bool {
	found := false
	l.must("find peer", func(done func(error)) {
		l.n.FindPeer(key(l.t, k), func(f hyperdht.Found) { found = found || f.Peers[0].PublicKey == key(l.t, k) }, done)
	})
	return found
}

func (l goLibrarian) putMutable(who string, seq int, value string) {
	l.must("put", func(done func(error)) {
		l.n.MutablePut(keys(l.t, who), uint64(seq), []byte(value), func(_ hyperdht.MutableValue, err error) { done(err) })
	})
}

func (l goLibrarian) getMutable(who string) (seq int, value string, found bool) {
	err := l.wait("get", func(done func(error)) {
		l.n.MutableGet(keys(l.t, who).Public, hyperdht.MutableGetOptions{}, func(v hyperdht.MutableValue, err error) {
			seq, value = int(v.Seq), string(v.Value)
			done(err)
		})
	})
	return seq, value, l.found(err)
}

func (l goLibrarian) found(err error) bool {
	if err != nil && !errors.Is(err, hyperdht.ErrNotFound) {
		l.t.Errorf("get: %v", err)
	}
	return err == nil
}

func (l goLibrarian) putImmutable(value string) string {
	var hash id.Target
	l.must("put", func(done func(error)) {
		l.n.ImmutablePut([]byte(value), func(h id.Target, err error) {
			hash = h
			done(err)
		})
	})
	return hex.EncodeToString(hash[:])
}

func (l goLibrarian) getImmutable(hash string) (value string, found bool) {
	target, err := id.ParseKey32(hash)
	if err != nil {
		l.t.Fatal(err)
	}
	err = l.wait("get", func(done func(error)) {
		l.n.ImmutableGet(id.Target(target), func(v []byte, err error) {
			value = string(v)
			done(err)
		})
	})
	return value, l.found(err)
}

type jsLibrarian struct {
	t testing.TB
	n *jspeer.Node
}

func theirs(t testing.TB, p *jspeer.Peer, n *jspeer.Node) librarian {
	node := *n
	node.Peer = p.For(t)
	return jsLibrarian{t, &node}
}

func (l jsLibrarian) call(command string, args jspeer.Args, result any) {
	l.t.Helper()
	args["on"] = l.n.On
	l.n.Call(command, args, result)
}

func (l jsLibrarian) announce(topic, who string) {
	target := topicOf(l.t, topic)
	l.call("announce", jspeer.Args{"target": hex.EncodeToString(target[:]), "seed": jspeer.Seed(who)}, nil)
}

func (l jsLibrarian) unannounce(topic, who string) {
	target := topicOf(l.t, topic)
	l.call("unannounce", jspeer.Args{"target": hex.EncodeToString(target[:]), "seed": jspeer.Seed(who)}, nil)
}

func (l jsLibrarian) lookup(topic string) map[string]bool {
	target := topicOf(l.t, topic)
	var answer struct {
		Found []struct{ Peers []struct{ PublicKey string } }
	}
	l.call("lookup", jspeer.Args{"target": hex.EncodeToString(target[:])}, &answer)
	found := map[string]bool{}
	for _, f := range answer.Found {
		for _, peer := range f.Peers {
			found[peer.PublicKey] = true
		}
	}
	return found
}

func (l jsLibrarian) findPeer(k string) bool {
	var answer struct {
		Found []struct{ Peer struct{ PublicKey string } }
	}
	l.call("findPeer", jspeer.Args{"key": k}, &answer)
	return len(answer.Found) > 0 && answer.Found[0].Peer.PublicKey == k
}

func (l jsLibrarian) putMutable(who string, seq int, value string) {
	l.call("mutablePut", jspeer.Args{"seed": jspeer.Seed(who), "seq": seq, "value": hex.EncodeToString([]byte(value))}, nil)
}

func (l jsLibrarian) getMutable(who string) (seq int, value string, found bool) {
	var answer struct {
		Found bool
		Seq   int
		Value string
	}
	l.call("mutableGet", jspeer.Args{"key": keys(l.t, who).Public.Hex()}, &answer)
	return answer.Seq, unhex(l.t, answer.Value), answer.Found
}

func (l jsLibrarian) putImmutable(value string) string {
	var answer struct{ Hash string }
	l.call("immutablePut", jspeer.Args{"value": hex.EncodeToString([]byte(value))}, &answer)
	return answer.Hash
}

func (l jsLibrarian) getImmutable(hash string) (value string, found bool) {
	var answer struct {
		Found bool
		Value string
	}
	l.call("immutableGet", jspeer.Args{"hash": hash}, &answer)
	return unhex(l.t, answer.Value), answer.Found
}

func unhex(t testing.TB, text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
