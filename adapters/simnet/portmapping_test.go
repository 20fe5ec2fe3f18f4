package simnet

import (
	"strings"
	"testing"
	"time"
)

func TestInvalidPortMappingsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		how  PortMapping
		want string // "" if it is valid
	}{
		{"PCP", PortMapping{PCP: true}, ""},
		{"both protocols, with bounds", PortMapping{PCP: true, NATPMP: true, Lifetime: time.Minute, Limit: 3}, ""},
		{"refusing", PortMapping{NATPMP: true, Refuse: true}, ""},
		{"pretending", PortMapping{PCP: true, Pretend: true}, ""},
		{"inbound only", PortMapping{PCP: true, InboundOnly: true}, ""},
		{"no protocol", PortMapping{}, "without a protocol"},
		{"refusing and pretending", PortMapping{PCP: true, Refuse: true, Pretend: true}, "that are refused"},
		{"refusing, inbound only", PortMapping{PCP: true, Refuse: true, InboundOnly: true}, "that are refused"},
		{"refusing for a time", PortMapping{PCP: true, Refuse: true, Lifetime: time.Minute}, "that are refused"},
		{"refusing beyond a number", PortMapping{PCP: true, Refuse: true, Limit: 1}, "that are refused"},
		{"pretending, inbound only", PortMapping{PCP: true, Pretend: true, InboundOnly: true}, "forward nothing"},
		{"a negative lifetime", PortMapping{PCP: true, Lifetime: -time.Second}, "negative"},
		{"a negative number", PortMapping{PCP: true, Limit: -1}, "negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				said, _ := recover().(string)
				if (said == "") != (test.want == "") || !strings.Contains(said, test.want) {
					t.Errorf("said %q, want %q", said, test.want)
				}
			}()
			test.how.check()
		})
	}
}
