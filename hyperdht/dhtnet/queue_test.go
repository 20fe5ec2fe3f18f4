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
