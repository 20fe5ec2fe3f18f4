package swarm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// waits returns the numbers of calls that a swarm holds for flushes.
func (m *member) waits() (n int) {
	m.do(func(s *swarm.Swarm) {
		s.Sizes(func(what string, held, _ int) {
			if strings.HasPrefix(what, "flushes of") || strings.HasPrefix(what, "calls that wait for refreshes") {
				n += held
			}
		})
	})
	return n
}

// A flush without a network does not end; when its caller leaves, the swarm holds nothing of it, and its handler does not run.
func TestCancelledFlushesLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60, 0)
	cone := simnet.PortRestricted()
	a := w.add(&cone, swarm.Config{})
	a.router.SetAccess(simnet.Link{Loss: 1})
	session := a.join(topic, server)
	a.join(another, server)
	ran := 0
	done := func(error) { ran++ }
	for range 20 {
		var cancels []func()
		a.do(func(s *swarm.Swarm) { cancels = append(cancels, s.Flush(done), session.Flush(done)) })
		w.run(time.Second)
		if n := a.waits(); n != 1+2+1 { // a flush of the swarm, in both of its topics, and one of a topic
			t.Fatalf("%d calls wait", n)
		}
		for range 2 {
			for _, cancel := range cancels {
				a.host.Do(cancel)
			}
		}
		if n := a.waits(); n != 0 {
			t.Fatalf("%d calls wait after their cancels", n)
		}
	}
	a.router.SetAccess(simnet.Link{})
	w.until("it is announced", time.Minute, func() bool { return w.records(topic) == 1 && w.records(another) == 1 })
	w.run(time.Minute)
	if ran != 0 {
		t.Errorf("%d cancelled flushes have ended", ran)
	}
}

// One call's cancel is no other's.
func TestCancelOfAFlushLeavesOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 61, 0)
	a := w.add(nil, swarm.Config{})
	session := a.join(topic, server)
	var ended []string
	note := func(what string) func(error) { return func(error) { ended = append(ended, what) } }
	a.do(func(s *swarm.Swarm) {
		cancel, topicCancel := s.Flush(note("cancelled")), session.Flush(note("cancelled"))
		s.Flush(note("swarm"))
		session.Flush(note("topic"))
		cancel()
		topicCancel()
	})
	w.run(time.Minute)
	if len(ended) != 2 || ended[0] == "cancelled" || ended[1] == "cancelled" {
		t.Errorf("ended: %v", ended)
	}
	a.do(func(s *swarm.Swarm) { // those that end at the end of the turn, too
		s.Flush(note("cancelled at once"))()
		session.Flush(note("cancelled at once"))()
		session.Leave(nil)
		session.Flush(note("cancelled at once"))()
	})
	w.run(time.Minute)
	if len(ended) != 2 || a.waits() != 0 {
		t.Errorf("ended: %v", ended)
	}
}

// The second part of a flush, which waits for dials, is cancelled as the first.
func TestCancelledFlushWaitsForNoDial(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 62, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	a.host.Crash()
	b.join(topic, client)
	ran := false
	var cancel func()
	b.do(func(s *swarm.Swarm) { cancel = s.Flush(func(error) { ran = true }) })
	w.until("it dials", time.Minute, func() bool { return b.status().Dialling == 1 && b.waits() == 1 })
	w.run(time.Second)
	b.host.Do(cancel)
	if n := b.waits(); n != 0 {
		t.Errorf("%d calls wait", n)
	}
	w.run(time.Minute)
	if ran {
		t.Error("a cancelled flush has ended")
	}
}

// A flush of a session ends with the reason for which there is no topic any more.
func TestSessionFlushReportsTheEndOfItsTopic(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(*swarm.Swarm, *swarm.Session)
		want error
	}{
		"Leave":       {func(_ *swarm.Swarm, s *swarm.Session) { s.Leave(nil) }, swarm.ErrLeft},
		"Swarm.Leave": {func(s *swarm.Swarm, _ *swarm.Session) { s.Leave(topic, nil) }, swarm.ErrLeft},
		"Suspend":     {func(s *swarm.Swarm, _ *swarm.Session) { s.Suspend(nil) }, swarm.ErrSuspended},
		"Close":       {func(s *swarm.Swarm, _ *swarm.Session) { s.Close(nil) }, swarm.ErrClosed},
	} {
		for _, others := range []int{0, 1} {
			w := newWorld(t, 63, 0)
			a := w.add(nil, swarm.Config{})
			var session *swarm.Session
			for range 1 + others {
				session = a.join(topic, server)
			}
			var before, at, later []error
			a.do(func(s *swarm.Swarm) {
				session.Flush(func(err error) { before = append(before, err) })
				tc.end(s, session)
				session.Flush(func(err error) { at = append(at, err) })
			})
			w.run(time.Minute)
			a.do(func(*swarm.Swarm) { session.Flush(func(err error) { later = append(later, err) }) })
			w.run(time.Second)
			for when, got := range map[string][]error{"before": before, "in the turn of": at, "after": later} {
				if len(got) != 1 || !errors.Is(got[0], tc.want) {
					t.Errorf("%s with %d others: a flush %s it ended with %v, want %v", name, others, when, got, tc.want)
				}
			}
		}
	}
}
