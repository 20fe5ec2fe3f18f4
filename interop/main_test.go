package interop_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of the time is spent waiting for peers that time out, so more tests than processors may run.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("4"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	process.Main(m)
}
