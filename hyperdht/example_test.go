package hyperdht_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// startNode makes a node on the loopback interface and waits until it has entered its network. On the public network the zero Config
// will do.
func startNode(h *udp.Host, bootstrap []string, mode hyperdht.Mode) (node *hyperdht.Node) {
	ready := make(chan struct{})
	h.Do(func() {
		var err error
		node, err = hyperdht.New(h, hyperdht.Config{
			Bootstrap: bootstrap, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Mode: mode, Reachable: mode == hyperdht.Persistent,
			OnReady: func() { close(ready) },
		})
		if err != nil {
			panic(err)
		}
	})
	<-ready
	return node
}

// exampleNode is a node in a private DHT of four others.
func exampleNode(h *udp.Host) *hyperdht.Node {
	bootstrap := []string{}
	for range 4 {
		n := startNode(h, bootstrap, hyperdht.Persistent)
		if len(bootstrap) == 0 {
			h.Do(func() { bootstrap = []string{n.Status().Local.String()} })
		}
	}
	return startNode(h, bootstrap, hyperdht.Adaptive)
}

// A server and a caller, written for the loop: nothing waits, handlers say what happens. Package dhtnet has the same for
// goroutines.
func Example() {
	h := udp.New(udp.Options{})
	defer h.Close()
	node, keys, over := exampleNode(h), id.KeyPairFromSeed(id.Seed{1}), make(chan struct{})
	call := func(error) { // once the server can be found
		c := node.Connect(keys.Public, hyperdht.ConnectOptions{})
		c.Send([]byte("caller")) // leaves when there is a path
		c.OnMessage(func(msg []byte) {
			fmt.Printf("%s\n", msg)
			c.End()
		})
		c.OnClose(func(err error) {
			fmt.Println("closed,", err)
			close(over)
		})
	}
	h.Post(func() {
		node.Listen(hyperdht.ListenOptions{Keys: keys, OnConnection: func(c *hyperdht.Connection) {
			c.OnMessage(func(msg []byte) { c.Send(append([]byte("hello, "), msg...)) })
			c.OnEnd(c.End)
		}}, call)
	})
	<-over
	// Output:
	// hello, caller
	// closed, <nil>
}

// Any node that knows a topic's name finds the keys that were announced under its hash.
func ExampleNode_Lookup() {
	h := udp.New(udp.Options{})
	defer h.Close()
	node, keys, over := exampleNode(h), id.KeyPairFromSeed(id.Seed{1}), make(chan struct{})
	topic := id.Target(id.Hash([]byte("weather stations")))
	h.Post(func() {
		node.Announce(topic, keys, hyperdht.AnnounceOptions{}, func(err error) {
			fmt.Println("announced,", err)
			found := map[id.PublicKey]bool{} // each node that has the record answers
			node.Lookup(topic, func(f hyperdht.Found) {
				for _, peer := range f.Peers {
					found[peer.PublicKey] = true
				}
			}, func(err error) {
				fmt.Println("found:", found[keys.Public], len(found), err)
				close(over)
			})
		})
	})
	<-over
	// Output:
	// announced, <nil>
	// found: true 1 <nil>
}

// Values can be stored in the DHT itself. Immutable ones are found by their hash, mutable ones by the key that signs
// them.
func ExampleNode_MutablePut() {
	h := udp.New(udp.Options{})
	defer h.Close()
	node, keys, over := exampleNode(h), id.KeyPairFromSeed(id.Seed{1}), make(chan struct{})
	h.Post(func() {
		node.MutablePut(keys, 1, []byte("first"), func(_ hyperdht.MutableValue, err error) {
			fmt.Println("stored,", err)
			node.MutableGet(keys.Public, hyperdht.MutableGetOptions{}, func(v hyperdht.MutableValue, err error) {
				fmt.Printf("%d: %s, %v\n", v.Seq, v.Value, err)
				node.MutableGet(id.PublicKey{9}, hyperdht.MutableGetOptions{}, func(_ hyperdht.MutableValue, err error) {
					fmt.Println("another key:", errors.Is(err, hyperdht.ErrNotFound))
					close(over)
				})
			})
		})
	})
	<-over
	// Output:
	// stored, <nil>
	// 1: first, <nil>
	// another key: true
}
