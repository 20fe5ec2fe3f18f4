package id_test

import (
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Keys are made from seeds and travel as z-base-32; hex and pear:// addresses are read as well.
func Example() {
	keys := id.KeyPairFromSeed(id.Seed{1, 2, 3})
	fmt.Println(keys.Public)
	fmt.Println("secret:", keys.Secret)

	again, err := id.ParsePublicKey("pear://" + keys.Public.String() + "/path")
	fmt.Println(again == keys.Public, err)

	signature := keys.Sign([]byte("hello"))
	fmt.Println(id.Verify(keys.Public, []byte("hello"), signature[:]), id.Verify(keys.Public, []byte("hallo"), signature[:]))
	// Output:
	// rex6m7wfuepr95d3yi6j4cse4x6dk5owjcq48c83yfzxphwatdpy
	// secret: [redacted]
	// true <nil>
	// true false
}

// Where something is stored in the DHT is a matter of distance: a server's record lies at the nodes nearest to the hash
// of its key.
func ExampleCloser() {
	target := id.KeyPairFromSeed(id.Seed{1}).Public.Target()
	a := id.NodeIDOf(netip.MustParseAddrPort("192.0.2.1:49737"))
	b := id.NodeIDOf(netip.MustParseAddrPort("192.0.2.2:49737"))
	fmt.Println(id.Closer(target, a, b) == -id.Closer(target, b, a), id.Closer(target, a, a))
	// Output: true 0
}
