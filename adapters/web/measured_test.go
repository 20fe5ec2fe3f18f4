package web

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestMeasurementsAreInWords(t *testing.T) {
	const unknown = "not known: an older client, or one in JavaScript"
	for name, test := range map[string]struct {
		up   bool
		link domain.LinkStats
		is   string
		want measured
	}{
		"no connection":      {link: domain.LinkStats{RTT: time.Second, Sent: 1}, is: "1"},
		"nothing measured":   {up: true, want: measured{Version: unknown}},
		"nothing lost":       {up: true, link: domain.LinkStats{RTT: 34 * time.Millisecond, Sent: 140}, is: "1.2.3", want: measured{"34 ms", "none of 140 packets", "1.2.3"}},
		"a local network":    {up: true, link: domain.LinkStats{RTT: 300 * time.Microsecond, Sent: 1, Resent: 0}, want: measured{"under 1 ms", "none of 1 packets", unknown}},
		"something was lost": {up: true, link: domain.LinkStats{RTT: 1200 * time.Millisecond, Sent: 1000, Resent: 23}, is: "v2", want: measured{"1.2 s", "2.3 % of 1000 packets", "v2"}},
	} {
		if got := measuredWords(domain.AliasStatus{SessionUp: test.up, Link: test.link, Version: test.is}); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
