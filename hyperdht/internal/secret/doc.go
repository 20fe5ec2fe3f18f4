// Package secret encrypts a connection's byte stream and its unordered messages, with the keys that
// hyperdht/internal/noise agreed on (@hyperswarm/secret-stream).
//
// The ordered stream is a sequence of frames in each direction, whatever pieces the transport cuts it into:
//
//	uint24 length · body        the length is the body's
//	first body:  stream id of the sender (32) · secretstream header (24)
//	other bodies: encrypted tag (1) · encrypted message · Poly1305 tag (16)
//
// The bodies are libsodium's crypto_secretstream_xchacha20poly1305.
// A receiving side awaits the header, a frame of 56 bytes with the id of the other role. Any other frame first, and any bad one
// later, makes it fail.
//
// A failed stream stays failed and its owner destroys the connection. There is no end marker: the end is the
// transport's. No state has a deadline.
//
// # States
//
// The states, how long each may last, and those that may follow. A test holds the list against what the code does. A
// final state has no limit and no successor.
//
// Receiving side:
//
//	awaiting header  -       ──▶ open, failed
//	                 (no limit: the owner of the stream gives up)
//	open             -       ──▶ failed
//	                 (no limit: likewise)
//	failed           -
package secret
