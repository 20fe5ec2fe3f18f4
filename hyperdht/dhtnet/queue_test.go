package dhtnet

import (
	"slices"
	"testing"
)

// stuckLoop runs nothing.
type stuckLoop struct{ posted int }

func (s *stuckLoop) Post(func())             { s.posted++ }
func (s *stuckLoop) Closed() <-chan struct{} { return nil }

// A program that sends faster than the loop runs does not fill the memory.
func TestUnorderedMessagesForTheLoopAreBounded(t *testing.T) {
	loop := &stuckLoop{}
	c := &Conn{loop: loop, unordered: unordered{over: make(chan struct{})}}
	for range 2 * maxUnordered {
		if err := c.SendUnordered([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.sending.messages); n != maxUnordered || loop.posted != 1 {
		t.Errorf("%d messages wait, %d posts", n, loop.posted)
	}
}

// A flush begins when the connection has taken the bytes that it is for, and not with those of earlier ones.
func TestFlushesBeginWithTheirBytes(t *testing.T) {
	var f flushes
	var begun []int
	add := func(upTo uint64, n int) (remove func()) {
		return f.add(&flushWait{upTo, func() { begun = append(begun, n) }}, false)
	}
	add(0, 0)
	add(100, 1)
	remove := add(70, 2)
	add(50, 3)
	for _, step := range []struct {
		pass int
		want []int
	}{{49, []int{0}}, {1, []int{0, 3}}, {49, []int{0, 3}}, {1, []int{0, 3, 1}}} {
		if f.pass(step.pass); !slices.Equal(begun, step.want) {
			t.Errorf("after %d bytes: %v, want %v", f.passed, begun, step.want)
		}
		remove()
	}
	add(120, 4)
	f.over()
	f.add(&flushWait{200, func() { begun = append(begun, 5) }}, true)
	if want := []int{0, 3, 1, 4, 5}; !slices.Equal(begun, want) || len(f.waiting) != 0 {
		t.Errorf("after the end: %v, want %v", begun, want)
	}
}

// closes counts calls of Close.
type closes struct{ n int }

func (c *closes) Close() error { c.n++; return nil }

func TestBacklogIsBounded(t *testing.T) {
	b, loop := newBacklog[*closes](), &stuckLoop{}
	all := make([]*closes, maxBacklog+1)
	for i := range all {
		all[i] = &closes{}
		if added := b.add(all[i]); added != (i < maxBacklog) {
			t.Fatalf("connection %d is added: %v", i, added)
		}
	}
	if c, err := b.take(t.Context(), loop); c != all[0] || err != nil {
		t.Errorf("not the first, %v", err)
	}
	if !b.add(all[maxBacklog]) {
		t.Error("no room after one was taken")
	}
	b.end()
	for i, c := range all {
		if want := min(i, 1); c.n != want { // the first was taken
			t.Errorf("connection %d is closed %d times", i, c.n)
		}
	}
	if b.add(&closes{}) {
		t.Error("added after the end")
	}
}

// What arrives after Close is dropped: no Read will take it.
func TestClosedConnKeepsNothing(t *testing.T) {
	c := &Conn{closed: true, readable: make(chan struct{})}
	if c.receive(make([]byte, 100)); len(c.in) != 0 || c.inBytes != 0 {
		t.Errorf("%d bytes are kept", c.inBytes)
	}
}
