package bound_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/bound"
)

func TestLimitsHaveUnits(t *testing.T) {
	tests := []struct {
		got, want bound.Limit
	}{
		{bound.Count(1024), "1024"},
		{bound.Bytes(300), "300 bytes"},
		{bound.Bytes(64 << 10), "64 KiB"},
		{bound.Bytes(4 << 20), "4 MiB"},
		{bound.Time(15 * time.Second), "15 s"},
		{bound.Time(1500 * time.Millisecond), "1500 ms"},
		{bound.Time(3 * time.Minute), "3 min"},
		{bound.Time(2 * time.Hour), "2 h"},
		{bound.Rate(60, 1, 10*time.Second), "60, then 1 per 10 s"},
		{bound.Rate(500, 400, time.Second), "500, then 400 per s"},
	}
	for _, test := range tests {
		t.Run(string(test.want), func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %q", test.got)
			}
		})
	}
}
