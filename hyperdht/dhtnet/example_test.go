package dhtnet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// localDHT is a DHT of four nodes on the loopback interface, so that the examples need no internet, and the configuration of a node
// that enters it.
func localDHT() (member hyperdht.Config, stop func()) {
	h := udp.New(udp.Options{})
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	member = hyperdht.Config{Listen: loopback, Bootstrap: []string{}}
	for range 4 {
		n, err := dhtnet.Start(context.Background(), h, hyperdht.Config{
			Bootstrap: member.Bootstrap, Listen: loopback, Mode: hyperdht.Persistent, Reachable: true,
		})
		if err != nil {
			log.Fatal(err)
		}
		if len(member.Bootstrap) == 0 {
			_ = n.Do(context.Background(), func(n *hyperdht.Node) { member.Bootstrap = []string{n.Status().Local.String()} })
		}
	}
	return member, h.Close
}

// An HTTP server that is found by its key, wherever it is, and a client of it. All that runs over TCP runs so.
func Example_httpServer() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)
	keys := id.KeyPairFromSeed(id.Seed{1}) // the same seed gives the same address
	listener, err := dht.Listen(ctx, hyperdht.ListenOptions{Keys: keys})
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %.8s", listener.Addr())
	}))

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dht.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
	}}}
	res, err := client.Get("http://by-key/")
	check(err)
	body, err := io.ReadAll(res.Body)
	fmt.Println(string(body), err)
	// Output: hello from 35gbkb6h <nil>
}

// Servers are announced under a topic, which is the hash of a name, and found by those who know the name.
func ExampleNet_Lookup() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)

	topic := id.Target(id.Hash([]byte("weather stations")))
	for i := range byte(3) {
		keys := id.KeyPairFromSeed(id.Seed{i}) // of servers that listen, here or elsewhere
		check(dht.Announce(ctx, topic, keys, hyperdht.AnnounceOptions{}))
	}
	check(dht.Unannounce(ctx, topic, id.KeyPairFromSeed(id.Seed{2})))

	peers, err := dht.Lookup(ctx, topic)
	check(err)
	for _, p := range peers { // dht.Dial(ctx, p.PublicKey, ...) connects to one
		fmt.Printf("%.8s\n", p.PublicKey)
	}
	// Unordered output:
	// 8pinxxgq
	// 35gbkb6h
}

// A program that exits after its last words waits until the peer has them.
func ExampleConn_Flush() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)
	keys := id.KeyPairFromSeed(id.Seed{1})
	listener, err := dht.Listen(ctx, hyperdht.ListenOptions{Keys: keys})
	check(err)

	c, err := dht.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
	check(err)
	_, err = c.Write([]byte("that is all")) // returns before anything is sent
	check(err)
	check(c.Flush(ctx))
	check(c.Close())

	accepted, err := listener.Accept()
	check(err)
	got, err := io.ReadAll(accepted)
	fmt.Println(string(got), err)
	// Output: that is all <nil>
}

// A record under a key, which only the owner of the key can change.
func ExampleNet_MutablePut() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)

	keys := id.KeyPairFromSeed(id.Seed{1})
	for seq, value := range []string{"first", "second"} {
		_, err := dht.MutablePut(ctx, keys, uint64(seq), []byte(value))
		check(err)
	}
	_, err = dht.MutablePut(ctx, keys, 0, []byte("third"))
	fmt.Println("an old sequence number:", err)

	v, err := dht.MutableGet(ctx, keys.Public, hyperdht.MutableGetOptions{})
	check(err)
	fmt.Printf("%d %s\n", v.Seq, v.Value)
	// Output:
	// an old sequence number: dhtnet: put mutable value: hyperdht: refused: the sequence number is lower than the stored one
	// 1 second
}

// Peers that know a name find each other, and are connected, wherever they are.
func ExampleSwarm() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	topic := id.Target(id.Hash([]byte("weather stations")))
	start := func() *dhtnet.Swarm { // here or elsewhere
		dht, err := dhtnet.Start(ctx, h, cfg)
		check(err)
		s, err := dht.Swarm(ctx, swarm.Config{})
		check(err)
		_, err = s.Join(ctx, topic, swarm.JoinOptions{})
		check(err)
		check(s.Flush(ctx)) // announced, and connected to all peers that are there
		return s
	}
	first, second := start(), start()
	c, err := first.Accept(ctx)
	check(err)
	fmt.Fprint(c, "cloudy") // c is a net.Conn
	check(c.Close())
	d, err := second.Accept(ctx)
	check(err)
	text, err := io.ReadAll(d)
	fmt.Println(string(text), err, d.Peer.PublicKey == first.PublicKey())
	// Output: cloudy <nil> true
}

// Two programs that dial each other share one connection: the Dial of each, and what its listener accepts, is the same Conn.
func ExamplePool() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)

	one, two := id.KeyPairFromSeed(id.Seed{1}), id.KeyPairFromSeed(id.Seed{2})
	pools := []*dhtnet.Pool{dht.NewPool(), dht.NewPool()} // of two programs
	_, err = pools[0].Listen(ctx, hyperdht.ListenOptions{Keys: one})
	check(err)
	l, err := pools[1].Listen(ctx, hyperdht.ListenOptions{Keys: two})
	check(err)

	c, err := pools[0].Dial(ctx, two.Public, hyperdht.ConnectOptions{Keys: &one})
	check(err)
	accepted, err := l.Accept()
	check(err)
	back, err := pools[1].Dial(ctx, one.Public, hyperdht.ConnectOptions{Keys: &two})
	fmt.Println(back == accepted, back.HandshakeHash() == c.HandshakeHash(), err)
	// Output: true true <nil>
}

// Messages beside the stream of a connection, for what is out of date by the time it would be repeated.
func ExampleConn_SendUnordered() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)
	l, err := dht.Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{1})})
	check(err)
	c, err := dht.Dial(ctx, l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	check(err)
	accepted, err := l.Accept()
	check(err)

	check(c.SendUnordered([]byte("position 7"))) // on other paths than this one, it may be lost
	msg, err := accepted.(*dhtnet.Conn).ReceiveUnordered(ctx)
	fmt.Println(string(msg), err)
	// Output: position 7 <nil>
}

// A node that starts from the nodes of its last run needs no bootstrap node.
func ExampleNet_Nodes() {
	cfg, stop := localDHT() // hyperdht.Config{} is the public network
	defer stop()
	ctx, h := context.Background(), udp.New(udp.Options{})
	defer h.Close()
	dht, err := dhtnet.Start(ctx, h, cfg)
	check(err)
	saved, err := dht.Nodes(ctx) // the text of each is that of netip.AddrPort
	check(err)
	check(dht.Close())

	cfg.Bootstrap, cfg.Nodes = []string{}, saved // in the next run
	dht, err = dhtnet.Start(ctx, h, cfg)
	check(err)
	nodes, err := dht.Nodes(ctx)
	fmt.Println(len(nodes) > 0, err)
	// Output: true <nil>
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
