package dhtnet

import "testing"

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
