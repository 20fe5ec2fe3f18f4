// Package prometheus_test runs dhtprom against a real Prometheus, and its promtool.
package prometheus_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }
