// Package group_test runs groups of scrapers, from the real programs, on a real etcd.
package group_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }
