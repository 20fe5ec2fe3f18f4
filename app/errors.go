package app

import "errors"

var (
	errPeerEnded  = errors.New("the other side ended the connection")
	errBusy       = errors.New("too many requests at once")
	errOverloaded = errors.New("too many registrations at once")
	errStarted    = errors.New("was started before")
)
