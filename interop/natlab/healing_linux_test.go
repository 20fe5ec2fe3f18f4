package natlab

import (
	"fmt"
	"testing"
	"time"
)

// mishap is a disturbance of a connected client or scraper.
type mishap struct {
	name string
	// happen causes it, and returns the start of the time until the next scrape.
	happen func(l *lab, s *scene) time.Time
}

// scene is a client and a scraper that is scraping it.
type scene struct {
	pair
	clientHost, scraperHost host
	scraper                 scraper
	client                  client
}

// moment is a mishap without a duration.
func moment(what func(s *scene) error) func(l *lab, s *scene) time.Time {
	return func(l *lab, s *scene) time.Time {
		l.t.Helper()
		begun := time.Now()
		l.must(what(s))
		return begun
	}
}

// restart stops the client and starts it again with an identity.
func restart(identity string) func(l *lab, s *scene) time.Time {
	return func(l *lab, s *scene) time.Time {
		l.t.Helper()
		s.client.crash()
		_, begun := l.client(s.pair, s.clientHost, s.scraper.key(), identity)
		return begun
	}
}

var mishaps = []mishap{
	{"the client's NAT reboots", moment(func(s *scene) error { return s.clientHost.edge.flush() })},
	{"the scraper's NAT reboots", moment(func(s *scene) error { return s.scraperHost.edge.flush() })},
	{"the client's address changes", moment(func(s *scene) error { return s.clientHost.edge.move() })},
	{"the scraper's address changes", moment(func(s *scene) error { return s.scraperHost.edge.move() })},
	{"the client restarts with a new key", restart("another one")},
	{"the client restarts with its old key", restart("")},
}

// recovery is a mishap to a pair in a place.
type recovery struct {
	mishap
	pair
	client, scraper kind
}

func (r recovery) name() string {
	return fmt.Sprintf("%v/%s to %s/%s", r.pair, r.client.name, r.scraper.name, r.mishap.name)
}

// recoveries returns all rows of the table, in its order.
func recoveries() []recovery {
	var all []recovery
	for _, place := range [][2]kind{{masqueradeKind, masqueradeKind}, {randomKind, masqueradeKind}} {
		for _, m := range mishaps {
			for _, p := range pairs {
				if !p.relay {
					all = append(all, recovery{m, p, place[0], place[1]})
				}
			}
		}
	}
	return all
}

const (
	// healed bounds the recovery of two Go peers with consistent mappings: keepalives detect it within 15 s, and 10 s more
	// may pass.
	healed = 25 * time.Second
	// healedByChance is the same where one of them has to be punched by random ports.
	healedByChance = 90 * time.Second
	// healedSometime bounds the measurement with a JavaScript peer. Some of its work recurs every five minutes only.
	healedSometime = 20 * time.Minute
)

func TestHowSoonItHeals(t *testing.T) {
	need(t)
	t.Parallel()
	l := newLab(t)
	var all []recovery
	for _, r := range recoveries() {
		ours := r.pair == pair{golang, golang, false}
		if *full || *update || ours || r.client.mapping == consistent && r.pair == (pair{golang, javaScript, false}) {
			all = append(all, r)
		}
	}
	inParallel(all, slowFactor**parallel, func(r recovery) {
		t.Run(r.name(), func(t *testing.T) {
			got := heal(l.in(t), r)
			results.add(r.name(), got)
			t.Log(got)
			if got.err != nil && r.pair != reference {
				t.Errorf("not healed: %v", got.err)
			}
		})
	})
	t.Log("\n" + results.recoveries())
}

// heal connects two, disturbs them and measures the time until the next scrape.
func heal(l *lab, r recovery) outcome {
	l.t.Helper()
	name := l.neighbourhood()
	s := &scene{pair: r.pair, clientHost: l.site(name+"-a", r.client), scraperHost: l.site(name+"-b", r.scraper)}
	s.scraper = l.scraper(r.pair.scraper, s.scraperHost)
	s.client, _ = l.client(r.pair, s.clientHost, s.scraper.key(), "")
	var err error
	scraped := func() bool { err = s.scraper.scrape(); return err == nil }
	if !every(20*time.Millisecond, randomPatience, scraped) {
		l.t.Fatalf("not connected in the first place: %v", err)
	}
	within := healed
	switch {
	case r.pair != pair{golang, golang, false}:
		within = healedSometime
	case r.client.mapping == random:
		within = healedByChance
	}
	begun := r.happen(l, s)
	if !every(20*time.Millisecond, within, scraped) {
		return outcome{err: err}
	}
	return outcome{seconds: time.Since(begun).Seconds(), path: s.scraper.path(s.clientHost, s.scraperHost)}
}
