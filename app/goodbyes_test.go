package app_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// leave sends a goodbye, and returns its answers.
func (c *caller) leave(r ports.Registration) (answers *[]ports.AliasReply) {
	answers = &[]ports.AliasReply{}
	c.w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: r.Secret, Register: r.Register, Proven: true}, func(a ports.AliasReply) { *answers = append(*answers, a) })
	})
	return answers
}

// registerAndFail registers an alias on a disk that holds its writes, and fails until that is answered.
func (c *caller) registerAndFail(r ports.Registration) {
	c.w.disk.Fail = errors.New("input/output error")
	c.registerThen(r, func() { c.w.disk.Fail = nil })
}

// registerThen registers an alias on a disk that holds its writes, and calls a function with the answer.
func (c *caller) registerThen(r ports.Registration, answered func()) {
	c.w.disk.Hold = true
	c.w.loop.Turn(func() {
		c.handlers.OnRegister(ports.AliasRequest{Secret: r.Secret, Register: r.Register}, func(ports.AliasReply) { answered() })
	})
}

// setProcess is the goodbye of a process with the set of key 6.
func setProcess(instance byte) ports.Registration {
	r := registration("", 6)
	r.Instance = domain.Instance{instance}
	return r
}

// newGroupDoor is newDoor for a group of one member, a.
func newGroupDoor(t *testing.T) (*fellows, *caller) {
	t.Helper()
	f := &fellows{world: newWorld(t), by: map[string]*fellow{}}
	f.group = portstest.NewMembers(f.disk)
	door := &doorTransport{Transport: portstest.NewTransport(f.net)}
	f.changed = func(c *app.ScraperConfig) { c.Transport = door }
	f.start("a")
	return f, door.call(f.world, 50)
}

// wantLeft ends the writes that the disk holds, and demands that a goodbye was answered once, and what the table and the disk have then: the key
// of "web", zero for none.
func (w *world) wantLeft(answers *[]ports.AliasReply, removed bool, key domain.PublicKey) {
	w.t.Helper()
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if a := *answers; len(a) != 1 || !a[0].Success || a[0].Updated != removed {
		w.t.Errorf("answers %+v", a)
	}
	var table domain.PublicKey
	if got := w.scraper.Aliases(); len(got) > 0 {
		table = got[0].Key
	}
	if disk := w.disk.Entries["web"].Key; table != key || disk != key {
		w.t.Errorf("the table has the key %v, the disk %v, want %v", table, disk, key)
	}
}

// A client leaves while another one takes its alias over, and the disk refuses that.
func TestGoodbyeDuringAFailedTakeoverRemovesTheAlias(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	c.registerAndFail(registration("web", 3))
	answers := c.leave(registration("web", 2))
	w.wantLeft(answers, true, domain.PublicKey{})
}

func TestGoodbyeDuringATakeoverLeavesTheAliasToTheOtherClient(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	w.disk.Hold = true
	c.ask(registration("web", 3))
	answers := c.leave(registration("web", 2))
	w.wantLeft(answers, false, pair(3).Public)
}

// A client takes an alias over, and leaves while a third one does, whose write fails.
func TestGoodbyeBetweenTwoTakeoversRemovesTheAlias(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	w.disk.Hold = true
	first := registration("web", 3)
	w.loop.Turn(func() {
		c.handlers.OnRegister(ports.AliasRequest{Secret: first.Secret, Register: first.Register}, func(ports.AliasReply) {
			w.disk.Fail = errors.New("input/output error")
		})
	})
	c.registerAndFail(registration("web", 4))
	w.disk.Fail = nil
	answers := c.leave(first)
	w.wantLeft(answers, true, domain.PublicKey{})
}

// The goodbye of a client without a part in a takeover is answered at once.
func TestGoodbyeOfAStrangerWaitsForNothing(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	w.disk.Hold = true
	c.ask(registration("web", 3))
	if a := *c.leave(registration("web", 4)); len(a) != 1 || !a[0].Success || a[0].Updated {
		t.Errorf("answers %+v", a)
	}
}

// A goodbye is sent again while the alias is being removed, which fails.
func TestSecondGoodbyeWaitsForTheFirst(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	r := registration("web", 2)
	c.ask(r)
	w.disk.Hold, w.disk.Fail = true, errors.New("input/output error")
	failed := false
	w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: r.Secret, Register: r.Register}, func(a ports.AliasReply) {
			failed, w.disk.Fail = !a.Success, nil
		})
	})
	answers := c.leave(r)
	w.wantLeft(answers, true, domain.PublicKey{})
	if !failed {
		t.Error("the first goodbye is answered as if it had removed the alias")
	}
}

// The other client has an identity, as that of the goodbye has not.
func TestGoodbyeDuringAFailedTakeoverByAnIdentityRemovesTheAlias(t *testing.T) {
	w := newWorld(t)
	door := &doorTransport{Transport: portstest.NewTransport(w.net)}
	team := named(t, "team", 8)
	w.startScraper(func(c *app.ScraperConfig) { c.Transport, c.Identities = door, []domain.Identity{team} })
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	takeover := registration("web", 3)
	takeover.Secret = team.Secrets[0]
	c.registerAndFail(takeover)
	answers := c.leave(registration("web", 2))
	w.wantLeft(answers, true, domain.PublicKey{})
}

// Two processes run under the key of the alias, and one of them leaves when the takeover has failed.
func TestFailedTakeoverForgetsNoProcessOfTheOwner(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	old, next := registration("web", 2), registration("web", 2)
	old.Instance, next.Instance = domain.Instance{1}, domain.Instance{2}
	c.ask(old)
	c.ask(next)
	c.registerAndFail(registration("web", 3))
	w.wantLeft(c.leave(old), false, pair(2).Public)
	answers := c.leave(next)
	w.wantLeft(answers, true, domain.PublicKey{})
}

// A set takes the alias over.
func TestGoodbyeDuringAFailedTakeoverByASetRemovesTheAlias(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	c.registerSetOf("web", func() { w.disk.Hold, w.disk.Fail = true, errors.New("input/output error") })
	answers := c.leave(registration("web", 2))
	w.wantLeft(answers, true, domain.PublicKey{})
}

// registerSetOf registers a set of key 6 with some targets, after a change of the disk, which works again after the answer.
func (c *caller) registerSetOf(alias domain.Alias, disk func()) {
	c.w.loop.Turn(disk)
	c.askSet(alias, func(ports.SetReply) { c.w.disk.Fail = nil })
}

func (c *caller) askSet(alias domain.Alias, reply func(ports.SetReply)) {
	c.askSetOf(1, 1, ports.SetContent{Targets: []domain.Target{{Alias: "api"}, {Alias: alias}}}, reply)
}

// askSetOf registers a set of key 6 for a process.
func (c *caller) askSetOf(process, revision byte, content ports.SetContent, reply func(ports.SetReply)) {
	c.w.loop.Turn(func() {
		c.handlers.OnSet(ports.SetRequest{
			Secret: secret, Key: pair(6).Public, Instance: domain.Instance{process}, Proven: true, Revision: domain.Revision{revision}, Content: &content,
		}, reply)
	})
}

// mustSet is askSetOf, and demands success.
func (c *caller) mustSet(process, revision byte, content ports.SetContent) {
	c.w.t.Helper()
	c.askSetOf(process, revision, content, func(a ports.SetReply) {
		if !a.Success || a.Need != ports.NeedNothing {
			c.w.t.Errorf("process %d: %+v", process, a)
		}
	})
	c.w.loop.Advance(time.Minute)
}

// Another client takes a target of the set over.
func TestGoodbyeOfASetDuringAFailedTakeoverRemovesItsTargets(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.registerSetOf("web", func() {})
	c.registerAndFail(registration("web", 3))
	answers := c.leave(setProcess(1))
	w.wantLeft(answers, true, domain.PublicKey{})
	if len(w.disk.Entries) != 0 {
		t.Errorf("on the disk: %v", w.disk.Entries)
	}
}

// Another client takes a target over while the set drops it.
func TestTargetDroppedDuringAFailedTakeoverIsRemoved(t *testing.T) {
	w, door := newDoor(t)
	rival := door.call(w, 50)
	c := w.startSet(nil, "api", "web")
	w.loop.Advance(time.Second)
	rival.registerAndFail(registration("web", 3))
	c.set(w.targetsOf("api"))
	w.loop.Advance(3 * time.Second)
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Minute)
	wantNames(t, w.aliases(), "api")
	if len(w.disk.Entries) != 1 {
		t.Errorf("on the disk: %v", w.disk.Entries)
	}
}

// The process of the goodbye registers again while that waits for a takeover, which fails.
func TestGoodbyeThatWaitsSparesALaterRegistration(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	r := registration("web", 2)
	r.Instance = domain.Instance{1}
	c.ask(r)
	c.registerAndFail(registration("web", 3))
	answers := c.leave(r)
	w.loop.Advance(time.Second)
	c.ask(r)
	w.wantLeft(answers, false, pair(2).Public)
}

func TestGoodbyeOfASetThatWaitsSparesALaterRegistration(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.registerSetOf("web", func() {})
	c.registerAndFail(registration("web", 3))
	answers := c.leave(setProcess(1))
	w.loop.Advance(time.Second)
	c.registerSetOf("web", func() {})
	w.wantLeft(answers, false, pair(6).Public)
}

// A client has an alias of its own beside its set, which registers again. The goodbye of that alias is not one of the set.
func TestGoodbyeThatWaitsHeedsNoRegistrationOfTheSet(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	r := registration("web", 6)
	r.Instance = domain.Instance{1}
	c.ask(r)
	c.registerAndFail(registration("web", 3))
	answers := c.leave(r)
	w.loop.Advance(time.Second)
	c.askSet("db", func(ports.SetReply) {})
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if a := *answers; len(a) != 1 || !a[0].Updated {
		t.Errorf("answers %+v", a)
	}
	wantNames(t, w.aliases(), "api", "db")
}

// The disk refuses a goodbye that came on the connection of the session: the scraper reports which one, and the answer names that report.
func TestGoodbyeOnTheSessionReportsItsError(t *testing.T) {
	w, net := newWorld(t), &handTransport{}
	key := pair(2).Public
	w.disk.Entries["web"] = domain.Entry{Alias: "web", Key: key, Expires: noon.Add(time.Hour)}
	w.startScraper(func(c *app.ScraperConfig) { net.ScraperTransport, c.Transport = portstest.NewTransport(w.net), net })
	w.loop.Turn(func() {
		net.all[0].open(domain.PathDirect)
		net.all[0].dial.OnReady()
	})
	w.disk.Fail = errors.New("input/output error")
	var answers []ports.AliasReply
	w.loop.Turn(func() {
		net.all[0].dial.OnLeave(ports.AliasRequest{Register: registration("web", 2).Register}, func(a ports.AliasReply) { answers = append(answers, a) })
	})
	w.loop.Advance(time.Second)
	failed, opened := of[domain.AliasError](w.events), of[domain.ConnectionOpen](w.events)
	if len(failed) != 1 || len(opened) != 1 {
		t.Fatalf("events %+v, %+v", failed, opened)
	}
	if e := failed[0]; e.Alias != "web" || e.Key != key || e.UID != opened[0].UID || e.Peer != opened[0].Peer || !errors.Is(e.Err, w.disk.Fail) {
		t.Errorf("event %+v", e)
	}
	if want := "Failed to drop the alias (uid " + opened[0].UID.String() + ")"; len(answers) != 1 || answers[0].Success || answers[0].Message != want {
		t.Errorf("answers %+v, want %q", answers, want)
	}
	w.disk.Fail = nil
	w.closeScraper()
}

// A scraper that closes removes no alias, and a client that stops with it reports that.
func TestClosingScraperRejectsGoodbyes(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	one := registration("web", 2)
	c.ask(one)
	c.registerSetOf("db", func() {})
	w.loop.Turn(func() { w.scraper.Close(func() {}) })
	for name, r := range map[string]ports.Registration{"an alias": one, "a set": setProcess(1)} {
		if a := *c.leave(r); len(a) != 1 || a[0].Success || !strings.Contains(a[0].Message, "the scraper is stopping") {
			t.Errorf("%s: answers %+v", name, a)
		}
	}
	if a := c.ask(one); a.Success || !strings.Contains(a.Message, "the scraper is stopping") {
		t.Errorf("a registration: %+v", a)
	}
	c.askSet("db", func(a ports.SetReply) {
		if a.Success || !strings.Contains(a.Message, "the scraper is stopping") {
			t.Errorf("a registration of a set: %+v", a)
		}
	})
	if len(w.disk.Entries) != 3 {
		t.Errorf("on the disk: %v", w.disk.Entries)
	}
}

// A goodbye waits for a takeover while the scraper closes.
func TestClosingScraperRejectsGoodbyesThatWait(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	c.registerAndFail(registration("web", 3))
	answers := c.leave(registration("web", 2))
	w.loop.Turn(func() { w.scraper.Close(func() {}) })
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if a := *answers; len(a) != 1 || a[0].Success {
		t.Errorf("answers %+v", a)
	}
}

// A member of a group leads no more when the write ends, or fails again and again, for which a goodbye waits.
func TestGoodbyesThatWaitAreRejectedByAFormerLeader(t *testing.T) {
	for _, fails := range []error{nil, errors.New("input/output error")} {
		f, c := newGroupDoor(t)
		f.disk.Hold, f.disk.Fail = true, fails
		c.askSet("web", func(ports.SetReply) {})
		answers := c.leave(setProcess(1))
		if fails != nil {
			f.loop.Turn(f.disk.Release)
			f.loop.Advance(time.Second)
		}
		if len(*answers) != 0 {
			t.Fatalf("%v: answers %+v before the end of the write", fails, *answers)
		}
		f.group.Depose()
		f.loop.Advance(time.Second)
		f.loop.Turn(f.disk.Release)
		f.loop.Advance(time.Minute)
		if a := *answers; len(a) != 1 || a[0].Success {
			t.Errorf("%v: answers %+v", fails, a)
		}
	}
}

// Some entries of a set are those of a process that left before the scraper started again.
func TestGoodbyeAfterARestartOfTheScraperRemovesTheWholeSet(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	process := func(n, revision byte, targets ...domain.Target) {
		c.mustSet(n, revision, ports.SetContent{Targets: targets, Since: domain.Revision{revision - 1}})
	}
	process(2, 1, domain.Target{Alias: "api"}, domain.Target{Alias: "web"})
	process(1, 2, domain.Target{Alias: "api", Hostname: "new"})
	process(2, 3, domain.Target{Alias: "api", Hostname: "newer"})
	w.wantLeft(c.leave(setProcess(1)), false, pair(6).Public)

	w.closeScraper()
	w.startScraper(func(cfg *app.ScraperConfig) { cfg.Transport = door })
	c = door.call(w, 50)
	if got := w.disk.Entries["web"].Instance; got != (domain.Instance{1}) {
		t.Fatalf("the entry of web has the instance %v", got)
	}
	w.wantLeft(c.leave(setProcess(3)), false, pair(6).Public) // of no process that it knows
	w.wantLeft(c.leave(setProcess(2)), true, domain.PublicKey{})
}

// A client takes an alias over and leaves in one turn. That is no registration after the goodbye.
func TestGoodbyeInTheTurnOfATakeoverRemovesTheAlias(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.ask(registration("web", 5))
	r := registration("web", 2)
	r.Instance = domain.Instance{1}
	c.registerThen(r, func() {})
	answers := c.leave(r)
	w.wantLeft(answers, true, domain.PublicKey{})
}

// A client registers again between two takeovers that fail. Its goodbye, or that of an earlier process, was before that.
func TestFailedTakeoverForgetsNoRegistrationSinceTheFirst(t *testing.T) {
	for name, again := range map[string]byte{"the same process": 1, "another one": 2} {
		t.Run(name, func(t *testing.T) {
			w, door := newDoor(t)
			c := door.call(w, 50)
			failure := errors.New("input/output error")
			r := registration("web", 2)
			r.Instance = domain.Instance{1}
			c.ask(r)
			w.disk.Fail = failure
			c.registerThen(registration("web", 3), func() { w.disk.Fail = nil })
			answers := c.leave(r)
			w.loop.Advance(time.Second)
			r.Instance = domain.Instance{again}
			c.registerThen(r, func() { w.disk.Fail = failure })
			c.registerThen(registration("web", 4), func() { w.disk.Fail = nil })
			w.wantLeft(answers, false, pair(2).Public)
		})
	}
}

// A takeover by a client fails, and then one by a set.
func TestFailedTakeoversByAClientAndASetForgetNoProcessOfTheOwner(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	old, next := registration("web", 2), registration("web", 2)
	old.Instance, next.Instance = domain.Instance{1}, domain.Instance{2}
	c.ask(old)
	w.loop.Advance(time.Second)
	c.ask(next)
	w.disk.Fail = errors.New("input/output error")
	c.registerThen(registration("web", 3), func() {})
	c.askSet("web", func(ports.SetReply) { w.disk.Fail = nil })
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	w.wantLeft(c.leave(old), false, pair(2).Public)
	w.wantLeft(c.leave(next), true, domain.PublicKey{})
}

// An earlier process has crashed. The disk refuses the goodbye of the present one, which is sent again.
func TestGoodbyeAfterOneThatFailedRemovesTheAlias(t *testing.T) {
	for name, set := range map[string]bool{"an alias": false, "a set": true} {
		t.Run(name, func(t *testing.T) {
			w, door := newDoor(t)
			c := door.call(w, 50)
			r := registration("web", 6)
			for n := range byte(2) {
				r.Instance = domain.Instance{n + 1}
				if set {
					c.mustSet(n+1, 1, ports.SetContent{Targets: []domain.Target{{Alias: "web"}}})
				} else {
					c.ask(r)
				}
				w.loop.Advance(time.Minute)
			}
			if set {
				r.Alias = ""
			}
			w.disk.Fail = errors.New("input/output error")
			failed := c.leave(r)
			w.loop.Advance(time.Second)
			if a := *failed; len(a) != 1 || a[0].Success {
				t.Fatalf("answers %+v on a disk that fails", a)
			}
			w.disk.Fail = nil
			w.loop.Advance(time.Minute)
			w.wantLeft(c.leave(r), true, domain.PublicKey{})
		})
	}
}

// A connection to a former leader, whose table may lack an alias that the present one has, is still open.
func TestFormerLeaderRejectsGoodbyes(t *testing.T) {
	f, c := newGroupDoor(t)
	f.group.Depose()
	f.loop.Advance(time.Second)
	for _, alias := range []string{"", "web"} {
		if a := *c.leave(registration(alias, 2)); len(a) != 1 || a[0].Success {
			t.Errorf("%q: answers %+v", alias, a)
		}
	}
}

// A former leader is elected again before the write ends for which a goodbye waits. It has another table then.
func TestGoodbyesThatWaitAreRejectedByALeaderOfLater(t *testing.T) {
	for _, alias := range []string{"", "web"} {
		f, c := newGroupDoor(t)
		r := registration(alias, 6)
		r.Instance = domain.Instance{1}
		if alias != "" {
			c.ask(registration(alias, 5))
			f.loop.Advance(time.Second)
		}
		f.disk.Hold = true
		if alias == "" {
			c.askSet("web", func(ports.SetReply) {})
		} else {
			c.ask(r)
		}
		answers := c.leave(r)
		if len(*answers) != 0 {
			t.Fatalf("%q: answers %+v before the end of the write", alias, *answers)
		}
		f.group.Depose()
		f.loop.Advance(time.Second)
		if !f.group.Elect("a") {
			t.Fatal("the member cannot lead again")
		}
		f.loop.Advance(time.Second)
		f.loop.Turn(f.disk.Release)
		f.loop.Advance(time.Minute)
		if a := *answers; len(a) != 1 || a[0].Success {
			t.Errorf("%q: answers %+v", alias, a)
		}
	}
}

// The write of a set fails until the scraper closes.
func TestClosingScraperRejectsGoodbyesThatWaitForASet(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	w.disk.Fail = errors.New("input/output error")
	c.askSet("web", func(ports.SetReply) {})
	w.loop.Advance(time.Second)
	answers := c.leave(setProcess(1))
	w.loop.Advance(time.Second)
	w.loop.Turn(func() { w.scraper.Close(func() {}) })
	w.loop.Advance(time.Second)
	if a := *answers; len(a) != 1 || a[0].Success {
		t.Errorf("answers %+v", a)
	}
}

// A process without one of the targets registers first after one with all, and writes no entry.
func TestGoodbyeAfterARestartRemovesTheSetOfAProcessThatOnlyDroppedTargets(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	c.mustSet(1, 1, ports.SetContent{Targets: []domain.Target{{Alias: "db"}, {Alias: "web"}}})
	c.mustSet(2, 2, ports.SetContent{Gone: []domain.Alias{"db"}, Since: domain.Revision{1}})
	w.closeScraper()
	w.startScraper(func(cfg *app.ScraperConfig) { cfg.Transport = door })
	c = door.call(w, 50)
	w.wantLeft(c.leave(setProcess(2)), true, domain.PublicKey{})
}

// A set takes an alias over while its client leaves, and the disk refuses that.
func TestFailedTakeoverByASetKeepsNoProcessOfAClientThatHasLeft(t *testing.T) {
	w, door := newDoor(t)
	c := door.call(w, 50)
	r := registration("web", 2)
	c.ask(r)
	w.disk.Hold = true
	left := false
	w.loop.Turn(func() {
		c.handlers.OnLeave(ports.AliasRequest{Secret: r.Secret, Register: r.Register, Proven: true}, func(a ports.AliasReply) {
			left, w.disk.Fail = a.Updated, errors.New("input/output error")
		})
	})
	c.askSet("web", func(ports.SetReply) { w.disk.Fail = nil })
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if len(w.aliases()) != 0 || !left {
		t.Fatalf("left %v, aliases %v", left, w.aliases())
	}
	w.scraper.Sizes(func(what string, held, most int) {
		if held > most {
			t.Errorf("%d %s, want at most %d", held, what, most)
		}
	})
}
