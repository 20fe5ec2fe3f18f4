package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// step is an action of one of two processes with the same key.
type step struct {
	who byte
	do  string // register, leave or restart (the scraper)
}

func steps(text string) (all []step) {
	do := map[byte]string{'+': "register", '-': "leave", '!': "restart"}
	for i := 0; i+1 < len(text); i += 2 {
		all = append(all, step{text[i], do[text[i+1]]})
	}
	return all
}

func TestGoodbyeTakesBackItsOwnRegistrationOnly(t *testing.T) {
	for _, c := range []struct {
		name, steps string
		live        bool
		shared      uint64
	}{
		{"the only process", "A+A-", false, 0},
		{"the old one of a rolling restart", "A+B+A-", true, 0},
		{"both of them", "A+B+A-B-", false, 0},
		{"the new one, the old one renewed meanwhile", "A+B+A+B-", true, 1},
		{"the new one, the old one crashed before", "A+B+B-", false, 0},
		{"the old one after a restart of the scraper", "A+B+ !A-", true, 0},
		{"the new one after a restart of the scraper", "A+B+ !B-", false, 0},
		{"a goodbye twice", "A+B+A-A-", true, 0},
		{"two that take turns", "A+B+A+B+A+", true, 3},
		{"two that take turns, and one stops", "A+B+A+B+A-", true, 2},
		{"the fifth of five", "A+B+C+D+E+E-", false, 0},
		{"the first of five, forgotten", "A+B+C+D+E+A-", true, 0},
		{"one that registers again after its goodbye", "A+A-A+", true, 0},
	} {
		for _, named := range []bool{true, false} { // older clients name no instance, but each process dials under its own key
			w := newWorld(t)
			w.startScraper(nil)
			conflicts := uint64(0)
			for _, step := range steps(c.steps) {
				r := registration("web", 2)
				r.Dial = pair(step.who)
				if named {
					r.Dial, r.Instance = pair(9), domain.Instance{step.who}
				}
				switch step.do {
				case "register":
					if _, err := w.send(r); err != nil {
						t.Fatal(err)
					}
				case "leave":
					w.leave(r)
				case "restart":
					w.startScraper(nil)
				}
				w.loop.Advance(time.Minute)
				conflicts = w.scraper.Stats().SharedIdentities
			}
			if live := len(w.aliases()) == 1; live != c.live || conflicts != c.shared || len(of[domain.IdentityShared](w.events)) != int(c.shared) {
				t.Errorf("%s (named %v): the alias is there: %v, conflicts %d", c.name, named, live, conflicts)
			}
			if c.live && w.status("web").Shared != (c.shared > 0) {
				t.Errorf("%s (named %v): shown as shared: %v", c.name, named, w.status("web").Shared)
			}
		}
	}
}

// leave sends a goodbye and waits for the answer.
func (w *world) leave(r ports.Registration) {
	w.t.Helper()
	finished := false
	w.loop.Turn(func() {
		portstest.NewTransport(w.net).LeaveAlias(r, func(err error) {
			finished = true
			if err != nil {
				w.t.Error(err)
			}
		})
	})
	if !w.loop.Until(time.Minute, func() bool { return finished }) {
		w.t.Fatal("the goodbye hangs")
	}
}

// A rolling restart: the new instance runs before the old one stops. The alias was gone until the new one's next
// renewal, up to an hour.
func TestOldInstanceStopsBesideTheNewOne(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	before := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	before.close()
	if got := w.aliases(); len(got) != 1 {
		t.Fatalf("aliases %v", got)
	}
	w.mustScrape("web")
	if w.scraper.Stats().Left != 0 {
		t.Error("the goodbye is counted as if it had taken the alias")
	}
}

// The registration of the new instance is being written when the old one leaves.
func TestGoodbyeOvertakesNoRegistration(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	old, next := registration("web", 2), registration("web", 2)
	old.Instance, next.Instance = domain.Instance{1}, domain.Instance{2}
	c.ask(old)
	w.disk.Hold = true
	c.ask(next)
	w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: old.Secret, Register: old.Register}, func(ports.AliasReply) {})
	})
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if got := w.aliases(); len(got) != 1 {
		t.Errorf("aliases %v", got)
	}
}

// A client that takes an alias over leaves before that is on the disk, and the disk refuses it.
func TestGoodbyeAfterAFailedTakeoverRemovesNothing(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	w.loop.Advance(time.Second)
	takeover := registration("web", 3)
	w.disk.Hold, w.disk.Fail = true, errors.New("input/output error")
	w.loop.Turn(func() {
		c.handlers.OnRegister(ports.AliasRequest{Secret: takeover.Secret, Register: takeover.Register}, func(ports.AliasReply) { w.disk.Fail = nil })
	})
	answers := 0
	goodbye := func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: takeover.Secret, Register: takeover.Register}, func(r ports.AliasReply) {
			if answers++; r.Updated {
				t.Errorf("the answer says that the alias was removed: %+v", r)
			}
		})
	}
	for range 5 {
		w.loop.Turn(goodbye)
	}
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if got := w.aliases(); len(got) != 1 {
		t.Errorf("aliases %v", got)
	}
	if kept := w.disk.Entries["web"]; kept.Key != registration("web", 2).Key {
		t.Error("the alias is not on the disk any more")
	}
	if answers != 5 {
		t.Errorf("%d answers", answers)
	}
}

// A client takes an alias over while another takeover is written, and leaves before its own, which the disk refuses.
func TestGoodbyeAfterARefusedWriteKeepsTheTakeoverBeforeIt(t *testing.T) {
	for name, before := range map[string]bool{"it had the alias before": true, "the alias is new": false} {
		t.Run(name, func(t *testing.T) {
			w, door := newDoor(t)
			c := door.call(w, 50)
			last, takeover := registration("web", 2), registration("web", 3)
			if before {
				c.ask(last)
				w.loop.Advance(time.Second)
			}
			w.disk.Hold = true
			register := func(r ports.Registration, then error) {
				w.loop.Turn(func() {
					c.handlers.OnRegister(ports.AliasRequest{Secret: r.Secret, Register: r.Register}, func(ports.AliasReply) { w.disk.Fail = then })
				})
			}
			register(takeover, errors.New("input/output error"))
			register(last, nil)
			answered := false
			w.loop.Turn(func() {
				c.handlers.OnLeave(ports.AliasRequest{Secret: last.Secret, Register: last.Register}, func(r ports.AliasReply) {
					if answered = true; !r.Success || r.Updated {
						t.Errorf("the answer to the goodbye: %+v", r)
					}
				})
			})
			w.loop.Turn(w.disk.Release)
			w.loop.Advance(time.Second)
			if got := w.aliases(); len(got) != 1 || w.status("web").Key != takeover.Key {
				t.Errorf("aliases %v", got)
			}
			if kept := w.disk.Entries["web"]; kept.Key != takeover.Key {
				t.Error("the alias is not on the disk any more")
			}
			if !answered {
				t.Error("the goodbye has no answer")
			}
		})
	}
}

// It leaves before that is on the disk, which takes it.
func TestGoodbyeWaitsForATakeover(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	w.loop.Advance(time.Second)
	takeover := registration("web", 3)
	w.disk.Hold = true
	c.ask(takeover)
	w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: takeover.Secret, Register: takeover.Register}, func(ports.AliasReply) {})
	})
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if got := w.aliases(); len(got) != 0 {
		t.Errorf("aliases %v", got)
	}
}

func TestSharedKeyIsShownForAsLongAsAnExpiry(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.Expiry = 3 * time.Hour })
	for _, who := range []byte{1, 2, 1} {
		r := registration("web", 2)
		r.Instance = domain.Instance{who}
		if _, err := w.send(r); err != nil {
			t.Fatal(err)
		}
		w.loop.Advance(time.Second)
	}
	if !w.status("web").Shared {
		t.Error("not shown")
	}
	w.loop.Advance(2 * time.Hour)
	r := registration("web", 2)
	r.Instance = domain.Instance{1}
	if _, err := w.send(r); err != nil {
		t.Fatal(err)
	}
	w.loop.Advance(2 * time.Hour)
	if w.status("web").Shared {
		t.Error("shown four hours after the other client's last registration")
	}
}

// An alias that could not be removed keeps its instances.
func TestGoodbyeAfterADiskErrorTakesBackItsOwnRegistrationOnly(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	old, next := registration("web", 2), registration("web", 2)
	old.Instance, next.Instance = domain.Instance{1}, domain.Instance{2}
	c.ask(old)
	w.loop.Advance(time.Second)
	c.ask(next)
	w.disk.Fail = errors.New("no space left on device")
	w.loop.Turn(func() { w.scraper.Forget("web", func(bool, error) {}) })
	w.loop.Advance(time.Second)
	w.disk.Fail = nil
	w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: old.Secret, Register: old.Register}, func(ports.AliasReply) {})
	})
	w.loop.Advance(time.Second)
	if got := w.aliases(); len(got) != 1 {
		t.Errorf("aliases %v", got)
	}
}

// A seed was copied with its machine, and both run. Each registers once an hour, and reports that it has no connection of the
// scraper.
func TestTwoClientsWithOneKeyDoNotFightForTheConnection(t *testing.T) {
	for _, aliases := range [][2]string{{"web", "web"}, {"web", "copy of web"}} {
		t.Run(aliases[1], func(t *testing.T) {
			w := newWorld(t)
			w.startScraper(nil)
			proves := func(cfg *app.ClientConfig) { cfg.Transport.(*portstest.Transport).Proves = true }
			first := w.startClient(aliases[0], 2, proves)
			w.loop.Advance(time.Minute)
			second := w.startClient(aliases[1], 2, proves)
			w.loop.Advance(time.Minute)
			lost := func() (n int) {
				for _, e := range of[domain.ConnectionClose](w.events) {
					if e.Side == domain.SideScrape {
						n++
					}
				}
				return n
			}
			before := lost()
			for range 12 * 60 {
				w.loop.Advance(time.Minute)
				if _, _, err := w.scrape(aliases[1], 0); err != nil {
					t.Fatalf("a scrape fails: %v", err)
				}
			}
			if n := lost() - before; n != 0 {
				t.Errorf("the connection was given up %d times in twelve hours", n)
			}
			if first.source.Asked != 0 || second.source.Asked != 12*60 {
				t.Errorf("%d and %d scrapes", first.source.Asked, second.source.Asked)
			}
			for _, heard := range []events{w.events, first.events, second.events} {
				if n := len(of[domain.IdentityShared](heard)); n < 5 || n > 26 { // once per renewal, and when one lost its connection to the other
					t.Errorf("warned %d times in twelve hours", n)
				}
			}
			if !w.status(aliases[0]).Shared || !w.status(aliases[1]).Shared {
				t.Error("not shown")
			}
		})
	}
}
