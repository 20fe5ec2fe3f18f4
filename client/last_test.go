package client

import (
	"fmt"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

// A change of a large set visits each target once, on the loop.
func TestTargetsAreVisitedOnceByAChange(t *testing.T) {
	visits := 0
	change := func(first, n int, before map[domain.Alias]LastRequest) map[domain.Alias]LastRequest {
		return lastOf(func(yield func(domain.Alias) bool) {
			for i := first; i < first+n; i++ {
				if visits++; !yield(domain.Alias(fmt.Sprint(i))) {
					return
				}
			}
		}, before)
	}
	last := change(0, domain.MaxTargets, nil)
	for a := range last {
		last[a] = LastRequest{Bytes: 1}
	}
	const gone = 10
	next := change(gone, domain.MaxTargets, last)
	if visits != 2*domain.MaxTargets {
		t.Errorf("%d visits by two changes, want %d", visits, 2*domain.MaxTargets)
	}
	scraped := 0
	for _, l := range next {
		scraped += l.Bytes
	}
	if len(next) != domain.MaxTargets || scraped != domain.MaxTargets-gone {
		t.Errorf("%d targets, %d of them with a last request, want %d and %d", len(next), scraped, domain.MaxTargets, domain.MaxTargets-gone)
	}
}

// A request for a target that is gone meanwhile leaves nothing.
func TestLastRequestsAreThoseOfTargets(t *testing.T) {
	c := &Client{last: lastOf(aliases([]target{{alias: "a"}, {alias: "b"}}), nil)}
	c.note("a", LastRequest{Bytes: 1})
	c.note("c", LastRequest{Bytes: 1})
	if len(c.last) != 2 || c.last["a"].Bytes != 1 || c.last["b"].Bytes != 0 {
		t.Errorf("%v", c.last)
	}
}
