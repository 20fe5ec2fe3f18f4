// Package noise is the handshake of HyperDHT connections: Noise_IK_Ed25519_ChaChaPoly_BLAKE2b.
//
// It is the Noise framework with an unusual Diffie-Hellman function: keys are ordinary Ed25519 key pairs and
// the shared secret is a compressed Ed25519 point (noise-curve-ed index.js). The initiator knows the
// responder's static key in advance; the responder learns the initiator's from the first message:
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
// No state has a deadline; the owner of the handshake drops it.
//
// # States
//
// The states of both sides, how long each may last, and those that may follow. These are the tables of the code; a test compares
// the two. A final state has no limit and no successor.
//
// Initiator:
//
//	fresh    -       ──▶ waiting
//	         (no limit: the first message is made by a call)
//	waiting  -       ──▶ done
//	         (no limit: the owner of the handshake gives up)
//	done     -
//
// Responder:
//
//	fresh      -       ──▶ answering, spent
//	           (no limit: the first message is read by a call)
//	answering  -       ──▶ done
//	           (no limit: the answer is made by a call)
//	done       -
//	spent      -
package noise
