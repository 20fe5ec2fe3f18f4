package mux

// Pipe is a connection that carries messages in order, both ways, and that has one Mux on it. A
// hyperdht.Connection is one.
//
// The functions given to the On methods are called on the loop, never inside another method of the pipe. What
// arrives before they are set waits.
type Pipe interface {
	// Send sends a frame of at most MaxFrame bytes, which is given in parts. It is false when the pipe would rather have no more until
	// it drains; the frame is sent nevertheless. The parts are the caller's again on return.
	Send(frame ...[]byte) bool
	// End ends the sending direction. The pipe closes when the other side ends too.
	End()
	// Destroy closes the pipe without waiting for anything. Nil is no error.
	Destroy(err error)
	// Pause asks for no more messages until Resume. Some may still come.
	Pause()
	Resume()

	// OnMessage receives frames, which are borrowed for the call.
	OnMessage(func(frame []byte))
	// OnDrain is called when sending is welcome again after a Send that was false.
	OnDrain(func())
	// OnEnd is called when the other side has ended.
	OnEnd(func())
	// OnClose is called exactly once, at the end of the pipe; nil is a clean end.
	OnClose(func(err error))
}
