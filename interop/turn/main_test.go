package turn_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }
