package dhtnet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// exampleNet is a private DHT on the loopback interface and a node in it. On the public network a node takes the zero
// hyperdht.Config and nothing else is needed.
func exampleNet() (*dhtnet.Net, func()) {
	h := udp.New(udp.Options{})
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
	node := start(hyperdht.Adaptive)
	return dhtnet.New(h, node), h.Close
}

// Whatever runs over TCP runs over HyperDHT: here an http.Server, which clients find by its key wherever it is.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dht, stop := exampleNet()
	defer stop()

	keys := id.KeyPairFromSeed(id.Seed{1}) // keep the seed, and the server keeps its address
	listener, err := dht.Listen(ctx, hyperdht.ListenOptions{Keys: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %.8s\n", listener.Addr())
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dht.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
		},
	}}
	res, err := client.Get("http://by-key/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Printf("%s%v\n", body, err)
	// Output:
	// hello from 35gbkb6h
	// <nil>
}
