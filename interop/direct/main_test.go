// Package direct_test scrapes exporters directly and through dhtprom, as Prometheus and vmagent do, and compares what they get. It is
// a module of its own because of Prometheus's parsers.
package direct_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }
