// Package mux carries many channels over one connection (protomux).
//
// A channel has a name (protocol) and optionally an id; both sides open it, and it is open once each has seen
// the other's open. Either side may open first, but the first open must meet a waiting channel or a handler on
// the other side, or it is rejected.
//
// An open of the other side that this side has not made is an offer to its handler. Opening the channel accepts it; what is not
// accepted when the handler is finished is rejected.
//
// Messages may be sent as soon as a channel is opening. They carry a type, which is an index into the other
// side's handlers, and a payload that is the protocol's business.
//
// # Frames
//
// One frame is one message of the pipe. It starts with the sender's number of the channel; number 0 is control:
//
//	uint channel (≥ 1) · uint type · payload
//	00 · 00 batch  · uint channel · items: uint length · (type and payload); length 0: uint next channel
//	00 · 01 open   · uint own number · string protocol · optional id · handshake
//	00 · 02 reject · uint the receiver's number
//	00 · 03 close  · uint own number
//
// Trailing bytes of rejects and closes, and unknown control types, are ignored.
//
// # Calls and callbacks
//
// A Mux belongs to one loop and starts nothing by itself. Callbacks run while the pipe delivers something, and
// inside Channel.Close, Offer.Release and nothing else. They may call anything, also close and destroy.
//
// # States
//
// The states, how long each may last, and those that may follow. A test holds the list against what the code does. A
// final state has no limit and no successor.
//
// Channel:
//
//	opening  -       ──▶ open, closed
//	         (no limit: until the other side opens or rejects it, or this side or the pipe closes)
//	open     -       ──▶ closed
//	         (no limit: until either side or the pipe closes)
//	closed   -
//
// Offer:
//
//	waiting    -       ──▶ accepted, rejected, withdrawn
//	           (no limit: until the handler is finished, or the other side or the pipe closes)
//	accepted   -
//	rejected   -
//	withdrawn  -
package mux
