// Package mux carries many channels over one connection (protomux).
//
// A channel has a name (protocol) and optionally an id; both sides open it, and it is open once each has seen
// the other's open. Either side may open first, but the first open must meet a waiting channel or a handler on
// the other side, or it is rejected:
//
//	          Open                 other side's open
//	(none) ─────────▶ opening ─────────────────────────▶ open
//	   │                 │ reject, Close, pipe closed     │ Close, other side's close, pipe closed
//	   │                 ▼                                ▼
//	   │              closed ◀────────────────────────────┘
//	   │
//	   └── other side's open ──▶ offered ── Open ──▶ open when the handler is finished
//	                               │ handler finished without Open: reject
//	                               ▼
//	                            rejected
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
package mux
