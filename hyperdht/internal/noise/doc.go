// Package noise is the handshake of HyperDHT connections: Noise_IK_Ed25519_ChaChaPoly_BLAKE2b.
//
// It is the Noise framework with an unusual Diffie-Hellman function: keys are ordinary Ed25519 key pairs and
// the shared secret is a compressed Ed25519 point (noise-curve-ed index.js). The initiator knows the
// responder's static key beforehand; the responder learns the initiator's from the first message:
//
//	                  initiator                                responder
//	NewInitiator  ──▶  fresh                                    fresh  ◀──  NewResponder
//	WriteMessage       │ ── e, es, s, ss, payload ──────────▶    │     ReadMessage
//	                   ▼                                         ▼
//	                  waiting                                  answering
//	ReadMessage        │ ◀────────── e, ee, se, payload ──       │     WriteMessage
//	                   ▼                                         ▼
//	Result            done                                      done    Result
//
// A reply that cannot be read leaves the initiator waiting: replies travel through relays, and a forged one
// must not end the attempt. A responder that could not read its first message is spent.
//
// No deadline leaves any state; whoever owns the handshake gives up on it.
package noise
