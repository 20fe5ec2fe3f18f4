package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// pace limits the requests of each host, or the answers to it. Answers of the DHT are longer than their requests, and the source
// of a request can be forged: the limit is what a node can be made to send to a victim. While all requests together keep to the pace
// of one host, no host is looked at, and nothing is kept.
type pace struct {
	all   bound.Bucket
	hosts *bound.Rates[netip.Prefix] // nil until it was needed
}

func newPace(now host.Instant) pace { return pace{all: *bound.NewBucket(now, requestPace)} }

// allows counts a request and reports whether it may be answered.
func (p *pace) allows(now host.Instant, from netip.Addr) bool {
	if p.all.Take(now) {
		if p.hosts != nil && p.hosts.Len(now) == 0 {
			p.hosts = nil
		}
		return true
	}
	if p.hosts == nil {
		p.hosts = bound.NewRates[netip.Prefix](maxPacedHosts, requestPace)
	}
	return p.hosts.Of(now, bound.Host(from)).Take(now)
}

// len returns the number of hosts that are counted.
func (p *pace) len(now host.Instant) int {
	if p.hosts == nil {
		return 0
	}
	return p.hosts.Len(now)
}
