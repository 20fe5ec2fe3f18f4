package dhtprom_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// One node for everything: a service that scrapes others and is scraped itself, in a private DHT.
func ExampleNode() {
	ctx := context.Background()
	dht, err := node.NewDHT(node.DHTConfig{})
	check(err)
	defer dht.Close()
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
	check(err)
	defer n.Close() // closes everything below, too

	s, err := scraper.Start(ctx, n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
	})
	check(err)
	invite, err := s.Invite(dht.Bootstrap()...)
	check(err)
	answers := func(context.Context) (string, error) { return "answers 42\n", nil }
	c, err := client.Start(ctx, n, client.Config{Invite: invite, Alias: "itself", Func: answers})
	check(err)
	check(c.Registered(ctx))
	page, err := s.Scrape(ctx, "itself")
	fmt.Printf("%s%v\n", page, err)
	// Output:
	// answers 42
	// <nil>
}

// localNode is a node in a private DHT on the loopback interface. Without Bootstrap, a node is one of the public network.
func localNode() (n *dhtprom.Node, stop func()) {
	n, _, stop = localNodes()
	return n, stop
}

// localNodes are two nodes in a private DHT.
func localNodes() (first, second *dhtprom.Node, stop func()) {
	dht, err := node.NewDHT(node.DHTConfig{})
	check(err)
	cfg := dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()}
	first, err = dhtprom.NewNode(cfg)
	check(err)
	second, err = dhtprom.NewNode(cfg)
	check(err)
	return first, second, func() {
		first.Close()
		second.Close()
		dht.Close()
	}
}

// An HTTP server that is found by its key, through NATs, and a client of it. Everything that runs over TCP runs so.
func ExampleNode_Streams() {
	n, stop := localNode()
	defer stop()
	ctx, streams := context.Background(), n.Streams()
	keys := id.KeyPairFromSeed(id.Seed{1}) // the same seed gives the same address
	listener, err := streams.Listen(ctx, hyperdht.ListenOptions{Keys: keys})
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello")
	}))

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return streams.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
	}}}
	res, err := client.Get("http://by-key/")
	check(err)
	body, err := io.ReadAll(res.Body)
	fmt.Println(string(body), err)
	// Output: hello <nil>
}

// A topic is the hash of a name: servers announce their keys under it, and clients look them up.
func ExampleNode_Streams_topic() {
	n, stop := localNode()
	defer stop()
	ctx, keys := context.Background(), id.KeyPairFromSeed(id.Seed{1})
	topic := id.Target(id.Hash([]byte("weather stations")))
	check(n.Streams().Announce(ctx, topic, keys, hyperdht.AnnounceOptions{})) // again every ten minutes

	peers, err := n.Streams().Lookup(ctx, topic)
	check(err)
	for _, p := range peers { // Dial connects to one
		fmt.Println(p.PublicKey == keys.Public)
	}
	// Output: true
}

// A mutable record is stored under a key, whose owner alone can change it.
func ExampleNode_Streams_record() {
	n, stop := localNode()
	defer stop()
	ctx, keys := context.Background(), id.KeyPairFromSeed(id.Seed{1})
	_, err := n.Streams().MutablePut(ctx, keys, 1, []byte("version 1.2")) // the next one has the number 2
	check(err)

	v, err := n.Streams().MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{})
	fmt.Println(v.Seq, string(v.Value), err)
	// Output: 1 version 1.2 <nil>
}

// Peers that know a name find each other, and are connected, wherever they are.
func ExampleNode_Streams_swarm() {
	first, second, stop := localNodes()
	defer stop()
	ctx, topic := context.Background(), id.Target(id.Hash([]byte("weather stations")))
	join := func(n *dhtprom.Node) *dhtnet.Swarm {
		s, err := n.Streams().Swarm(ctx, swarm.Config{})
		check(err)
		_, err = s.Join(ctx, topic, swarm.JoinOptions{})
		check(err)
		check(s.Flush(ctx)) // announced, and connected to all peers that are there
		return s
	}
	here, there := join(first), join(second)
	c, err := here.Accept(ctx) // c is a net.Conn
	check(err)
	fmt.Fprint(c, "cloudy")
	check(c.Close())
	d, err := there.Accept(ctx)
	check(err)
	text, err := io.ReadAll(d)
	fmt.Println(string(text), err, d.Peer.PublicKey == here.PublicKey())
	// Output: cloudy <nil> true
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
