package dhtprom_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestClockKeepsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portstest.TestClock(t, func(*testing.T) portstest.ClockBench {
			return portstest.ClockBench{Clock: dhtprom.Clock{}, Pass: time.Sleep}
		})
	})
}
