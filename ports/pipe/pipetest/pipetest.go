// Package pipetest is the contract of package pipe as a test suite. Every implementation runs it.
package pipetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/ports/pipe"
)

// Rig is a dialer under test and the server that it dials.
type Rig struct {
	Dialer pipe.Dialer
	// Refused dials an address without a server; it fails in step Connect.
	Refused pipe.Dialer
	// Accept calls f once with the server's end of the next pipe, on the loop.
	Accept func(f func(Server))
	// Await runs f as a turn of the host and waits until f, or an operation that it started, has called done. It fails the test
	// when nothing is left to wait for, or waiting takes too long.
	Await func(t *testing.T, f func(done func()))
}

// Server is the server's end of a pipe. Its methods are called on the loop of the host.
type Server interface {
	// Echo sends back all that arrives from now on, and closes after the end.
	Echo()
	// Stall reads nothing until Echo.
	Stall()
	// Close closes the pipe after the bytes that were sent.
	Close()
	// Break ends the pipe without an order: what was sent may be lost.
	Break()
}

// Run runs the suite. newRig is called for each test and cleans up after itself with t.Cleanup.
func Run(t *testing.T, newRig func(t *testing.T) Rig) {
	tests := []struct {
		name string
		run  func(*testing.T, Rig)
	}{
		{"BytesArriveInOrder", bytesArriveInOrder},
		{"WrittenBytesAreTheCallersAgain", writtenBytesAreTheCallersAgain},
		{"BytesAreKeptUntilThereIsAHandler", bytesAreKept},
		{"EndIsReportedOnceAndLast", endIsReported},
		{"BrokenPipeIsReported", brokenPipe},
		{"ClosedPipeCallsNothing", closedPipeCallsNothing},
		{"WrittenBytesArriveBeforeTheEnd", writtenBeforeClose},
		{"RefusedConnectionIsAnErrorOfItsStep", refused},
		{"CanceledDialCallsNothing", canceledDial},
		{"BytesThatAreNotTakenAreBuffered", buffered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newRig(t)) })
	}
}

// open dials and calls f with both ends, the server's as it is accepted.
func (r *Rig) open(t *testing.T, f func(pipe.Pipe, Server)) {
	var p pipe.Pipe
	var s Server
	both := func() {
		if p != nil && s != nil {
			f(p, s)
		}
	}
	r.Accept(func(server Server) {
		s = server
		both()
	})
	inCall := true
	r.Dialer.Dial(func(dialled pipe.Pipe, err error) {
		if inCall {
			t.Error("Dial called back in the same turn")
		}
		if err != nil {
			t.Errorf("Dial: %v", err)
			return
		}
		if p = dialled; !p.RemoteAddr().IsValid() {
			t.Error("no address of the other end")
		}
		both()
	})
	inCall = false
}

// text returns n bytes that differ by position.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// collect calls full when want has arrived, and reports a difference.
func collect(t *testing.T, want []byte, full func()) func([]byte) {
	var got []byte
	return func(b []byte) {
		if len(b) == 0 {
			t.Error("nothing was received")
		}
		if got = append(got, b...); len(got) < len(want) {
			return
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived that differ from the %d that were sent", len(got), len(want))
		}
		full()
	}
}

func bytesArriveInOrder(t *testing.T, r Rig) {
	sent := text(300_000)
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			p.Handle(pipe.Handlers{OnReceive: collect(t, sent, done)})
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%1777)
				p.Write(rest[:n])
				rest = rest[n:]
			}
		})
	})
}

func writtenBytesAreTheCallersAgain(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			p.Handle(pipe.Handlers{OnReceive: collect(t, []byte("first"), done)})
			b := []byte("first")
			p.Write(b)
			copy(b, "XXXXX")
		})
	})
}

func bytesAreKept(t *testing.T, r Rig) {
	var kept pipe.Pipe
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			kept = p
			p.Write([]byte("early"))
			done()
		})
	})
	r.Await(t, func(done func()) {
		inCall := true
		kept.Handle(pipe.Handlers{OnReceive: collect(t, []byte("early"), func() {
			if inCall {
				t.Error("Handle called back in the same turn")
			}
			done()
		})})
		inCall = false
	})
}

func endIsReported(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			closed := 0
			p.Handle(pipe.Handlers{
				OnReceive: func([]byte) {
					if closed > 0 {
						t.Error("bytes after the end")
					}
					s.Close()
				},
				OnClose: func(err error) {
					if closed++; closed > 1 || err != nil {
						t.Errorf("end %d: %v", closed, err)
					}
					p.Write([]byte("too late"))
					p.Close()
					done()
				},
			})
			p.Write([]byte("x"))
		})
	})
}

func brokenPipe(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			p.Handle(pipe.Handlers{OnReceive: func([]byte) {}, OnClose: func(err error) {
				if err == nil {
					t.Error("a broken pipe ended without an error")
				}
				done()
			}})
			s.Break()
		})
	})
}

func closedPipeCallsNothing(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			p.Handle(pipe.Handlers{
				OnReceive: func([]byte) { t.Error("received after Close") },
				OnClose:   func(error) { t.Error("OnClose after Close") },
			})
			p.Write([]byte("x"))
			p.Close()
			p.Close()
			p.Write([]byte("y"))
			done()
		})
	})
	r.Await(t, func(done func()) { // time for what must not come
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			p.Handle(pipe.Handlers{OnReceive: func([]byte) { done() }})
			p.Write([]byte("x"))
		})
	})
}

func writtenBeforeClose(t *testing.T, r Rig) {
	sent := text(100_000)
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Echo()
			received := collect(t, sent, func() { s.Close() })
			p.Handle(pipe.Handlers{OnReceive: received, OnClose: func(error) { done() }})
			p.Write(sent)
		})
	})
}

func refused(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		inCall := true
		r.Refused.Dial(func(p pipe.Pipe, err error) {
			if failure, ok := errors.AsType[*pipe.Error](err); inCall || p != nil || !ok || failure.Step != pipe.Connect {
				t.Errorf("within the call %t, pipe %v, %v", inCall, p, err)
			}
			done()
		})
		inCall = false
	})
}

func canceledDial(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		r.Accept(func(s Server) { s.Break() })
		cancel := r.Dialer.Dial(func(pipe.Pipe, error) { t.Error("done after cancel") })
		cancel()
		cancel()
		r.Refused.Dial(func(pipe.Pipe, error) { done() })
	})
}

func buffered(t *testing.T, r Rig) {
	sent := text(16 << 20)
	r.Await(t, func(done func()) {
		r.open(t, func(p pipe.Pipe, s Server) {
			s.Stall()
			p.Write(sent)
			if p.Buffered() == 0 {
				t.Error("nothing is buffered of what cannot have been sent")
			}
			p.Handle(pipe.Handlers{OnReceive: collect(t, sent, func() {
				if n := p.Buffered(); n != 0 {
					t.Errorf("%d bytes are buffered though all have arrived", n)
				}
				done()
			})})
			s.Echo()
		})
	})
}
