package muxrpc_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
)

// A server answers a method, and a client calls it. The connection is a pair of pipes in memory here; a
// hyperdht.Connection takes its place.
func Example() {
	wire := muxtest.NewWire()

	server, err := muxrpc.New(mux.New(wire.A), muxrpc.Options{Protocol: "texts"})
	if err != nil {
		panic(err)
	}
	server.Respond("shout", func(value []byte, reply func([]byte, error)) {
		if len(value) == 0 {
			reply(nil, errors.New("nothing to shout"))
			return
		}
		reply([]byte(strings.ToUpper(string(value))), nil)
	})

	client, err := muxrpc.New(mux.New(wire.B), muxrpc.Options{Protocol: "texts"})
	if err != nil {
		panic(err)
	}
	for _, text := range []string{"hello", ""} {
		if _, err := client.Request("shout", []byte(text), func(value []byte, err error) {
			fmt.Printf("%s %v\n", value, err)
			if e, ok := errors.AsType[*muxrpc.Error](err); ok {
				fmt.Println(e.Cause)
			}
		}); err != nil {
			panic(err)
		}
	}
	client.End() // closes when both are answered
	wire.Run()
	fmt.Println(client.Closed(), server.Closed())
	// Output:
	// HELLO <nil>
	//  REQUEST_ERROR: Request failed
	// nothing to shout
	// true true
}
