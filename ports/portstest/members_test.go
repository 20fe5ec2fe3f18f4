package portstest_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func memberBench(*testing.T) portstest.GroupBench {
	loop := portstest.NewLoop(1)
	m := portstest.NewMembers(portstest.NewDisk())
	// The world's time passes while a test waits.
	var tick func()
	tick = func() { loop.AfterFunc(time.Second, tick) }
	tick()
	return portstest.GroupBench{
		Settle:     2 * time.Minute,
		Open:       func(_ *testing.T, name string) (ports.Group, ports.SharedStore) { return m.Member(loop, name) },
		On:         func(_ string, f func()) { loop.Turn(f) },
		Until:      loop.Until,
		Vanish:     m.Vanish, // the others notice it in a later turn
		Disconnect: func(name string, cut bool) { loop.Turn(func() { m.Disconnect(name, cut) }) },
	}
}

func TestMembersInMemoryKeepTheContract(t *testing.T) {
	t.Run("group", func(t *testing.T) { portstest.TestGroup(t, memberBench) })
	t.Run("store", func(t *testing.T) { portstest.TestSharedStore(t, memberBench) })
}

// A test decides which member leads.
func TestMembersAreElectedByATest(t *testing.T) {
	loop := portstest.NewLoop(1)
	m := portstest.NewMembers(portstest.NewDisk())
	var log []string
	join := func(name string) ports.Group {
		g, _ := m.Member(loop, name)
		g.Join(ports.GroupJoin{Identity: domain.PublicKey{1}}, ports.GroupHandlers{
			OnView:   func(domain.Group) {},
			OnLead:   func(int64) { log = append(log, "+"+name) },
			OnFollow: func() { log = append(log, "-"+name) },
		}, func(error) {})
		loop.Advance(0)
		return g
	}
	step := func(f func(), leader string, want ...string) {
		t.Helper()
		log = nil
		f()
		loop.Advance(0)
		if m.Leads() != leader || len(log) != len(want) {
			t.Errorf("%q leads, calls were %v; want %q, %v", m.Leads(), log, leader, want)
			return
		}
		for i := range want {
			if log[i] != want[i] {
				t.Errorf("calls were %v, want %v", log, want)
			}
		}
	}
	var a ports.Group
	step(func() { a = join("a") }, "a", "+a")
	step(func() { join("b") }, "a")
	step(func() { m.Elect("b") }, "b", "-a", "+b")
	step(m.Depose, "", "-b")
	step(func() { join("c") }, "")
	step(func() { m.Elect("c"); m.Elect("b"); m.Elect("c") }, "c", "+c")
	step(func() { m.Disconnect("c", true) }, "a", "-c", "+a")
	step(func() { m.Elect("c") }, "a")
	step(func() { m.Disconnect("c", false) }, "a")
	step(func() { a.Update(domain.Member{Leaving: true}) }, "b", "-a", "+b")
	step(func() { a.Leave(func() {}) }, "b")
	step(func() { m.Vanish("b") }, "c", "+c")
	step(func() { join("c") }, "c")
	step(func() { m.Elect("c") }, "c", "-c", "+c")
}
