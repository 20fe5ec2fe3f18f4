package compact_test

import (
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// A message is appended field by field, read in the same order, and checked once at the end.
func Example() {
	var b []byte
	b = compact.AppendUint(b, 300)
	b = compact.AppendString(b, "hello")
	b = compact.AppendAddr(b, netip.MustParseAddrPort("192.0.2.1:49737"))
	fmt.Printf("%x\n", b)

	r := compact.NewReader(b)
	number, text, addr := r.Uint(), r.String(), r.Addr()
	fmt.Println(number, text, addr, r.Err())

	cut := compact.NewReader(b[:5])
	number, text = cut.Uint(), cut.String()
	fmt.Printf("%d %q %v\n", number, text, cut.Err())
	// Output:
	// fd2c010568656c6c6fc000020149c2
	// 300 hello 192.0.2.1:49737 <nil>
	// 300 "" compact: input too short
}
