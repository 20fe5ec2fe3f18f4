package mux_test

import (
	"fmt"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
)

// Both sides of a connection open a channel of the same name and greet each other. The connection is a pair of
// pipes in memory here; a hyperdht.Connection takes its place.
func Example() {
	wire := muxtest.NewWire()

	open := func(side string, p mux.Pipe) *mux.Channel {
		c, err := mux.New(p).Open(mux.ChannelOptions{
			Protocol:  "greetings",
			Handshake: []byte("I am " + side),
			OnOpen:    func(handshake []byte) { fmt.Printf("%s: open, %s\n", side, handshake) },
			OnClose:   func(remote bool) { fmt.Printf("%s: closed, by the other side: %v\n", side, remote) },
			Messages: []func([]byte){
				func(payload []byte) { fmt.Printf("%s: received %s\n", side, payload) },
			},
		})
		if err != nil {
			panic(err)
		}
		return c
	}
	alice, bob := open("alice", wire.A), open("bob", wire.B)
	alice.Send(0, []byte("hello, bob")) // no need to wait for the other side
	wire.Run()
	bob.Send(0, []byte("hello, alice"))
	bob.Close()
	wire.Run()
	// Output:
	// alice: open, I am bob
	// bob: open, I am alice
	// bob: received hello, bob
	// bob: closed, by the other side: false
	// alice: received hello, alice
	// alice: closed, by the other side: true
}

// A handler accepts channels on demand, here one for each topic that the other side asks for.
func ExampleMux_Handle() {
	wire := muxtest.NewWire()
	server, client := mux.New(wire.A), mux.New(wire.B)

	server.Handle("topic", nil, func(o *mux.Offer) {
		if string(o.ID()) == "secret" {
			return // not opening the channel rejects it
		}
		c, err := server.Open(mux.ChannelOptions{Protocol: o.Protocol(), ID: o.ID()})
		if err != nil {
			return
		}
		c.Send(0, []byte("news about "+string(o.ID())))
	})

	for _, topic := range []string{"weather", "secret"} {
		_, err := client.Open(mux.ChannelOptions{
			Protocol: "topic",
			ID:       []byte(topic),
			Messages: []func([]byte){func(payload []byte) { fmt.Println(string(payload)) }},
			OnClose:  func(bool) { fmt.Println("no", topic) },
		})
		if err != nil {
			panic(err)
		}
	}
	wire.Run()
	// Output:
	// news about weather
	// no secret
}
