package hyperdht_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// exampleNode is a node in a private DHT on the loopback interface. On the public network the zero Config will do.
func exampleNode(h *udp.Host) (node *hyperdht.Node) {
	bootstrap := []string{}
	start := func(mode hyperdht.Mode) (node *hyperdht.Node) {
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
			if len(bootstrap) == 0 {
				bootstrap = []string{node.Status().Local.String()}
			}
		})
		<-ready
		return node
	}
	for range 4 {
		start(hyperdht.Persistent)
	}
	return start(hyperdht.Adaptive)
}

// A server and a caller, written for the loop: nothing waits, handlers say what happens. Package dhtnet has the same for
// goroutines.
func Example() {
	h := udp.New(udp.Options{})
	defer h.Close()
	node := exampleNode(h)
	keys := id.KeyPairFromSeed(id.Seed{1})
	over := make(chan struct{})
	call := func() {
		c := node.Connect(keys.Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello")) // leaves when there is a path
		c.OnMessage(func(msg []byte) {
			fmt.Printf("caller: %s\n", msg)
			c.End()
		})
		c.OnClose(func(err error) {
			fmt.Println("caller: closed,", err)
			close(over)
		})
	}
	h.Post(func() {
		_, err := node.Listen(hyperdht.ListenOptions{
			Keys: keys,
			OnConnection: func(c *hyperdht.Connection) {
				c.OnMessage(func(msg []byte) {
					fmt.Printf("server: %s\n", msg)
					c.Send([]byte("hello yourself"))
				})
				c.OnEnd(c.End)
			},
		}, func(err error) {
			fmt.Println("listening,", err)
			call()
		})
		if err != nil {
			fmt.Println(err)
		}
	})
	<-over
	// Output:
	// listening, <nil>
	// server: hello
	// caller: hello yourself
	// caller: closed, <nil>
}

// Values can be stored in the DHT itself. Immutable ones are found by their hash, mutable ones by the key that signs
// them.
func ExampleNode_MutablePut() {
	h := udp.New(udp.Options{})
	defer h.Close()
	node := exampleNode(h)
	keys := id.KeyPairFromSeed(id.Seed{1})
	over := make(chan struct{})
	h.Post(func() {
		node.MutablePut(keys, 1, []byte("first"), func(_ hyperdht.MutableValue, err error) {
			fmt.Println("stored,", err)
			node.MutableGet(keys.Public, 0, func(v hyperdht.MutableValue, err error) {
				fmt.Printf("%d: %s, %v\n", v.Seq, v.Value, err)
				node.MutableGet(id.PublicKey{9}, 0, func(_ hyperdht.MutableValue, err error) {
					fmt.Println("nobody's:", errors.Is(err, hyperdht.ErrNotFound))
					close(over)
				})
			})
		})
	})
	<-over
	// Output:
	// stored, <nil>
	// 1: first, <nil>
	// nobody's: true
}
