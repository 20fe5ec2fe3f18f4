// Package secret encrypts a connection's byte stream and its unordered messages, with the keys that
// hyperdht/internal/noise agreed on (@hyperswarm/secret-stream).
//
// The ordered stream is a sequence of frames in each direction, whatever pieces the transport cuts it into:
//
//	uint24 length · body        the length is the body's
//	first body:  stream id of the sender (32) · secretstream header (24)
//	other bodies: encrypted tag (1) · encrypted message · Poly1305 tag (16)
//
// The bodies are libsodium's crypto_secretstream_xchacha20poly1305. What a receiving side goes through:
//
//	awaiting header ──56-byte frame of the other role──▶ open ──frame──▶ open
//	       │                                              │
//	       └──any other frame──▶ failed ◀──bad frame──────┘
//
// A failed stream stays failed and its owner destroys the connection. There is no end marker: the end is the
// transport's. No state has a deadline.
package secret
