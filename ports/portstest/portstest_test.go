package portstest_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestStoreInMemoryKeepsTheContract(t *testing.T) {
	portstest.TestAliasStore(t, func(*testing.T) portstest.StoreBench {
		loop, disk := portstest.NewLoop(1), portstest.NewDisk()
		return portstest.StoreBench{
			Open: func(*testing.T) ports.AliasStore { return portstest.NewStore(loop, disk) },
			Run: func(t *testing.T, f func(func())) {
				finished := false
				loop.Turn(func() { f(func() { finished = true }) })
				if !finished {
					t.Error("done was not called")
				}
			},
		}
	})
}
