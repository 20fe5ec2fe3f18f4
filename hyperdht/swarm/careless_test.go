package swarm_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// A swarm that is suspended and resumed in one turn, before a DHT node has its record, goes on.
func TestSwarmSuspendedAndResumedAtOnceGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 50, 0)
	a := w.add(nil, swarm.Config{})
	a.do(func(s *swarm.Swarm) {
		if _, err := s.Join(topic, server); err != nil {
			t.Fatal(err)
		}
		s.Suspend(nil)
		if err := s.Resume(); err != nil {
			t.Error(err)
		}
	})
	if err := a.flush(); err != nil || w.records(topic) != 1 {
		t.Errorf("%v, %d records, %+v", err, w.records(topic), a.status())
	}
}

// Admit may ban the key that it is asked for, and close the swarm.
func TestAdmitMayBanAndClose(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(s *swarm.Swarm, key id.PublicKey){
		"Ban":       func(s *swarm.Swarm, key id.PublicKey) { s.Ban(key) },
		"LeavePeer": func(s *swarm.Swarm, key id.PublicKey) { s.LeavePeer(key) },
		"Suspend":   func(s *swarm.Swarm, key id.PublicKey) { s.Suspend(nil) },
		"Close":     func(s *swarm.Swarm, key id.PublicKey) { s.Close(nil) },
	} {
		for _, admits := range []bool{true, false} {
			w := newWorld(t, 51, 0)
			var a *member
			b := w.add(nil, swarm.Config{})
			b.listen()
			a = w.add(nil, swarm.Config{Admit: func(key id.PublicKey) bool {
				act(a.swarm, key)
				return admits
			}})
			a.do(func(s *swarm.Swarm) { s.JoinPeer(b.keys.Public) })
			w.run(30 * time.Second)
			if s := a.status(); s.Stats.Dials != 0 || s.Dialling != 0 || s.Dialled != 0 || len(a.got) != 0 {
				t.Errorf("%s in an Admit that returns %v: %d connections, %+v", name, admits, len(a.got), s)
			}
		}
	}
}

// What Admit does with a caller holds for that caller, though it is admitted.
func TestAdmitMayBanAndCloseForACaller(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(s *swarm.Swarm, key id.PublicKey){
		"Ban":     func(s *swarm.Swarm, key id.PublicKey) { s.Ban(key) },
		"Suspend": func(s *swarm.Swarm, key id.PublicKey) { s.Suspend(nil) },
		"Close":   func(s *swarm.Swarm, key id.PublicKey) { s.Close(nil) },
	} {
		w := newWorld(t, 54, 0)
		var a *member
		b := w.add(nil, swarm.Config{})
		asked := 0
		a = w.add(nil, swarm.Config{Admit: func(key id.PublicKey) bool {
			asked++
			act(a.swarm, key)
			return true
		}})
		a.listen()
		b.do(func(s *swarm.Swarm) { s.JoinPeer(a.keys.Public) })
		w.run(30 * time.Second)
		if asked == 0 || len(a.got) != 0 || len(b.open(a)) != 0 {
			t.Errorf("%s: asked %d times, %d connections, %d open", name, asked, len(a.got), len(b.open(a)))
		}
	}
}

// A peer that was found and waits for its dial is not forgotten because there is no room for its own.
func TestRejectedCallerIsStillKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 52, 0)
	a := w.add(nil, swarm.Config{MaxIncoming: 1, MaxPeers: -1}) // which dials named peers alone
	callers := []*member{w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})}
	a.listen()
	for _, m := range callers {
		m.join(topic, server)
		if err := m.flush(); err != nil {
			t.Fatal(err)
		}
	}
	a.join(topic, client)
	w.until("both are found", time.Minute, func() bool { return a.status().Queued == 2 })
	for _, m := range callers {
		m.do(func(s *swarm.Swarm) { s.JoinPeer(a.keys.Public) }) // at once: both handshakes are admitted
	}
	w.until("one is rejected", time.Second, func() bool { return a.status().Stats.Refused == 1 })
	if s := a.status(); s.Known != 2 || s.Queued != 1 || s.Incoming != 1 {
		t.Errorf("%+v", s)
	}
}

// Refreshes that wait for the server do not pile up, and one follows when a DHT node leads to it.
func TestRefreshesWithoutANetworkDoNotPileUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 53, 0)
	cone := simnet.PortRestricted()
	a := w.add(&cone, swarm.Config{})
	a.router.SetAccess(simnet.Link{Loss: 1})
	session := a.join(topic, server)
	for range 20 {
		a.do(func(s *swarm.Swarm) {
			s.NetworkChanged()
			for _, opts := range []swarm.JoinOptions{client, asBoth} {
				if err := session.Refresh(opts); err != nil {
					t.Error(err)
				}
			}
		})
		w.run(time.Second)
	}
	waiting := 0
	a.do(func(s *swarm.Swarm) {
		s.Sizes(func(what string, held, _ int) {
			if what == "calls that wait for the server of a swarm" {
				waiting = held
			}
		})
	})
	if waiting != 1 {
		t.Errorf("%d calls of one topic wait", waiting)
	}
	a.router.SetAccess(simnet.Link{})
	w.until("it is announced", time.Minute, func() bool { return w.records(topic) == 1 })
}
